package httpapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// roomDestroyed answers DELETE /v1/rooms/{room}; a repetition gets the same.
type roomDestroyed struct {
	Room            mimi.RoomURI `json:"room"`
	DestroyedMillis uint64       `json:"destroyedMillis"` // hub time
}

// destroyRoom is DELETE /v1/rooms/{room}: the end of a room hosted here, for good. Its URI is not used again.
func (s *LocalServer) destroyRoom(c echo.Context) error {
	room, err := s.hostedRoom(c)
	if err != nil {
		return err
	}
	request, err := judge.NewDestroyRoom(room)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Accepted:
		return c.JSON(http.StatusOK, roomDestroyed{Room: room, DestroyedMillis: o.Millis})
	case fsm.NoSuchRoom:
		return newProblem(http.StatusNotFound, problemNotFound, "room", "There is no such room.")
	case fsm.FormatNotReached:
		return olderFormat()
	default:
		return unexpected("the end of a room", outcome)
	}
}

// gone is the answer of a room that was destroyed, to whatever is asked of it.
func gone(ended fsm.RoomEnded) *Problem {
	return newProblem(http.StatusGone, problemRoomEnded, "roomId", ended.Reason())
}

// reserveGroup makes sure that no other room of this hub has the group, before a room is created with it. In a shard of an older format
// nobody knows.
func (d *Desk) reserveGroup(ctx context.Context, created *judge.CreateRoom) error {
	request, err := created.Reservation()
	if err != nil {
		return err
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Done, fsm.FormatNotReached:
		return nil
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, "groupInfo", o.Reason)
	default:
		return unexpected("a reservation", outcome)
	}
}
