package httpapi

import (
	"cmp"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// clusterChangeMax bounds init and join, which wait for elections and for certificates.
const clusterChangeMax = time.Minute

func (s *AdminServer) clusterStatus(c echo.Context) error {
	status, err := s.admin.Status(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, status)
}

func (s *AdminServer) clusterInit(c echo.Context) error {
	var r InitRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if len(r.Domains) == 0 {
		return missing("domains")
	}
	identity, err := s.admin.Init(c.Request().Context(), r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, identity)
}

func (s *AdminServer) nodeJoin(c echo.Context) error {
	var r JoinRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if len(r.Seeds) == 0 && r.Token == "" {
		return missing("seeds")
	}
	identity, err := s.admin.Join(c.Request().Context(), r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, identity)
}

// shardParam reads the shard of a path; 0, the meta group, included.
func shardParam(c echo.Context) (fsm.ShardID, error) {
	n, err := strconv.ParseUint(c.Param("shard"), 10, 32)
	if err != nil {
		return 0, &mls.MalformedError{Field: "shard", Reason: "it is no shard's number"}
	}
	return fsm.ShardID(n), nil
}

func (s *AdminServer) shardDigests(c echo.Context) error {
	shard, err := shardParam(c)
	if err != nil {
		return err
	}
	digests, err := s.admin.Digests(c.Request().Context(), shard)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, digests)
}

// transferRequest is the body of POST /v1/shards/{shard}/transfer-leadership.
type transferRequest struct {
	Node string `json:"node"` // empty: whichever replica is furthest
}

func (s *AdminServer) transferLeadership(c echo.Context) error {
	shard, err := shardParam(c)
	if err != nil {
		return err
	}
	var r transferRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	meta.OperatorOf(c.Request().Context()).Says(fmt.Sprintf("the lead of shard %d to %s", shard, cmp.Or(r.Node, "whichever replica is furthest")))
	if err := s.admin.TransferLeadership(c.Request().Context(), shard, r.Node); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
