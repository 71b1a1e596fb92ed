package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mls"
)

const (
	inboxItemsDefault = 100
	inboxItemsMax     = 1000
	inboxWaitMax      = 60 // seconds

	ndjsonMediaType = "application/x-ndjson"

	// streamWriteMax is how long a reader of the stream may take to let a line through.
	streamWriteMax = 30 * time.Second
)

// inboxQuery is what a reader of the inbox asks for.
type inboxQuery struct {
	max  int
	wait time.Duration
	raw  bool
}

// inboxBatch answers GET /v1/inbox.
type inboxBatch struct {
	Items []inboxItem `json:"items"`
}

// readInbox is GET /v1/inbox: the oldest items that are not acknowledged. With waitSeconds the answer waits for the first. An
// item comes again until it is acknowledged. With Accept: application/x-ndjson the same items come as lines without end; at
// most max of them are unacknowledged at a time, so that a reader that falls behind is not buried.
func (s *LocalServer) readInbox(c echo.Context) error {
	query, err := parseInboxQuery(c)
	if err != nil {
		return err
	}
	if accepts(c.Request(), ndjsonMediaType) {
		return s.streamInbox(c, query)
	}
	// The connection's read deadline would otherwise end the wait (net/http watches the connection while a handler runs).
	if err := relaxDeadlines(c, query.wait+s.timeouts.Request); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), query.wait+s.timeouts.Request)
	defer cancel()
	items, err := s.awaitInbox(ctx, query)
	if err != nil {
		return err
	}
	batch := inboxBatch{Items: []inboxItem{}}
	for _, item := range items {
		shown, err := present(item, query.raw)
		if err != nil {
			return err
		}
		batch.Items = append(batch.Items, shown)
	}
	return c.JSON(http.StatusOK, batch)
}

func parseInboxQuery(c echo.Context) (inboxQuery, error) {
	q := inboxQuery{max: inboxItemsDefault}
	number := func(name string, low, high int, into *int) error {
		text := c.QueryParam(name)
		if text == "" {
			return nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < low || n > high {
			return &mls.MalformedError{Field: name, Reason: fmt.Sprintf("it is no number from %d to %d", low, high)}
		}
		*into = n
		return nil
	}
	seconds := 0
	if err := errors.Join(number("max", 1, inboxItemsMax, &q.max), number("waitSeconds", 0, inboxWaitMax, &seconds)); err != nil {
		return inboxQuery{}, err
	}
	q.wait = time.Duration(seconds) * time.Second
	switch form := c.QueryParam("form"); form {
	case "", "events":
	case "raw":
		q.raw = true
	default:
		return inboxQuery{}, &mls.MalformedError{Field: "form", Reason: "it is neither events nor raw"}
	}
	return q, nil
}

// accepts reports whether the Accept header names a media type outright.
func accepts(r *http.Request, media string) bool {
	for _, value := range r.Header.Values(echo.HeaderAccept) {
		for part := range strings.SplitSeq(value, ",") {
			if name, _, err := mime.ParseMediaType(part); err == nil && name == media {
				return true
			}
		}
	}
	return false
}

// awaitInbox reads the inbox, and while it is empty waits for what may come.
func (s *LocalServer) awaitInbox(ctx context.Context, query inboxQuery) ([]fsm.OutboxItem, error) {
	over := time.NewTimer(query.wait)
	defer over.Stop()
	for {
		beat := s.pulse.Next()
		items, err := s.inbox.Inbox(ctx, query.max)
		if err != nil || len(items) > 0 || query.wait == 0 {
			return items, err
		}
		select {
		case <-over.C:
			return nil, nil
		case <-ctx.Done():
			return nil, nil // the reader is gone
		case <-s.stopping:
			return nil, nil
		case <-beat:
		case <-time.After(s.inboxPoll):
		}
	}
}

// streamInbox sends each item once on this stream. It ends when the reader goes away or the listener stops.
func (s *LocalServer) streamInbox(c echo.Context, query inboxQuery) error {
	ctx := c.Request().Context()
	control := http.NewResponseController(c.Response())
	if err := control.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("lift the read deadline: %w", err)
	}
	c.Response().Header().Set(echo.HeaderContentType, ndjsonMediaType)
	c.Response().WriteHeader(http.StatusOK)
	c.Response().Flush()
	lines := json.NewEncoder(c.Response())
	sent := map[string]bool{} // of the items that are still in the inbox, those that went out
	for {
		beat := s.pulse.Next()
		items, err := s.inbox.Inbox(ctx, query.max)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("inbox stream: %w", err)
		}
		waiting := map[string]bool{}
		for _, item := range items {
			id := itemID(item)
			waiting[id] = true
			if sent[id] {
				continue
			}
			if err := control.SetWriteDeadline(time.Now().Add(streamWriteMax)); err != nil {
				return fmt.Errorf("set the write deadline: %w", err)
			}
			if err := writeLine(lines, item, query.raw); err != nil {
				return err
			}
		}
		c.Response().Flush()
		sent = waiting
		select {
		case <-ctx.Done():
			return nil
		case <-s.stopping:
			return nil
		case <-beat:
		case <-time.After(s.inboxPoll):
		}
	}
}

func writeLine(lines *json.Encoder, item fsm.OutboxItem, raw bool) error {
	shown, err := present(item, raw)
	if err != nil {
		return err
	}
	return lines.Encode(shown)
}

// relaxDeadlines gives a connection the time that an answer is allowed to take.
func relaxDeadlines(c echo.Context, limit time.Duration) error {
	control := http.NewResponseController(c.Response())
	if err := errors.Join(control.SetReadDeadline(time.Now().Add(limit)), control.SetWriteDeadline(time.Now().Add(2*limit))); err != nil {
		return fmt.Errorf("set deadlines: %w", err)
	}
	return nil
}
