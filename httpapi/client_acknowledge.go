package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// acknowledgeEventsRequest is the body of POST /v1/clients/{client}/inbox/acknowledge: events by their IDs, rooms up to a sequence, or both.
// What is unknown, or was acknowledged before, is harmless.
type acknowledgeEventsRequest struct {
	IDs     []string     `json:"ids"`
	Through []roomPlaced `json:"through"`
}

// roomPlaced is how far a client is in a room: it has had everything up to the sequence.
type roomPlaced struct {
	Room     mimi.RoomURI `json:"room"`
	Sequence uint64       `json:"sequence"`
}

// acknowledgedEvents counts the events that went by the request.
type acknowledgedEvents struct {
	Acknowledged int `json:"acknowledged"`
}

// roomAcknowledged is what of one room is acknowledged.
type roomAcknowledged struct {
	room      fsm.RoomHash
	through   uint64
	positions []uint64
}

// acknowledgeClientInbox is POST /v1/clients/{client}/inbox/acknowledge. After an error some of the events may have been
// acknowledged; the same request can be sent again.
func (s *LocalServer) acknowledgeClientInbox(c echo.Context) error {
	name, err := s.memberName(c)
	if err != nil {
		return err
	}
	var r acknowledgeEventsRequest
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	rooms, err := r.byRoom()
	if err != nil {
		return err
	}
	var events atomic.Int64
	err = sideBySide(rooms, func(room roomAcknowledged) error {
		went, err := s.acknowledgeRoom(c.Request().Context(), name, room)
		events.Add(int64(went))
		return err
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, acknowledgedEvents{Acknowledged: int(events.Load())})
}

func (r acknowledgeEventsRequest) byRoom() ([]roomAcknowledged, error) {
	if len(r.IDs)+len(r.Through) > acknowledgeMax {
		return nil, &mls.MalformedError{Field: "ids", Reason: fmt.Sprintf("more than %d IDs and rooms", acknowledgeMax)}
	}
	rooms := map[fsm.RoomHash]roomAcknowledged{}
	for _, id := range r.IDs {
		hash, position, err := parseEventID(id)
		if err != nil {
			return nil, err
		}
		room := rooms[hash]
		room.room, room.positions = hash, append(room.positions, position)
		rooms[hash] = room
	}
	for _, place := range r.Through {
		if place.Room.IsZero() {
			return nil, &mls.MalformedError{Field: "through.room", Reason: "it is missing"}
		}
		hash := fsm.HashOfRoom(place.Room)
		room := rooms[hash]
		room.room, room.through = hash, max(room.through, place.Sequence)
		rooms[hash] = room
	}
	return slices.Collect(maps.Values(rooms)), nil
}

// acknowledgeRoom goes on until nothing of what is named is left.
func (s *LocalServer) acknowledgeRoom(ctx context.Context, name fsm.MemberName, room roomAcknowledged) (events int, err error) {
	request, err := judge.NewAcknowledgeEvents(room.room, name, room.through, room.positions)
	if err != nil {
		return 0, err
	}
	for {
		outcome, err := s.desk.hub.Do(ctx, request)
		if err != nil {
			return events, err
		}
		switch o := outcome.(type) {
		case fsm.Acknowledged:
			events += int(o.Items)
			if !o.More {
				return events, nil
			}
		case fsm.NotAllowed:
			return events, newProblem(http.StatusConflict, problemConflict, "ids", o.Reason)
		case fsm.FormatNotReached:
			return events, olderFormat()
		default:
			return events, unexpected("an acknowledgement of events", outcome)
		}
	}
}
