package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mimi"
)

// Poster sends a request to another provider; *Client is the real one.
type Poster interface {
	Post(ctx context.Context, to mimi.Provider, target Target, body []byte, idempotencyKey string) (*Reply, error)
}

// Desk answers the draft's requests, whoever brought them: another provider at the peer listener, or the provider's own backend
// at the local one. The listener has settled before in whose name the request comes. Safe for concurrent use.
type Desk struct {
	hub      Hub
	bulk     BulkHub // the same
	config   Config
	keys     HubKeys
	outbound Poster
	patience bulkPatience
}

// NewDesk makes the desk of a node.
func NewDesk(hub BulkHub, config Config, keys HubKeys, outbound Poster) *Desk {
	return &Desk{hub: hub, bulk: hub, config: config, keys: keys, outbound: outbound, patience: defaultBulkPatience}
}

// isOurs reports whether a domain is one of the local provider's.
func (d *Desk) isOurs(domain mimi.Provider) bool {
	return slices.Contains(d.config.Settings().Domains, domain)
}

// self is the domain that the local provider speaks as.
func (d *Desk) self() (mimi.Provider, error) {
	domains := d.config.Settings().Domains
	if len(domains) == 0 {
		// Before `cluster init`, or before this node has heard of it, there is nobody to speak as.
		return mimi.Provider{}, fmt.Errorf("the cluster's settings name no domain yet: %w", fsm.ErrNotProposed)
	}
	return domains[0], nil
}

// checkHosted refuses a request about a room of another provider.
func (d *Desk) checkHosted(room mimi.RoomURI) error {
	if d.isOurs(room.Provider()) {
		return nil
	}
	return newProblem(http.StatusNotFound, problemNotHostedHere, "roomId", fmt.Sprintf("The room belongs to %s.", room.Provider()))
}

// answer is a whole HTTP answer.
type answer struct {
	status      int
	contentType string
	header      map[string]string // beside Content-Type
	body        []byte
}

// coded is an outcome that the draft has a code for: always 200 (docs/deviations.md).
func coded(message interface{ Marshal() []byte }) answer {
	return answer{status: http.StatusOK, contentType: mimi.MediaType, body: message.Marshal()}
}

func (a answer) with(header, value string) answer {
	a.header = map[string]string{header: value}
	return a
}

func (a answer) send(c echo.Context) error {
	for name, value := range a.header {
		c.Response().Header().Set(name, value)
	}
	if len(a.body) == 0 {
		return c.NoContent(a.status)
	}
	return c.Blob(a.status, a.contentType, a.body)
}

// relayed is another provider's answer, passed on with the headers that mean something to the requester.
func relayed(reply *Reply) answer {
	a := answer{status: reply.Status, contentType: reply.Header.Get(echo.HeaderContentType), body: reply.Body, header: map[string]string{}}
	for _, name := range []string{mimi.HeaderRetryAfter, mimi.HeaderEpochWinner} {
		if value := reply.Header.Get(name); value != "" {
			a.header[name] = value
		}
	}
	return a
}

// unexpected is a fault of this node: an outcome that the request cannot have.
func unexpected(request string, outcome fsm.Outcome) error {
	return fmt.Errorf("%s came to the outcome %T", request, outcome)
}
