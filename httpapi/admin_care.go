package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
)

// checkMax bounds a check or a repair, which reads all that a shard has. It is less than what an answer of this listener may take.
const checkMax = 4 * time.Minute

// examMax bounds an examination of all nodes.
const examMax = 30 * time.Second

// Care is what an operator asks of a node to see that the cluster is well. The errors are those of Admin.
type Care interface {
	// Check compares all replicas of a shard, or of the meta group where it is 0, at one index, while it is written to.
	Check(ctx context.Context, shard fsm.ShardID) (ShardCheck, error)
	// Repair has a replica rebuilt that differs from the majority's; it is refused for any other. It does not wait for its end.
	Repair(ctx context.Context, shard fsm.ShardID, node string) error
	// Examine has every node look at itself and its surroundings, and says what is wrong and what to do about it.
	Examine(ctx context.Context) (Diagnosis, error)
	// Upgrade says which program and which formats each node runs, and whether the cluster's format can be raised.
	Upgrade(ctx context.Context) (UpgradeStatus, error)
	// Finalize raises the cluster's format to the newest that every node knows. It is refused while a node is away or does not say.
	Finalize(ctx context.Context) (UpgradeStatus, error)
	// Configuration is the node's, without secrets, by key.
	Configuration(ctx context.Context) (map[string]any, error)
	// RecentLogs are the last lines of the node's log, the oldest first.
	RecentLogs(ctx context.Context) ([]byte, error)
}

// ShardCheck is what the replicas of a shard hold at one index.
type ShardCheck struct {
	Shard fsm.ShardID `json:"shard"` // 0 is the meta group
	Index uint64      `json:"index"`
	// Equal: all replicas were compared, and hold the same.
	Equal    bool           `json:"equal"`
	Replicas []ReplicaCheck `json:"replicas"`
}

// ReplicaCheck is one of them.
type ReplicaCheck struct {
	Node    string `json:"node"`
	Digest  string `json:"digest,omitempty"` // hexadecimal
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"`
	Error   string `json:"error,omitempty"` // why it could not be compared
	// Differs: it is not what a majority of the replicas holds. Where there is no such majority, none differs and they are not equal.
	Differs bool   `json:"differs,omitempty"`
	First   string `json:"first,omitempty"` // where it differs first: a slot, or the shard's own records
}

// Diagnosis is what an examination found, the gravest first.
type Diagnosis struct {
	Findings []Finding `json:"findings"`
	Nodes    int       `json:"nodes"` // that were looked at
}

// Finding is one thing that an operator should know of.
type Finding struct {
	Level   string `json:"level"`   // problem, or advice
	Subject string `json:"subject"` // a node, a shard, a peer, the cluster
	Text    string `json:"text"`
	ToDo    string `json:"toDo"`
}

// UpgradeStatus is where a cluster stands between two versions of the program.
type UpgradeStatus struct {
	Format   uint32        `json:"format"`   // the cluster's
	Possible uint32        `json:"possible"` // the newest that every node knows; 0 where not all say
	Nodes    []NodeVersion `json:"nodes"`
	Blockers []string      `json:"blockers"` // why the format cannot be raised now
}

// NodeVersion is a node's program.
type NodeVersion struct {
	Node    string `json:"node"`
	Version string `json:"version,omitempty"`
	Knows   uint32 `json:"knows"` // the newest format; 0 where it does not say
	Error   string `json:"error,omitempty"`
}

func (s *AdminServer) careRoutes(e *echo.Echo, short echo.MiddlewareFunc) {
	e.POST("/v1/shards/:shard/check", s.checkShard, deadline(checkMax))
	e.POST("/v1/shards/:shard/repair", s.repairShard, deadline(checkMax))
	e.GET("/v1/doctor", s.doctor, deadline(examMax))
	e.GET("/v1/upgrade", s.upgrade, short)
	e.POST("/v1/upgrade/finalize", s.finalize, short)
	e.GET("/v1/node/config", s.nodeConfig, short)
	e.GET("/v1/node/logs", s.nodeLogs, short)
}

func (s *AdminServer) checkShard(c echo.Context) error {
	shard, err := shardParam(c)
	if err != nil {
		return err
	}
	check, err := s.admin.Check(c.Request().Context(), shard)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, check)
}

// repairRequest is the body of POST /v1/shards/{shard}/repair.
type repairRequest struct {
	Node string `json:"node"`
}

// repairShard answers 202: the replica is rebuilt by itself.
func (s *AdminServer) repairShard(c echo.Context) error {
	shard, err := shardParam(c)
	if err != nil {
		return err
	}
	var r repairRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.Node == "" {
		return missing("node")
	}
	if err := s.admin.Repair(c.Request().Context(), shard, r.Node); err != nil {
		return err
	}
	return c.NoContent(http.StatusAccepted)
}

func (s *AdminServer) doctor(c echo.Context) error {
	diagnosis, err := s.admin.Examine(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, diagnosis)
}

func (s *AdminServer) upgrade(c echo.Context) error {
	status, err := s.admin.Upgrade(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, status)
}

func (s *AdminServer) finalize(c echo.Context) error {
	status, err := s.admin.Finalize(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, status)
}

func (s *AdminServer) nodeConfig(c echo.Context) error {
	config, err := s.admin.Configuration(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, config)
}

func (s *AdminServer) nodeLogs(c echo.Context) error {
	logs, err := s.admin.RecentLogs(c.Request().Context())
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, echo.MIMETextPlainCharsetUTF8, logs)
}
