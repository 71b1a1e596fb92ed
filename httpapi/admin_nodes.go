package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/meta"
)

// NodeAdmin is what the admin listener asks of nodes, of replicas and of how they are placed.
type NodeAdmin interface {
	// Nodes are those of the cluster, by ID.
	Nodes(ctx context.Context) ([]NodeEntry, error)
	// AssignNode says what a node is wanted for, serving or draining, and returns it as it is then. The same again changes nothing. The error
	// is a *NotFoundError where there is none, here and below.
	AssignNode(ctx context.Context, node string, duty meta.DutyKind, r NodeRequest) (NodeEntry, error)
	// Decommission begins to bring a node out of the cluster for good.
	Decommission(ctx context.Context, node string, r NodeRequest) (JobEntry, error)
	// ReplaceNode begins to bring a node out of the cluster for good, and another into its place.
	ReplaceNode(ctx context.Context, node string, r ReplaceRequest) (JobEntry, error)
	// ForgetNode takes a dead node that has nothing out of the cluster for good.
	ForgetNode(ctx context.Context, node string) error

	// MoveReplica begins to move a shard's replica.
	MoveReplica(ctx context.Context, shard fsm.ShardID, r ReplicaMoveRequest) (JobEntry, error)

	Placement(ctx context.Context) (PlacementEntry, error)
	// ChangePlacement changes what is named.
	ChangePlacement(ctx context.Context, c PlacementChange) (PlacementEntry, error)
}

// NodeEntry is a node of the cluster.
type NodeEntry struct {
	ID        string    `json:"id"`
	Address   string    `json:"address"`
	Zone      string    `json:"zone"`
	Duty      string    `json:"duty"`                // serving, draining, leaving
	Successor string    `json:"successor,omitempty"` // who is to have what a leaving one has
	By        string    `json:"by,omitempty"`        // who wanted it so
	Why       string    `json:"why,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Answers   bool      `json:"answers"`
	Error     string    `json:"error,omitempty"` // why it does not
	Replicas  int       `json:"replicas"`        // that it is to have
	Running   int       `json:"running"`         // of them, with a vote
	Leads     int       `json:"leads"`
	MapVoter  bool      `json:"mapVoter"` // it votes on the cluster's map
	Bytes     uint64    `json:"bytes"`    // about what its replicas have on its disk
	HeldItems int       `json:"heldItems"`
	DiskLow   bool      `json:"diskLow"`
}

// NodeRequest says why somebody wants something of a node.
type NodeRequest struct {
	Why string `json:"why,omitempty"`
}

// ReplaceRequest names the node that comes into another's place.
type ReplaceRequest struct {
	With string `json:"with"`
	Why  string `json:"why,omitempty"`
	// Lost says that the node does not come back: it is taken out without being asked what it still holds.
	Lost bool `json:"lost,omitempty"`
}

// ReplicaMoveRequest moves a replica.
type ReplicaMoveRequest struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// PlacementEntry says how replicas are placed, and what is under way.
type PlacementEntry struct {
	Paused              bool          `json:"paused"`              // nothing is moved or replaced by itself
	ReplaceAfterSeconds uint64        `json:"replaceAfterSeconds"` // a node's silence after which its replicas are replaced; 0: never
	BytesPerSecond      uint64        `json:"bytesPerSecond"`      // that each node sends for moves, at most; 0: as it is configured
	Replicas            uint32        `json:"replicas"`            // of each shard
	By                  string        `json:"by,omitempty"`        // who changed it last
	Why                 string        `json:"why,omitempty"`
	Since               time.Time     `json:"since,omitzero"`
	Moves               []ReplicaMove `json:"moves"` // that are under way
}

// ReplicaMove is a move that is under way.
type ReplicaMove struct {
	Shard fsm.ShardID `json:"shard"`
	From  string      `json:"from"`
	To    string      `json:"to"`
}

// PlacementChange is what is to change; a field that is nil stays as it is.
type PlacementChange struct {
	Paused              *bool   `json:"paused,omitempty"`
	ReplaceAfterSeconds *uint64 `json:"replaceAfterSeconds,omitempty"`
	BytesPerSecond      *uint64 `json:"bytesPerSecond,omitempty"`
	Replicas            *uint32 `json:"replicas,omitempty"`
	Why                 string  `json:"why,omitempty"`
}

type nodeList struct {
	Nodes []NodeEntry `json:"nodes"`
}

func (s *AdminServer) listNodes(c echo.Context) error {
	nodes, err := s.admin.Nodes(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, nodeList{append([]NodeEntry{}, nodes...)})
}

// assignNode is POST /v1/nodes/{node}/drain and recommission. It may be repeated.
func (s *AdminServer) assignNode(duty meta.DutyKind) echo.HandlerFunc {
	return func(c echo.Context) error {
		var r NodeRequest
		if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
			return err
		}
		node, err := s.admin.AssignNode(c.Request().Context(), c.Param("node"), duty, r)
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, node)
	}
}

// began answers with a job that was begun, or goes on.
func began(c echo.Context, job JobEntry, err error) error {
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, job)
}

func (s *AdminServer) decommission(c echo.Context) error {
	var r NodeRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	job, err := s.admin.Decommission(c.Request().Context(), c.Param("node"), r)
	return began(c, job, err)
}

func (s *AdminServer) replaceNode(c echo.Context) error {
	var r ReplaceRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.With == "" {
		return missing("with")
	}
	job, err := s.admin.ReplaceNode(c.Request().Context(), c.Param("node"), r)
	return began(c, job, err)
}

func (s *AdminServer) forgetNode(c echo.Context) error {
	if err := s.admin.ForgetNode(c.Request().Context(), c.Param("node")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func (s *AdminServer) moveReplica(c echo.Context) error {
	shard, err := shardParam(c)
	if err != nil {
		return err
	}
	var r ReplicaMoveRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.From == "" {
		return missing("from")
	}
	if r.To == "" {
		return missing("to")
	}
	job, err := s.admin.MoveReplica(c.Request().Context(), shard, r)
	return began(c, job, err)
}

func (s *AdminServer) showPlacement(c echo.Context) error {
	placement, err := s.admin.Placement(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, placement)
}

// changePlacement is PATCH /v1/cluster/placement. It may be repeated.
func (s *AdminServer) changePlacement(c echo.Context) error {
	var change PlacementChange
	if err := readJSON(c, adminBodyBytesMax, &change); err != nil {
		return err
	}
	placement, err := s.admin.ChangePlacement(c.Request().Context(), change)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, placement)
}
