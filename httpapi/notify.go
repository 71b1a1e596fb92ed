package httpapi

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// notify is POST /v1/notify/{roomId} of the peer listener: a hub delivers what happened in one of its rooms (mimi-protocol-06
// §5.5). A body that came before is answered like the first one.
func (s *PeerServer) notify(c echo.Context) error {
	from, room, body, err := s.roomRequest(c)
	if err != nil {
		return err
	}
	if !from.speaksFor(room.Provider()) {
		return newProblem(http.StatusForbidden, problemNotYours, "roomId", "Only the room's own provider may notify of it.")
	}
	if s.desk.isOurs(room.Provider()) {
		return newProblem(http.StatusForbidden, problemNotYours, mimi.HeaderFrom, "The room is hosted here.")
	}
	request, err := judge.NewNotify(room.Provider(), room, body)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Accepted, fsm.Done:
		return c.NoContent(http.StatusCreated)
	case fsm.NotAllowed:
		return newProblem(http.StatusForbidden, problemNotYours, "roomId", o.Reason)
	default:
		return unexpected("a notify body", outcome)
	}
}
