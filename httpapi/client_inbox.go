package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

const (
	epochsDefault = 3
	epochsMax     = 1000

	// eventPause is how long one reader leaves a client's inbox alone between two looks, however much happens meanwhile.
	eventPause = 100 * time.Millisecond
)

// clientInboxQuery is what a client asks for of its inbox.
type clientInboxQuery struct {
	fsm.EventQuery
	wait time.Duration
	raw  bool
}

// clientBatch answers GET /v1/clients/{client}/inbox.
type clientBatch struct {
	Items []inboxItem `json:"items"`
	More  bool        `json:"more"` // something that fits the request was left out
}

// readClientInbox is GET /v1/clients/{client}/inbox: what one client has to see of all its rooms and has not acknowledged. With
// waitSeconds the answer waits for the first event. With Accept: text/event-stream or application/x-ndjson events come without end, each
// once on the stream; about max of them are unacknowledged at a time.
func (s *LocalServer) readClientInbox(c echo.Context) error {
	query, err := s.parseClientInboxQuery(c)
	if err != nil {
		return err
	}
	if media := streamMedia(c.Request()); media != "" {
		return s.streamClientInbox(c, query, media)
	}
	if err := relaxDeadlines(c, query.wait+s.timeouts.Request); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), query.wait+s.timeouts.Request)
	defer cancel()
	page, err := s.awaitEvents(ctx, query)
	if err != nil {
		return err
	}
	batch := clientBatch{Items: []inboxItem{}, More: !page.Whole}
	for _, event := range page.Events {
		shown, err := presentEvent(event, query.raw)
		if err != nil {
			return err
		}
		batch.Items = append(batch.Items, shown)
	}
	return c.JSON(http.StatusOK, batch)
}

// memberName is whose inbox a path names: a local client, or a local user whose clients' credentials name the user alone.
func (s *LocalServer) memberName(c echo.Context) (fsm.MemberName, error) {
	client, clientErr := mimi.ClientURIFromPath(c.Param("client"))
	if clientErr == nil {
		return fsm.NameOfClient(client), s.checkMember(client.Provider())
	}
	if user, err := mimi.UserURIFromPath(c.Param("client")); err == nil {
		return fsm.NameOfUser(user), s.checkMember(user.Provider())
	}
	return "", clientErr
}

func (s *LocalServer) checkMember(of mimi.Provider) error {
	if err := s.checkLocalUser("client", of); err != nil {
		return err
	}
	if !s.desk.config.Settings().Bulk.ClientInboxes {
		return newProblem(http.StatusConflict, problemConflict, "",
			"Clients have no inboxes of their own here: the setting for them is off. The provider's inbox has everything.")
	}
	return nil
}

func (s *LocalServer) parseClientInboxQuery(c echo.Context) (q clientInboxQuery, err error) {
	if q.Name, err = s.memberName(c); err != nil {
		return q, err
	}
	q.Items = inboxItemsDefault
	seconds, epochs := 0, epochsDefault
	err = errors.Join(numberParam(c, "max", 1, inboxItemsMax, &q.Items), numberParam(c, "waitSeconds", 0, inboxWaitMax, &seconds),
		numberParam(c, "epochs", 0, epochsMax, &epochs))
	if err != nil {
		return q, err
	}
	q.wait, q.Epochs = time.Duration(seconds)*time.Second, uint32(epochs)
	if q.Classes, err = fsm.ParseEventClasses(c.QueryParam("classes")); err != nil {
		return q, err
	}
	switch order := c.QueryParam("order"); order {
	case "", "oldest":
	case "newest":
		q.Order = fsm.NewestFirst
	default:
		return q, &mls.MalformedError{Field: "order", Reason: "it is neither oldest nor newest"}
	}
	q.raw, err = parseForm(c)
	return q, err
}

// eventID names an event for its acknowledgement.
func eventID(ref fsm.ClientEventRef) string {
	hash := fsm.HashOfRoom(ref.Room)
	return base64.RawURLEncoding.EncodeToString(hash[:]) + "." + strconv.FormatUint(ref.Position, 10)
}

// parseEventID reads what eventID wrote.
func parseEventID(id string) (room fsm.RoomHash, position uint64, err error) {
	hash, number, found := strings.Cut(id, ".")
	raw, hashErr := base64.RawURLEncoding.DecodeString(hash)
	position, numberErr := strconv.ParseUint(number, 10, 64)
	if !found || hashErr != nil || numberErr != nil || len(raw) != len(room) {
		return room, 0, &mls.MalformedError{Field: "ids", Reason: "an ID is not one that the client's inbox gave"}
	}
	copy(room[:], raw)
	return room, position, nil
}

func presentEvent(e fsm.ClientEvent, raw bool) (inboxItem, error) {
	shown, err := present(fsm.OutboxItem{Room: e.Room, Hub: e.Hub, Sequence: e.Position, Millis: e.Millis, Body: e.Message, Notes: e.Notes}, raw)
	shown.ID = eventID(e.ClientEventRef)
	return shown, err
}

// awaitEvents reads a client's inbox, and while there is nothing waits for what may come.
func (s *LocalServer) awaitEvents(ctx context.Context, query clientInboxQuery) (fsm.EventPage, error) {
	over := time.NewTimer(query.wait)
	defer over.Stop()
	for {
		beat, looked := s.pulse.Next(), time.Now()
		page, err := s.inbox.ReadEvents(ctx, query.EventQuery)
		if query.wait > 0 && errors.Is(err, fsm.ErrNotProposed) {
			err = nil // who waits can wait for a leader, too
		}
		if err != nil || len(page.Events) > 0 || query.wait == 0 || !s.lookAgain(ctx, beat, looked, over.C) {
			return page, err
		}
	}
}

// lookAgain returns when a client's inbox may have something new, and false when its reader is gone, its time is over or the listener
// stops.
func (s *LocalServer) lookAgain(ctx context.Context, beat <-chan struct{}, looked time.Time, over <-chan time.Time) bool {
	select {
	case <-over:
		return false
	case <-ctx.Done():
		return false
	case <-s.stopping:
		return false
	case <-beat:
	case <-time.After(s.inboxPoll):
		return true
	}
	select {
	case <-ctx.Done():
		return false
	case <-s.stopping:
		return false
	case <-time.After(time.Until(looked.Add(eventPause))):
		return true
	}
}

// streamClientInbox sends each event once on this stream. It ends when the reader goes away or the listener stops.
func (s *LocalServer) streamClientInbox(c echo.Context, query clientInboxQuery, media string) error {
	ctx := c.Request().Context()
	stream, err := openStream(c, media)
	if err != nil {
		return err
	}
	sent := sentEvents{max: 10 * query.Items, known: map[string]bool{}}
	for {
		beat, looked := s.pulse.Next(), time.Now()
		page, err := s.inbox.ReadEvents(ctx, query.EventQuery)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, fsm.ErrNotProposed) { // a stream can wait for a leader
			return fmt.Errorf("inbox stream of a client: %w", err)
		}
		if err := sent.send(stream, page, query.raw); err != nil {
			return err
		}
		if !s.lookAgain(ctx, beat, looked, nil) {
			return nil
		}
		if err := stream.idle(); err != nil {
			return err
		}
	}
}

// sentEvents remembers what a stream has sent and what may still wait: as many as that, and then the oldest are forgotten and may come
// twice.
type sentEvents struct {
	max   int
	order []string
	known map[string]bool // those of order
}

func (e *sentEvents) send(stream *itemStream, page fsm.EventPage, raw bool) error {
	waiting, fresh := make(map[string]bool, len(page.Events)), false
	for _, event := range page.Events {
		shown, err := presentEvent(event, raw)
		if err != nil {
			return err
		}
		waiting[shown.ID] = true
		if e.known[shown.ID] {
			continue
		}
		if err := stream.send(shown, shown.ID); err != nil {
			return err
		}
		fresh = true
		e.order, e.known[shown.ID] = append(e.order, shown.ID), true
	}
	if page.Whole { // what is not in it was acknowledged
		e.order = slices.DeleteFunc(e.order, func(id string) bool { return !waiting[id] })
		e.known = waiting
	}
	for len(e.order) > e.max {
		delete(e.known, e.order[0])
		e.order = e.order[1:]
	}
	if fresh {
		stream.flush()
	}
	return nil
}
