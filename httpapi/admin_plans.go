package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mls"
)

// PlanAdmin is what the admin listener asks of plans.
type PlanAdmin interface {
	// MakePlan works out how what is wanted is reached, and keeps the plan; nothing moves. The same again, while nothing has changed, is
	// the same plan. A plan without steps is not kept.
	MakePlan(ctx context.Context, r PlanRequest) (PlanEntry, error)
	// Plan is one that is kept; the error is a *NotFoundError where there is none, or none any more.
	Plan(ctx context.Context, id uint64) (PlanEntry, error)
	// ApplyPlan begins one, if the cluster still is as it was made for: else it is a *RefusedError. One that has begun is returned.
	ApplyPlan(ctx context.Context, id uint64) (JobEntry, error)
}

// PlanRequest says how a cluster is to be. Nothing at all wants it as it is, in balance.
type PlanRequest struct {
	Kind     string   `json:"kind,omitempty"`     // rebalance or resize; empty: rebalance
	Nodes    int      `json:"nodes,omitempty"`    // that serve in the end; 0: those that serve and are not named in leave
	Leave    []string `json:"leave,omitempty"`    // nodes that are to have nothing in the end
	Shards   int      `json:"shards,omitempty"`   // 0: as many as there are
	Replicas int      `json:"replicas,omitempty"` // of each shard; 0: as it is
}

// PlanEntry is a plan.
type PlanEntry struct {
	ID         uint64     `json:"id"` // 0: there is nothing to be done
	Kind       string     `json:"kind"`
	State      string     `json:"state"`      // of the job that it is
	MapVersion uint64     `json:"mapVersion"` // for which it was made
	By         string     `json:"by"`
	Created    time.Time  `json:"created,omitzero"`
	Steps      []PlanStep `json:"steps"`
	Bytes      uint64     `json:"bytes"`   // that go over the network, about
	Seconds    uint64     `json:"seconds"` // that this takes at the rate that is allowed, about
	// Survives says whether one more node may fail at any time of it without any shard being left without a majority; Weak are the shards of
	// which that is not so.
	Survives bool          `json:"survives"`
	Weak     []fsm.ShardID `json:"weak"`
	Before   PlanBalance   `json:"before"`
	After    PlanBalance   `json:"after"`
}

// PlanStep is one step of a plan.
type PlanStep struct {
	Kind  string `json:"kind"`
	Text  string `json:"text"`
	Bytes uint64 `json:"bytes"`
	Done  bool   `json:"done"`
}

// PlanBalance says how evenly a cluster is loaded. A spread is how much more the one with most has than the average, in percent.
type PlanBalance struct {
	Nodes              []PlanNode `json:"nodes"`
	Shards             int        `json:"shards"`
	SlotsLow           int        `json:"slotsLow"` // of the shard with the fewest
	SlotsHigh          int        `json:"slotsHigh"`
	ShardBytesSpread   int        `json:"shardBytesSpread"`
	NodeBytesSpread    int        `json:"nodeBytesSpread"`
	NodeReplicasSpread int        `json:"nodeReplicasSpread"`
	NodeLeadsSpread    int        `json:"nodeLeadsSpread"`
	CrowdedShards      int        `json:"crowdedShards"` // with replicas that share a zone without need
}

// PlanNode is what one node has.
type PlanNode struct {
	Node     string `json:"node"`
	Zone     string `json:"zone,omitempty"`
	Replicas int    `json:"replicas"`
	Leads    int    `json:"leads"`
	Bytes    uint64 `json:"bytes"`
	Serves   bool   `json:"serves"`
}

// makePlan is POST /v1/plans.
func (s *AdminServer) makePlan(c echo.Context) error {
	var r PlanRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.Nodes < 0 || r.Shards < 0 || r.Replicas < 0 {
		return &mls.MalformedError{Field: "nodes, shards, replicas", Reason: "a number is negative"}
	}
	if r.Kind != "" && r.Kind != "rebalance" && r.Kind != "resize" {
		return &mls.MalformedError{Field: "kind", Reason: "it is neither rebalance nor resize"}
	}
	plan, err := s.admin.MakePlan(c.Request().Context(), r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, plan)
}

func (s *AdminServer) showPlan(c echo.Context) error {
	id, err := jobParam(c)
	if err != nil {
		return err
	}
	plan, err := s.admin.Plan(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, plan)
}

// applyPlan is POST /v1/plans/{id}/apply. It may be repeated.
func (s *AdminServer) applyPlan(c echo.Context) error {
	id, err := jobParam(c)
	if err != nil {
		return err
	}
	job, err := s.admin.ApplyPlan(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, job)
}
