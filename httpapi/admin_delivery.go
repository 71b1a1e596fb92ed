package httpapi

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mimi"
)

// PeerHold is the last word on whether what waits for a peer is held back.
type PeerHold struct {
	Paused bool      `json:"paused"`
	By     string    `json:"by"`  // who said so, as he called himself
	Why    string    `json:"why"` // likewise
	Since  time.Time `json:"since"`
}

// HoldRequest says by whose word a peer is paused or goes on, and why. Both are free texts for whoever looks later.
type HoldRequest struct {
	By  string `json:"by,omitempty"`
	Why string `json:"why,omitempty"`
}

// ReplayReport says which nodes have been told to try a peer again at once.
type ReplayReport struct {
	Nodes  int           `json:"nodes"`  // that have been told
	Failed []NodeFailure `json:"failed"` // nodes that could not be: they wait on as they did
}

// NodeFailure is why a node could not be asked.
type NodeFailure struct {
	Node   string `json:"node"`
	Reason string `json:"reason"`
}

// Backlog is what waits for each peer, and how its delivery stands.
type Backlog struct {
	Peers  []PeerBacklog `json:"peers"`  // by destination: all of the allow-list, and others for which something waits
	Failed []NodeFailure `json:"failed"` // what these nodes lead and deliver is missing
}

// PeerBacklog is one destination's.
type PeerBacklog struct {
	Destination mimi.Provider `json:"destination"`
	Waits
	Hold   *PeerHold      `json:"hold,omitempty"` // absent where the peer was never paused
	Shards []ShardBacklog `json:"shards"`         // in which something waits
	Lanes  []DeliveryLane `json:"lanes"`          // of the nodes that deliver to it
}

// Waits sums up what waits.
type Waits struct {
	Items        uint64    `json:"items"`
	Bytes        uint64    `json:"bytes"`
	Rooms        uint64    `json:"rooms"`
	Oldest       time.Time `json:"oldest,omitzero"` // when the oldest item was accepted
	DroppedItems uint64    `json:"droppedItems"`    // given up since ever, because nobody took them in time
}

// ShardBacklog is what waits in one shard.
type ShardBacklog struct {
	Shard     fsm.ShardID `json:"shard"`
	Leader    string      `json:"leader"`
	Deliverer string      `json:"deliverer,omitempty"` // the node that sends it; absent while none is appointed
	Waits
}

// DeliveryLane is what a node has learnt of a destination by delivering to it.
type DeliveryLane struct {
	Node          string       `json:"node"`
	FailingSince  time.Time    `json:"failingSince,omitzero"` // absent while it answers
	Error         string       `json:"error,omitempty"`       // the last, while it fails
	NextTry       time.Time    `json:"nextTry,omitzero"`      // absent where nothing holds it back
	RoomsInFlight int          `json:"roomsInFlight"`
	Parked        []ParkedRoom `json:"parked"`
	ParkedMore    int          `json:"parkedMore,omitempty"` // rooms that are parked and not listed
}

// ParkedRoom is a room whose next body the destination refuses.
type ParkedRoom struct {
	Room    mimi.RoomURI `json:"room"`
	Since   time.Time    `json:"since"`
	NextTry time.Time    `json:"nextTry"`
	Refusal string       `json:"refusal"` // the last
}

// backlog is GET /v1/backlog.
func (s *AdminServer) backlog(c echo.Context) error {
	backlog, err := s.admin.Backlog(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, backlog)
}

// pausePeer is POST /v1/peers/{domain}/pause, and resumePeer its end. Both may be repeated.
func (s *AdminServer) pausePeer(c echo.Context) error  { return s.holdPeer(c, true) }
func (s *AdminServer) resumePeer(c echo.Context) error { return s.holdPeer(c, false) }

func (s *AdminServer) holdPeer(c echo.Context, paused bool) error {
	domain, err := domainParam(c)
	if err != nil {
		return err
	}
	var request HoldRequest
	if err := readJSON(c, adminBodyBytesMax, &request); err != nil {
		return err
	}
	hold, err := s.admin.HoldPeer(c.Request().Context(), domain, paused, request)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, hold)
}

// replayPeer is POST /v1/peers/{domain}/replay. It may be repeated.
func (s *AdminServer) replayPeer(c echo.Context) error {
	domain, err := domainParam(c)
	if err != nil {
		return err
	}
	report, err := s.admin.ReplayPeer(c.Request().Context(), domain)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, report)
}
