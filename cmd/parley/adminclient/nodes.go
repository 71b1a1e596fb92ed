package adminclient

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"parley/fsm"
	"parley/httpapi"
)

// Nodes are those of the cluster.
func (c *Client) Nodes(ctx context.Context) ([]httpapi.NodeEntry, error) {
	var list struct {
		Nodes []httpapi.NodeEntry `json:"nodes"`
	}
	err := c.do(ctx, http.MethodGet, "/v1/nodes", nil, &list)
	return list.Nodes, err
}

func nodePath(node, verb string) string { return "/v1/nodes/" + url.PathEscape(node) + "/" + verb }

// DrainNode has a node lead nothing and take nothing.
func (c *Client) DrainNode(ctx context.Context, node string, r httpapi.NodeRequest) (entry httpapi.NodeEntry, err error) {
	return entry, c.do(ctx, http.MethodPost, nodePath(node, "drain"), r, &entry)
}

// RecommissionNode has a node serve again.
func (c *Client) RecommissionNode(ctx context.Context, node string, r httpapi.NodeRequest) (entry httpapi.NodeEntry, err error) {
	return entry, c.do(ctx, http.MethodPost, nodePath(node, "recommission"), r, &entry)
}

func (c *Client) Decommission(ctx context.Context, node string, r httpapi.NodeRequest) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, nodePath(node, "decommission"), r, &job)
}

func (c *Client) ReplaceNode(ctx context.Context, node string, r httpapi.ReplaceRequest) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, nodePath(node, "replace"), r, &job)
}

func (c *Client) ForgetNode(ctx context.Context, node string) error {
	return c.do(ctx, http.MethodPost, nodePath(node, "forget"), nil, nil)
}

// MoveReplica begins to move a replica of a shard.
func (c *Client) MoveReplica(ctx context.Context, shard fsm.ShardID, r httpapi.ReplicaMoveRequest) (job httpapi.JobEntry, err error) {
	return job, c.do(ctx, http.MethodPost, fmt.Sprintf("/v1/shards/%d/move", shard), r, &job)
}

// Placement is how replicas are placed.
func (c *Client) Placement(ctx context.Context) (entry httpapi.PlacementEntry, err error) {
	return entry, c.do(ctx, http.MethodGet, "/v1/cluster/placement", nil, &entry)
}

func (c *Client) ChangePlacement(ctx context.Context, change httpapi.PlacementChange) (entry httpapi.PlacementEntry, err error) {
	return entry, c.do(ctx, http.MethodPatch, "/v1/cluster/placement", change, &entry)
}
