package httpapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/mls"
)

// SlotAdmin is what the admin listener asks of shards and the slots that they have. Each begins a job, or returns the one that was asked for in
// the same words and goes on.
type SlotAdmin interface {
	// SplitShard opens a shard and moves half of another's slots to it.
	SplitShard(ctx context.Context, shard fsm.ShardID, r ShardSplit) (JobEntry, error)
	// MergeShard moves all slots of a shard to others and ends it.
	MergeShard(ctx context.Context, shard fsm.ShardID, r ShardMerge) (JobEntry, error)
	// MoveSlots moves slots to a shard.
	MoveSlots(ctx context.Context, r SlotMove) (JobEntry, error)
}

// ShardSplit is how a shard is to be split.
type ShardSplit struct {
	NewShard fsm.ShardID `json:"newShard,omitempty"` // the number of the new one; 0: the next that no shard has had
	Replicas []string    `json:"replicas,omitempty"` // the nodes of the new one, who is to lead it first; none: those of the shard
}

// ShardMerge is where the slots of a shard are to go.
type ShardMerge struct {
	Into []fsm.ShardID `json:"into"`
}

// SlotMove is where slots are to go.
type SlotMove struct {
	Slots []fsm.SlotID `json:"slots"`
	To    fsm.ShardID  `json:"to"`
}

// splitShard is POST /v1/shards/{shard}/split.
func (s *AdminServer) splitShard(c echo.Context) error {
	shard, err := shardParam(c)
	if err != nil {
		return err
	}
	var r ShardSplit
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	return begun(c, func(ctx context.Context) (JobEntry, error) { return s.admin.SplitShard(ctx, shard, r) })
}

// mergeShard is POST /v1/shards/{shard}/merge.
func (s *AdminServer) mergeShard(c echo.Context) error {
	shard, err := shardParam(c)
	if err != nil {
		return err
	}
	var r ShardMerge
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	return begun(c, func(ctx context.Context) (JobEntry, error) { return s.admin.MergeShard(ctx, shard, r) })
}

// moveSlots is POST /v1/slots/move.
func (s *AdminServer) moveSlots(c echo.Context) error {
	var r SlotMove
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	switch {
	case len(r.Slots) == 0:
		return &mls.MalformedError{Field: "slots", Reason: "names none"}
	case r.To == 0:
		return &mls.MalformedError{Field: "to", Reason: "names no shard"}
	}
	return begun(c, func(ctx context.Context) (JobEntry, error) { return s.admin.MoveSlots(ctx, r) })
}

// begun answers with a job that was asked for.
func begun(c echo.Context, ask func(ctx context.Context) (JobEntry, error)) error {
	job, err := ask(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, job)
}
