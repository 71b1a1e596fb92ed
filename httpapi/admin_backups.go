package httpapi

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"parley/fsm/meta"
)

// BackupAdmin is what the admin listener asks about backups.
type BackupAdmin interface {
	// CreateBackup begins a job that backs the cluster up.
	CreateBackup(ctx context.Context, r BackupRequest) (JobEntry, error)
	// RestoreCluster makes a cluster of a backup, with this node as its first: it is to be asked again while it checks the backup.
	RestoreCluster(ctx context.Context, r RestoreRequest) (RestoreStatus, error)
}

// BackupRequest wants a backup of the cluster.
type BackupRequest struct {
	Location       string `json:"location"`                 // file:///DIRECTORY, on this node, or s3://BUCKET/PREFIX
	BytesPerSecond uint64 `json:"bytesPerSecond,omitempty"` // of what is read of the cluster; 0 means as fast as it goes
	// UnlessWithinSeconds: where a backup into the same place was asked for within this time, and goes on or is done, that is the one. 0: only
	// where it goes on.
	UnlessWithinSeconds uint64 `json:"unlessWithinSeconds,omitempty"`
}

func (s *AdminServer) createBackup(c echo.Context) error {
	var r BackupRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.Location == "" {
		return missing("location")
	}
	meta.OperatorOf(c.Request().Context()).Says("to " + r.Location)
	job, err := s.admin.CreateBackup(c.Request().Context(), r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, job)
}

// RestoreRequest wants a cluster out of a backup of a lost one. The node must belong to none.
type RestoreRequest struct {
	Location string `json:"location"`         // file:///DIRECTORY, on this node, or s3://BUCKET/PREFIX
	Backup   string `json:"backup,omitempty"` // its ID; empty means the newest that was finished
	Node     string `json:"node,omitempty"`   // the ID of this node, where it was not given credentials; empty means n1
	Shards   int    `json:"shards,omitempty"`
	Replicas int    `json:"replicas,omitempty"`
}

// The states of a restore, as it begins.
const (
	RestoreChecking = "checking" // the backup is being read; nothing was made of it yet
	RestoreBegun    = "begun"    // the cluster is there; its rooms and users come by a job once there are nodes for its shards
)

// RestoreStatus is how far a restore has begun.
type RestoreStatus struct {
	State      string `json:"state"`
	Backup     string `json:"backup,omitempty"`
	ClusterID  string `json:"clusterId,omitempty"`
	Generation uint64 `json:"generation,omitempty"` // that the cluster is in from now on
	Node       string `json:"node,omitempty"`
	Text       string `json:"text"`
	UnitsDone  uint64 `json:"unitsDone"`
	UnitsTotal uint64 `json:"unitsTotal"`
	BytesDone  uint64 `json:"bytesDone"`
	BytesTotal uint64 `json:"bytesTotal"`
}

func (s *AdminServer) restoreCluster(c echo.Context) error {
	var r RestoreRequest
	if err := readJSON(c, adminBodyBytesMax, &r); err != nil {
		return err
	}
	if r.Location == "" {
		return missing("location")
	}
	status, err := s.admin.RestoreCluster(c.Request().Context(), r)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, status)
}
