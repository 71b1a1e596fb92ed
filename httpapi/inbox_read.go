package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
)

const (
	inboxItemsDefault = 100
	inboxItemsMax     = 1000
	inboxWaitMax      = 60 // seconds
)

// inboxBatch answers GET /v1/inbox.
type inboxBatch struct {
	Items  []inboxItem `json:"items"`
	Cursor string      `json:"cursor"` // behind the items, for after, and for acknowledging all of them
}

// readInbox is GET /v1/inbox: what waits and is not acknowledged, each room's in order. With waitSeconds the answer waits for the first.
// An item comes again until it is acknowledged, but with after only what stands behind the cursor. With Accept: text/event-stream or
// application/x-ndjson the same items come without end, each once on the stream; about max of them are unacknowledged at a time, so
// that a reader that falls behind is not buried.
func (s *LocalServer) readInbox(c echo.Context) error {
	query, err := parseInboxQuery(c)
	if err != nil {
		return err
	}
	if media := streamMedia(c.Request()); media != "" {
		return s.streamInbox(c, query, media)
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
	batch := inboxBatch{Items: []inboxItem{}, Cursor: query.after.behind(items).String()}
	for _, item := range items {
		shown, err := present(item, query.raw)
		if err != nil {
			return err
		}
		batch.Items = append(batch.Items, shown)
	}
	return c.JSON(http.StatusOK, batch)
}

// awaitInbox reads the inbox, and while there is nothing waits for what may come.
func (s *LocalServer) awaitInbox(ctx context.Context, query inboxQuery) ([]fsm.OutboxItem, error) {
	over := time.NewTimer(query.wait)
	defer over.Stop()
	for {
		beat := s.pulse.Next()
		page, err := s.inbox.ReadInbox(ctx, query.page())
		if query.wait > 0 && errors.Is(err, fsm.ErrNotProposed) {
			err = nil // who waits can wait for a leader, too
		}
		if err != nil || len(page.Items) > 0 || query.wait == 0 {
			return page.Items, err
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
func (s *LocalServer) streamInbox(c echo.Context, query inboxQuery, media string) error {
	ctx := c.Request().Context()
	stream, err := openStream(c, media)
	if err != nil {
		return err
	}
	sent := query.after
	for {
		beat := s.pulse.Next()
		// Always from where the stream began: what it has sent counts as long as it is not acknowledged.
		page, err := s.inbox.ReadInbox(ctx, query.page())
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, fsm.ErrNotProposed) { // a stream can wait for a leader
			return fmt.Errorf("inbox stream: %w", err)
		}
		if sent, err = s.sendPage(stream, page, query, sent); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.stopping:
			return nil
		case <-beat:
		case <-time.After(s.inboxPoll):
		}
		if err := stream.idle(); err != nil {
			return err
		}
	}
}

// sendPage sends what of a page was not sent before, and returns how far the stream is then. The last item of a batch says so too.
func (s *LocalServer) sendPage(stream *itemStream, page fsm.InboxPage, query inboxQuery, sent inboxCursor) (inboxCursor, error) {
	var fresh []fsm.OutboxItem
	for _, item := range page.Items {
		if item.Sequence > sent.places.Of(item.Slot) {
			fresh = append(fresh, item)
		}
	}
	next := sent.behind(fresh)
	if page.Whole { // what is not in it was acknowledged, and need not be remembered
		next = query.after.behind(page.Items)
	}
	for i, item := range fresh {
		shown, err := present(item, query.raw)
		if err != nil {
			return sent, err
		}
		if i == len(fresh)-1 {
			shown.Cursor = next.String()
		}
		if err := stream.send(shown, shown.Cursor); err != nil {
			return sent, err
		}
	}
	if len(fresh) > 0 {
		stream.flush()
	}
	return next, nil
}

// relaxDeadlines gives a connection the time that an answer is allowed to take.
func relaxDeadlines(c echo.Context, limit time.Duration) error {
	control := http.NewResponseController(c.Response())
	if err := errors.Join(control.SetReadDeadline(time.Now().Add(limit)), control.SetWriteDeadline(time.Now().Add(2*limit))); err != nil {
		return fmt.Errorf("set deadlines: %w", err)
	}
	return nil
}
