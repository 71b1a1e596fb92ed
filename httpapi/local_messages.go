package httpapi

import (
	"context"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mimi"
)

// roomBody reads what the draft's endpoints of a room have in common at the local listener.
func (s *LocalServer) roomBody(c echo.Context) (room mimi.RoomURI, body []byte, err error) {
	if room, err = mimi.RoomURIFromPath(c.Param("room")); err != nil {
		return mimi.RoomURI{}, nil, err
	}
	body, err = readBody(c, s.bodyBytesMax)
	return room, body, err
}

// hereOrThere: a room of ours is decided by the cluster, one of another provider by that hub, whose answer comes back as it is.
func (s *LocalServer) hereOrThere(c echo.Context, target Target, room mimi.RoomURI, body []byte,
	here func(context.Context) (answer, error)) error {
	ctx := c.Request().Context()
	if s.desk.isOurs(room.Provider()) {
		a, err := here(ctx)
		if err != nil {
			return err
		}
		return a.send(c)
	}
	reply, err := s.desk.outbound.Post(ctx, room.Provider(), target, body, "")
	if err != nil {
		return err
	}
	return relayed(reply).send(c)
}

// update is POST /v1/rooms/{room}/update, with an UpdateRequest of a local user's client. Whose it is, only the hub can tell:
// it knows the group.
func (s *LocalServer) update(c echo.Context) error {
	room, body, err := s.roomBody(c)
	if err != nil {
		return err
	}
	return s.hereOrThere(c, UpdateTarget(room), room, body, func(ctx context.Context) (answer, error) {
		self, err := s.desk.self()
		if err != nil {
			return answer{}, err
		}
		return s.desk.update(ctx, self, room, body)
	})
}

// submitMessage is POST /v1/rooms/{room}/submitMessage, with a SubmitMessageRequest whose sendingUri is a local user.
func (s *LocalServer) submitMessage(c echo.Context) error {
	room, body, err := s.roomBody(c)
	if err != nil {
		return err
	}
	request, err := mimi.ParseSubmitMessageRequest(body)
	if err != nil {
		return err
	}
	sender := request.Sender.Provider()
	if err := s.checkLocalUser("SubmitMessageRequest.sendingUri", sender); err != nil {
		return err
	}
	return s.hereOrThere(c, SubmitMessageTarget(room), room, body, func(ctx context.Context) (answer, error) {
		count := func(o fsm.Outcome, err error) { s.metrics.submittedAlone(localSubmitter, o, err) }
		return s.desk.submit(ctx, sender, room, body, count)
	})
}

// groupInfo is POST /v1/rooms/{room}/groupInfo, with a GroupInfoRequest whose credential names a local user or client.
func (s *LocalServer) groupInfo(c echo.Context) error {
	room, body, err := s.roomBody(c)
	if err != nil {
		return err
	}
	request, err := mimi.ParseGroupInfoRequest(body)
	if err != nil {
		return err
	}
	joiner := credentialDomain(request.Credential)
	if err := s.checkLocalUser("GroupInfoRequest.requestingCredential", joiner); err != nil {
		return err
	}
	return s.hereOrThere(c, GroupInfoTarget(room), room, body, func(ctx context.Context) (answer, error) {
		return s.desk.groupInfo(ctx, joiner, room, body)
	})
}

// keyMaterial is POST /v1/keyMaterial/{targetUser}, with a KeyMaterialRequest of a local user. The claim goes through the hub of
// its room, even where the target is a local user; one for no room goes straight to the target's provider.
func (s *LocalServer) keyMaterial(c echo.Context) error {
	claim, err := readClaim(c, c.Param("targetUser"), s.bodyBytesMax)
	if err != nil {
		return err
	}
	if a, none := claim.incompatible(); none {
		return a.send(c)
	}
	requester := claim.request.RequestingUser.Provider()
	if err := s.checkLocalUser("KeyMaterialRequest.requestingUser", requester); err != nil {
		return err
	}
	ctx, hub := c.Request().Context(), claim.request.Room.Provider()
	if !hub.IsZero() && !s.desk.isOurs(hub) {
		reply, err := s.desk.outbound.Post(ctx, hub, KeyMaterialTarget(claim.target), claim.body, claim.idempotencyKey)
		if err != nil {
			return err
		}
		return relayed(reply).send(c)
	}
	a, err := s.desk.claim(ctx, requester, claim)
	if err != nil {
		return err
	}
	return a.send(c)
}
