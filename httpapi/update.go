package httpapi

import (
	"context"
	"encoding/hex"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// update is POST /v1/update/{roomId} of the peer listener (mimi-protocol-06 §5.3).
func (s *PeerServer) update(c echo.Context) error {
	from, room, body, err := s.roomRequest(c)
	if err != nil {
		return err
	}
	a, err := s.desk.update(c.Request().Context(), from.domain, room, body)
	if err != nil {
		return err
	}
	return a.send(c)
}

// update decides a HandshakeBundle for a room hosted here.
func (d *Desk) update(ctx context.Context, from mimi.Provider, room mimi.RoomURI, body []byte) (answer, error) {
	if err := d.checkHosted(room); err != nil {
		return answer{}, err
	}
	request, err := judge.NewUpdate(from, room, body)
	if err != nil {
		return answer{}, err
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return answer{}, err
	}
	return updateAnswer(outcome)
}

func updateAnswer(outcome fsm.Outcome) (answer, error) {
	switch o := outcome.(type) {
	case fsm.Accepted:
		return coded(mimi.UpdateRoomResponse{Result: mimi.UpdateSuccess{AcceptedMillis: o.Millis}}), nil
	case fsm.WrongEpoch:
		a := coded(mimi.UpdateRoomResponse{Description: "the group is in another epoch", Result: mimi.UpdateWrongEpoch{Current: o.Current}})
		if o.Winner != [32]byte{} {
			a = a.with(mimi.HeaderEpochWinner, hex.EncodeToString(o.Winner[:]))
		}
		return a, nil
	case fsm.NotAllowed:
		return coded(mimi.UpdateRoomResponse{Description: o.Reason, Result: mimi.UpdateNotAllowed{}}), nil
	case fsm.StaleRoom:
		return answer{}, staleProblem(o)
	case fsm.RoomEnded:
		if o.Status == fsm.RoomDestroyed {
			return answer{}, gone(o)
		}
		return coded(mimi.UpdateRoomResponse{Description: o.Reason(), Result: mimi.UpdateNotAllowed{}}), nil
	case fsm.NoSuchRoom:
		return coded(mimi.UpdateRoomResponse{Description: "there is no such room", Result: mimi.UpdateNotAllowed{}}), nil
	case fsm.InvalidProposal:
		return coded(mimi.UpdateRoomResponse{Description: o.Reason, Result: mimi.UpdateInvalidProposal{Proposals: o.Refs}}), nil
	default:
		return answer{}, unexpected("an update", outcome)
	}
}
