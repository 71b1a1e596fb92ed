package httpapi

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// RequestBytesMax is the default limit of a request's body: 8 MiB.
const RequestBytesMax = 8 << 20

// readBody takes a whole request body or none of it. Every fault is a *Problem with status 400 (415 for a content coding,
// since nothing is ever decompressed) that names the field "body" or "Content-Encoding"; the caller has changed nothing yet.
func readBody(c echo.Context, limit int64) ([]byte, error) {
	r := c.Request()
	if coding := r.Header.Get(echo.HeaderContentEncoding); coding != "" && coding != "identity" {
		return nil, newProblem(http.StatusUnsupportedMediaType, problemMalformed, echo.HeaderContentEncoding,
			"Bodies are taken without a content coding only.")
	}
	if r.ContentLength > limit {
		return nil, newProblem(http.StatusBadRequest, problemBodyTooLarge, "body",
			fmt.Sprintf("%d bytes, more than the limit of %d", r.ContentLength, limit))
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, newProblem(http.StatusBadRequest, problemBodyTooLarge, "body", fmt.Sprintf("more than the limit of %d bytes", limit))
	case err != nil:
		return nil, newProblem(http.StatusBadRequest, problemBodyCutShort, "body", cutShort(r, len(body)))
	case r.ContentLength >= 0 && int64(len(body)) != r.ContentLength:
		return nil, newProblem(http.StatusBadRequest, problemBodyCutShort, "body", cutShort(r, len(body)))
	}
	return body, nil
}

// Bounds of what is still taken of a body that nobody wants.
const (
	unwantedBytesMax = RequestBytesMax
	unwantedPatience = 10 * time.Second
)

// takingUnwanted takes what still comes of a body after a request was refused without it. Over HTTP/2 the end of the answer would else come with
// a reset of the stream, and some clients that are still sending lose the answer with it. What is longer than the bounds has that
// end. The server of HTTP/1.1 does likewise by itself.
func takingUnwanted(log *slog.Logger) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if err := next(c); err != nil {
				c.Error(err)
			}
			if c.Response().Status < http.StatusBadRequest || c.Request().ProtoMajor < 2 {
				return nil
			}
			if err := takeUnwanted(c); err != nil {
				log.Debug("the body of a refused request goes on", "route", c.Path(), "error", err)
			}
			return nil
		}
	}
}

func takeUnwanted(c echo.Context) error {
	control := http.NewResponseController(c.Response())
	if err := control.SetReadDeadline(time.Now().Add(unwantedPatience)); err != nil {
		return fmt.Errorf("set the read deadline: %w", err)
	}
	if err := control.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if _, err := io.CopyN(io.Discard, c.Request().Body, unwantedBytesMax); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("take the body that was not wanted: %w", err)
	}
	return nil
}

func cutShort(r *http.Request, got int) string {
	if r.ContentLength >= 0 {
		return fmt.Sprintf("%d bytes came of the %d that Content-Length promises", got, r.ContentLength)
	}
	return fmt.Sprintf("the body ended after %d bytes, before its end was marked", got)
}
