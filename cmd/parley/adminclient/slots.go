package adminclient

import (
	"context"
	"fmt"
	"net/http"

	"parley/fsm"
	"parley/httpapi"
)

// SplitShard begins a job that opens a shard and moves half of another's slots to it.
func (c *Client) SplitShard(ctx context.Context, shard fsm.ShardID, r httpapi.ShardSplit) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/shards/%d/split", shard), r, &job)
}

// MergeShard begins a job that moves all slots of a shard to others and ends it.
func (c *Client) MergeShard(ctx context.Context, shard fsm.ShardID, r httpapi.ShardMerge) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/shards/%d/merge", shard), r, &job)
}

// MoveSlots begins a job that moves slots to a shard.
func (c *Client) MoveSlots(ctx context.Context, r httpapi.SlotMove) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, "/v1/slots/move", r, &job)
}
