package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// staleRetry is what is told to who asks something of a stale room: it takes somebody to bring it forward.
const staleRetry = time.Minute

// staleProblem is the answer of a stale room, to a peer as to the provider's own clients. It is none of the draft's refusals, all of which say that
// the request can never be taken: here nothing was decided, and the same may be taken later.
func staleProblem(o fsm.StaleRoom) *Problem {
	return newProblem(http.StatusServiceUnavailable, problemRoomStale, "roomId", capitalised(o.Reason())+". Nothing was written.").after(staleRetry)
}

func capitalised(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// generationProblem is the answer to a creation that does not know of the cluster's generation.
func generationProblem(o fsm.OtherGeneration) *Problem {
	p := newProblem(http.StatusConflict, problemGeneration, "generation", capitalised(o.Reason())+".")
	p.Generation = o.Current
	return p
}

// staleRoom is a room that waits to be brought forward.
type staleRoom struct {
	Room        mimi.RoomURI   `json:"room"`
	Generation  fsm.Generation `json:"generation"` // of the cluster
	Epoch       mls.Epoch      `json:"epoch"`      // the last that the hub knows
	SinceMillis uint64         `json:"sinceMillis"`
}

func staleRoomOf(room mimi.RoomURI, o fsm.StaleRoom) staleRoom {
	return staleRoom{Room: room, Generation: o.Generation, Epoch: o.Epoch, SinceMillis: o.SinceMillis}
}

// staleRoomList answers GET /v1/staleRooms.
type staleRoomList struct {
	Rooms []staleRoom  `json:"rooms"`
	Whole bool         `json:"whole"`         // there are no more, and all have been found
	Next  mimi.RoomURI `json:"next,omitzero"` // to go on behind; absent at the end of the list
}

// staleRoomsMax bounds one page.
const staleRoomsMax = 500

// listStaleRooms is GET /v1/staleRooms?after=room.
func (s *LocalServer) listStaleRooms(c echo.Context) error {
	after, err := uriParam(c, "after", mimi.ParseRoomURI)
	if err != nil {
		return err
	}
	list := staleRoomList{Rooms: []staleRoom{}, Whole: true}
	first := fsm.SlotID(0)
	if !after.IsZero() {
		first = fsm.SlotOfRoom(after)
	}
	for slot := first; slot < fsm.SlotCount; slot++ {
		request, err := judge.NewStaleRooms(slot, after)
		if err != nil {
			return err
		}
		after = mimi.RoomURI{}
		outcome, err := s.desk.hub.Do(c.Request().Context(), request)
		if err != nil {
			return err
		}
		found, ok := outcome.(fsm.StaleRoomList)
		if !ok {
			return unexpected("a look for stale rooms", outcome)
		}
		list.Whole = list.Whole && found.Whole
		for _, r := range found.Rooms {
			list.Rooms = append(list.Rooms, staleRoomOf(r.Room, r.StaleRoom))
		}
		if len(list.Rooms) >= staleRoomsMax {
			list.Whole, list.Next = false, list.Rooms[len(list.Rooms)-1].Room
			break
		}
	}
	return c.JSON(http.StatusOK, list)
}

// fastForwardRequest is the body of POST /v1/rooms/{room}/fastForward.
type fastForwardRequest struct {
	GroupInfo   []byte          `json:"groupInfo"`   // signed by a member; bare or as MLSMessage, without ratchet_tree, with external_pub
	RatchetTree []byte          `json:"ratchetTree"` // optional<Node> ratchet_tree<V>
	Clients     []clientOfUser  `json:"clients"`     // whose client a member is that came in since the hub lost its history
	Waive       []mimi.Provider `json:"waive"`       // providers without whose word the room goes forward, where they do not give it
}

type clientOfUser struct {
	Client mimi.ClientURI `json:"client"`
	User   mimi.UserURI   `json:"user"`
}

// fastForward is POST /v1/rooms/{room}/fastForward: it brings a stale room to the epoch in which its group is.
func (s *LocalServer) fastForward(c echo.Context) error {
	room, err := s.hostedRoom(c)
	if err != nil {
		return err
	}
	var r fastForwardRequest
	if err := readJSON(c, s.bodyBytesMax, &r); err != nil {
		return err
	}
	ctx := c.Request().Context()
	forward, err := r.request(room, nil)
	if err != nil {
		return err
	}
	stale, again, err := s.desk.staleRoom(ctx, room)
	if err != nil {
		return err
	}
	var seen []fsm.EpochSeen
	if !again {
		if seen, err = s.desk.askEpochs(ctx, room, stale, forward, r.Waive); err != nil {
			return err
		}
	}
	if forward, err = r.request(room, seen); err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(ctx, forward)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Accepted:
		return c.JSON(http.StatusOK, roomAccepted{Room: room, Epoch: o.Epoch, AcceptedMillis: o.Millis})
	case fsm.NotAllowed:
		return newProblem(http.StatusConflict, problemConflict, "", o.Reason)
	case fsm.RoomEnded:
		return gone(o)
	case fsm.NoSuchRoom:
		return newProblem(http.StatusNotFound, problemNotFound, "room", "There is no such room.")
	case fsm.FormatNotReached:
		return olderFormat()
	default:
		return unexpected("a fast-forward", outcome)
	}
}

func (r fastForwardRequest) request(room mimi.RoomURI, seen []fsm.EpochSeen) (*judge.FastForward, error) {
	clients := make([]fsm.ClientOfUser, len(r.Clients))
	for i, c := range r.Clients {
		clients[i] = fsm.ClientOfUser(c)
	}
	return judge.NewFastForward(room, r.GroupInfo, r.RatchetTree, seen, clients)
}

// staleRoom describes a room that is stale. Of one that is not nobody needs to be asked: it may have been brought forward by the same request.
func (d *Desk) staleRoom(ctx context.Context, room mimi.RoomURI) (stale fsm.StaleRoomDescribed, not bool, err error) {
	request, err := judge.NewDescribeRoom(room)
	if err != nil {
		return stale, false, err
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return stale, false, err
	}
	stale, is := outcome.(fsm.StaleRoomDescribed)
	return stale, !is, nil
}

// askEpochs asks every other provider that follows the room, as it was or as it is to be, in which epoch it has seen the group. Those that do not
// answer have to be waived by name.
func (d *Desk) askEpochs(ctx context.Context, room mimi.RoomURI, stale fsm.StaleRoomDescribed, forward *judge.FastForward, waive []mimi.Provider) ([]fsm.EpochSeen, error) {
	providers, err := forward.Providers()
	if err != nil {
		return nil, err
	}
	for _, destination := range stale.Room.Destinations {
		if !slices.Contains(providers, destination) {
			providers = append(providers, destination)
		}
	}
	providers = slices.DeleteFunc(providers, d.isOurs)
	answers := make([]mimi.RoomEpochResponse, len(providers))
	failed := make([]error, len(providers))
	var wait sync.WaitGroup
	for i, provider := range providers {
		wait.Go(func() { answers[i], failed[i] = d.askEpoch(ctx, provider, room) })
	}
	wait.Wait()
	var seen []fsm.EpochSeen
	var silent []string
	for i, provider := range providers {
		s := fsm.EpochSeen{Provider: provider, Answer: fsm.SeenNothing}
		switch a := answers[i]; {
		case failed[i] != nil && slices.Contains(waive, provider):
			s.Answer = fsm.SeenWaived
		case failed[i] != nil:
			silent = append(silent, fmt.Sprintf("%s (%v)", provider, failed[i]))
		case a.Known && a.GroupID != forward.GroupID():
			return nil, newProblem(http.StatusConflict, problemConflict, "groupInfo", fmt.Sprintf("The provider %s has seen another group in the room.", provider))
		case a.Known:
			s.Answer, s.Epoch = fsm.SeenEpoch, a.Epoch
		}
		seen = append(seen, s)
	}
	if len(silent) > 0 {
		return nil, newProblem(http.StatusConflict, problemNotAsked, "waive",
			"Providers that follow the room did not say in which epoch they have seen its group, so it may be later than this one: "+strings.Join(silent, ", ")+
				". Ask again, or name those under waive that are to be left out.")
	}
	return seen, nil
}

// askEpoch asks one provider. An error says why it has no answer.
func (d *Desk) askEpoch(ctx context.Context, provider mimi.Provider, room mimi.RoomURI) (mimi.RoomEpochResponse, error) {
	reply, err := d.outbound.Post(ctx, provider, RoomEpochTarget(), mimi.RoomEpochRequest{Room: room}.Marshal(), "")
	switch {
	case err != nil:
		return mimi.RoomEpochResponse{}, err
	case !reply.OK():
		return mimi.RoomEpochResponse{}, reply.StatusError(provider)
	}
	return mimi.ParseRoomEpochResponse(reply.Body)
}

// RoomEpochTarget is where a provider is asked in which epoch it has seen a room of the asker's, if it offers that (docs/extensions.md).
func RoomEpochTarget() Target { return Target{mimi.EndpointRoomEpoch, noVariable{}} }

const roomEpochPath = "/v1/roomEpoch"

// roomEpoch is POST /v1/roomEpoch of the peer listener: a hub that has lost a part of its history asks in which epoch one of its rooms was seen here.
func (s *PeerServer) roomEpoch(c echo.Context) error {
	from, err := s.caller(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, s.bodyBytesMax)
	if err != nil {
		return err
	}
	asked, err := mimi.ParseRoomEpochRequest(body)
	if err != nil {
		return err
	}
	if !from.speaksFor(asked.Room.Provider()) {
		return newProblem(http.StatusForbidden, problemNotYours, "roomId", "Only the room's own provider may ask.")
	}
	request, err := judge.NewFollowedEpoch(asked.Room.Provider(), asked.Room)
	if err != nil {
		return err
	}
	outcome, err := s.desk.hub.Do(c.Request().Context(), request)
	if err != nil {
		return err
	}
	seen, ok := outcome.(fsm.FollowedEpoch)
	if !ok {
		return unexpected("a question for an epoch", outcome)
	}
	return coded(mimi.RoomEpochResponse(seen)).send(c)
}
