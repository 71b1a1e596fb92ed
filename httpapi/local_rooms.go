package httpapi

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// createRoomRequest is the body of POST /v1/rooms. The room may be at any epoch of its group.
type createRoomRequest struct {
	Room        mimi.RoomURI `json:"room"`
	Creator     mimi.UserURI `json:"creator"`
	GroupInfo   []byte       `json:"groupInfo"`   // bare or as MLSMessage, without ratchet_tree, with external_pub
	RatchetTree []byte       `json:"ratchetTree"` // optional<Node> ratchet_tree<V>
	// Generation is needed once the cluster has begun another than its first: whoever names it knows that what was created before may be lost. For a
	// stale room it says that this group takes the place of the one whose state is lost.
	Generation fsm.Generation `json:"generation"`
}

// roomAccepted answers POST /v1/rooms; a retry gets the same.
type roomAccepted struct {
	Room           mimi.RoomURI `json:"room"`
	Epoch          mls.Epoch    `json:"epoch"`
	AcceptedMillis uint64       `json:"acceptedMillis"`
}

// createRoom is POST /v1/rooms.
func (s *LocalServer) createRoom(c echo.Context) error {
	var r createRoomRequest
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	switch {
	case r.Room.IsZero():
		return missing("room")
	case r.Creator.IsZero():
		return missing("creator")
	case !s.desk.isOurs(r.Room.Provider()):
		return &mls.MalformedError{Field: "room", Reason: "its domain is not one of this provider's"}
	}
	if err := s.checkLocalUser("creator", r.Creator.Provider()); err != nil {
		return err
	}
	request, err := judge.NewCreateRoom(r.Room, r.Creator, r.GroupInfo, r.RatchetTree)
	if err != nil {
		return err
	}
	if err := s.desk.reserveGroup(c.Request().Context(), request); err != nil {
		return err
	}
	if err := s.desk.considerParent(c.Request().Context(), request); err != nil {
		return err
	}
	if request, err = s.desk.reserveMembers(c.Request().Context(), request); err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request.For(r.Generation))
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.OtherGeneration:
		return generationProblem(o)
	case fsm.Accepted:
		return c.JSON(http.StatusCreated, roomAccepted{Room: r.Room, Epoch: o.Epoch, AcceptedMillis: o.Millis})
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, "", o.Reason)
	case fsm.RoomEnded:
		return gone(o)
	case fsm.WrongEpoch:
		return newProblem(http.StatusConflict, problemConflict, "groupInfo", fmt.Sprintf("The room exists, in epoch %d.", o.Current))
	default:
		return unexpected("a new room", outcome)
	}
}

// roomDescription answers GET /v1/rooms/{room}.
type roomDescription struct {
	Room             mimi.RoomURI      `json:"room"`
	GroupID          []byte            `json:"groupId"`
	CipherSuite      mls.CipherSuite   `json:"cipherSuite"`
	Epoch            mls.Epoch         `json:"epoch"`
	TreeHash         []byte            `json:"treeHash"`
	Participants     []roomParticipant `json:"participants"`
	Destinations     []mimi.Provider   `json:"destinations"`
	PendingProposals uint32            `json:"pendingProposals"`
	Next             *nextGroup        `json:"next,omitempty"`  // after a ReInit: the group that the room waits for
	Stale            *staleRoom        `json:"stale,omitempty"` // where the room waits to be brought forward: what is said of its group may be over
}

// nextGroup is what a ReInit announced. Whoever creates the room again, with this group, continues it.
type nextGroup struct {
	GroupID     []byte          `json:"groupId"`
	CipherSuite mls.CipherSuite `json:"cipherSuite"`
}

func describeAwaiting(o fsm.RoomAwaits) roomDescription {
	d := describe(o.Room)
	d.Next = &nextGroup{GroupID: []byte(o.GroupID), CipherSuite: o.Suite}
	return d
}

type roomParticipant struct {
	User mimi.UserURI `json:"user"`
	Role uint32       `json:"role"`
}

// describeRoom is GET /v1/rooms/{room}, for rooms hosted here.
func (s *LocalServer) describeRoom(c echo.Context) error {
	room, err := s.hostedRoom(c)
	if err != nil {
		return err
	}
	request, err := judge.NewDescribeRoom(room)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.RoomDescribed:
		return c.JSON(http.StatusOK, describe(o))
	case fsm.StaleRoomDescribed:
		d, stale := describe(o.Room), staleRoomOf(room, o.Stale)
		d.Stale = &stale
		return c.JSON(http.StatusOK, d)
	case fsm.RoomAwaits:
		return c.JSON(http.StatusOK, describeAwaiting(o))
	case fsm.RoomEnded:
		return gone(o)
	case fsm.NoSuchRoom:
		return newProblem(http.StatusNotFound, problemNotFound, "room", "There is no such room.")
	default:
		return unexpected("a look at a room", outcome)
	}
}

func describe(o fsm.RoomDescribed) roomDescription {
	d := roomDescription{
		Room:             o.Room,
		GroupID:          []byte(o.GroupID),
		CipherSuite:      o.Suite,
		Epoch:            o.Epoch,
		TreeHash:         o.TreeHash,
		Participants:     []roomParticipant{},
		Destinations:     append([]mimi.Provider{}, o.Destinations...),
		PendingProposals: o.Pending,
	}
	for _, p := range o.Participants {
		d.Participants = append(d.Participants, roomParticipant{User: p.User, Role: p.Role})
	}
	return d
}

// hostedRoom is the room of the path, which is hosted here.
func (s *LocalServer) hostedRoom(c echo.Context) (mimi.RoomURI, error) {
	room, err := mimi.RoomURIFromPath(c.Param("room"))
	if err != nil {
		return room, err
	}
	return room, s.desk.checkHosted(room)
}

// localUser is the user of the path, who is this provider's.
func (s *LocalServer) localUser(c echo.Context) (mimi.UserURI, error) {
	user, err := mimi.UserURIFromPath(c.Param("user"))
	if err != nil {
		return user, err
	}
	return user, s.checkLocalUser("user", user.Provider())
}

// checkLocalUser refuses to speak for another provider's user.
func (s *LocalServer) checkLocalUser(field string, domain mimi.Provider) error {
	if s.desk.isOurs(domain) {
		return nil
	}
	return newProblem(http.StatusForbidden, problemNotYours, field, "It is no user of this provider.")
}
