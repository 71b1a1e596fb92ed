package httpapi

import (
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"
)

// RemovedError is what becomes of everything that is asked of a node which is out of its cluster. Reason is for the operator.
type RemovedError struct{ Reason string }

func (e *RemovedError) Error() string { return e.Reason }

// ProblemTypeRemoved is the type of the Problem by which such a node is known: another node has to be asked, now and ever after.
const ProblemTypeRemoved = "urn:parley:problem:" + problemRemoved

// ClosedDoor stands in the place of a peer or local listener of a node that is out of its cluster. Whatever it is asked, by whomever, it says that
// nothing was written and that another node is to be asked, and ends the connection, so that the next one may lead there.
type ClosedDoor struct{ listener }

// NewClosedDoor makes the listener; Serve runs it. name is that of the one whose place it takes.
func NewClosedDoor(name string, certificates Certificates, metrics *RequestMetrics, log *slog.Logger) *ClosedDoor {
	d := &ClosedDoor{listener{
		name:     name,
		echo:     newEcho(log),
		timeouts: Timeouts{}.withDefaults(),
		log:      log,
		stopping: make(chan struct{}),
		tls:      tlsForAnyone(certificates),
	}}
	d.echo.Use(metrics.observe(name), func(echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			c.Response().Header().Set(echo.HeaderConnection, "close")
			return newProblem(http.StatusServiceUnavailable, problemRemoved, "", "Nothing was written. Send the request to another node of this provider.").after(retrySoon)
		}
	})
	return d
}
