package adminclient

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"parley/fsm"
	"parley/httpapi"
)

// checkMax bounds a check, which the node ends earlier.
const checkMax = 5 * time.Minute

// Check compares all replicas of a shard, or of the meta group where it is 0.
func (c *Client) Check(ctx context.Context, shard fsm.ShardID) (check httpapi.ShardCheck, err error) {
	return check, c.doWithin(ctx, checkMax, http.MethodPost, fmt.Sprintf("/v1/shards/%d/check", shard), nil, &check)
}

// Repair has a replica rebuilt that differs from the majority's. It does not wait for its end.
func (c *Client) Repair(ctx context.Context, shard fsm.ShardID, node string) error {
	in := map[string]string{"node": node}
	return c.doWithin(ctx, checkMax, http.MethodPost, fmt.Sprintf("/v1/shards/%d/repair", shard), in, nil)
}

// Doctor has every node look at itself.
func (c *Client) Doctor(ctx context.Context) (diagnosis httpapi.Diagnosis, err error) {
	return diagnosis, c.do(ctx, http.MethodGet, "/v1/doctor", nil, &diagnosis)
}

// Upgrade says which programs and formats the nodes have.
func (c *Client) Upgrade(ctx context.Context) (status httpapi.UpgradeStatus, err error) {
	return status, c.do(ctx, http.MethodGet, "/v1/upgrade", nil, &status)
}

// FinalizeUpgrade raises the cluster's format to the newest that every node knows.
func (c *Client) FinalizeUpgrade(ctx context.Context) (status httpapi.UpgradeStatus, err error) {
	return status, c.do(ctx, http.MethodPost, "/v1/upgrade/finalize", nil, &status)
}

// Fetch answers what the listener serves at a path, as it is.
func (c *Client) Fetch(ctx context.Context, path string) ([]byte, error) {
	return c.fetch(ctx, requestMax, http.MethodGet, path, nil)
}
