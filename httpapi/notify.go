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
	if !s.desk.takesBulk() {
		return s.notifyUnordered(c, from, room, body)
	}
	arrived := s.desk.receive(c.Request().Context(), from, []mimi.NotifyItem{mimi.NewNotifyItem(room, body, nil)})
	if err := arrived[0].err; err != nil {
		return err
	}
	return c.NoContent(http.StatusCreated)
}

// takesBulk reports whether every node takes the requests of bulk delivery.
func (d *Desk) takesBulk() bool { return d.config.Settings().Format >= fsm.FormatBulk }

// notifyUnordered is notify in a cluster some of whose nodes may be of an older program.
func (s *PeerServer) notifyUnordered(c echo.Context, from caller, room mimi.RoomURI, body []byte) error {
	if _, err := s.desk.readItem(from, mimi.NewNotifyItem(room, body, nil)); err != nil {
		return err
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
