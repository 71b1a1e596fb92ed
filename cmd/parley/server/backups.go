package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"parley/cluster"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mls"
	"parley/ops/backup"
)

// CreateBackup begins the job that backs the cluster up. A directory is one of this node.
func (o *operations) CreateBackup(ctx context.Context, r httpapi.BackupRequest) (httpapi.JobEntry, error) {
	local, err := backup.Local(r.Location)
	if err != nil {
		return httpapi.JobEntry{}, &mls.MalformedError{Field: "location", Reason: err.Error()}
	}
	if r.UnlessWithinSeconds > secondsPerDay*366 {
		return httpapi.JobEntry{}, &mls.MalformedError{Field: "unlessWithinSeconds", Reason: "it is more than a year"}
	}
	spec := cluster.BackupSpec{ID: backupID(time.Now()), Location: r.Location, BytesPerSecond: r.BytesPerSecond}
	if local {
		spec.Node = o.node.ID()
		if err := writable(ctx, r.Location); err != nil {
			return httpapi.JobEntry{}, &httpapi.RefusedError{
				Reason: "The directory cannot be written to: " + err.Error(), Blocker: "the directory at node " + spec.Node + ", or the rights of the user that runs it",
				See: "ls -ld, at that node", Clear: "another directory; where systemd runs the node, also ReadWritePaths in 'systemctl edit parley'",
			}
		}
	}
	job, err := o.node.StartBackup(ctx, spec, time.Now().Add(-time.Duration(r.UnlessWithinSeconds)*time.Second), operatorBy(ctx))
	if err != nil {
		return httpapi.JobEntry{}, refusal(err)
	}
	return shownJob(job), nil
}

// writable puts something into a store and takes it away again, since a job that cannot would wait for ever.
func writable(ctx context.Context, location string) error {
	store, err := backup.Open(location)
	if err != nil {
		return err
	}
	probe := "probe-" + strings.ToLower(rand.Text()[:6])
	if err := store.Put(ctx, probe, nil); err != nil {
		return err
	}
	return store.Remove(ctx, probe)
}

// backupID names a backup by when it was asked for, so that names are in the order of time, and by chance, so that no two are alike.
func backupID(at time.Time) string {
	return at.UTC().Format("20060102T150405Z") + "-" + strings.ToLower(rand.Text()[:6])
}

func (l *lobby) CreateBackup(ctx context.Context, r httpapi.BackupRequest) (httpapi.JobEntry, error) {
	return ask(l, func(o *operations) (httpapi.JobEntry, error) { return o.CreateBackup(ctx, r) })
}

// RestoreCluster checks a backup, and makes a cluster of it once it is known to be whole.
func (l *lobby) RestoreCluster(ctx context.Context, r httpapi.RestoreRequest) (httpapi.RestoreStatus, error) {
	if r.Shards < 0 || r.Replicas < 0 {
		return httpapi.RestoreStatus{}, &mls.MalformedError{Field: "shards, replicas", Reason: "a number is negative"}
	}
	if out := l.server.outcast(); out != nil {
		return httpapi.RestoreStatus{}, out.refusal()
	}
	node := cmp.Or(r.Node, firstNode)
	if l.server.isOpen() {
		node = l.server.node.ID()
		m := l.server.node.Map()
		if made, was := m.Restore(); was && !m.Restoring() && isRestored(ctx, r, made) {
			return httpapi.RestoreStatus{
				State: httpapi.RestoreBegun, Backup: made.Backup, ClusterID: m.ClusterID(), Generation: uint64(m.Generation()), Node: node,
			}, nil
		}
		if m.Initialised() && !m.Restoring() {
			return httpapi.RestoreStatus{}, &httpapi.RefusedError{
				Reason: "This node belongs to cluster " + m.ClusterID() + "; a backup is restored into a new one.", Blocker: "the node's data directory",
				See: "parley cluster status", Clear: "a node with an empty data directory",
			}
		}
	}
	options, p, err := l.server.checker.Check(ctx, r.Location, r.Backup, node)
	if errors.Is(err, cluster.ErrArchive) {
		return httpapi.RestoreStatus{}, &httpapi.RefusedError{
			Reason: err.Error(), Blocker: "the backup, or where it lies", See: "parley backup verify " + r.Location, Clear: "another backup: parley backup list " + r.Location,
		}
	}
	if err != nil {
		return httpapi.RestoreStatus{}, err
	}
	if options == nil {
		return httpapi.RestoreStatus{
			State: httpapi.RestoreChecking, Backup: r.Backup, Text: p.Text,
			UnitsDone: p.Units, UnitsTotal: p.UnitsTotal, BytesDone: p.Bytes, BytesTotal: p.BytesTotal,
		}, nil
	}
	if err := l.found(ctx, r, node, options); err != nil {
		return httpapi.RestoreStatus{}, refusal(err)
	}
	return httpapi.RestoreStatus{
		State: httpapi.RestoreBegun, Backup: options.Backup, ClusterID: options.Cluster, Generation: uint64(options.Generation) + 1, Node: l.server.node.ID(),
	}, nil
}

// isRestored reports whether what is asked for is what a cluster was made of, so that it has been done.
func isRestored(ctx context.Context, r httpapi.RestoreRequest, made meta.Restore) bool {
	if r.Location != made.Location {
		return false
	}
	if r.Backup != "" {
		return r.Backup == made.Backup
	}
	store, err := backup.Open(r.Location)
	if err != nil {
		return false
	}
	newest, err := backup.Newest(ctx, store)
	return err == nil && newest == made.Backup
}

// found makes the cluster. The seal key is tried before anything is: a CA that was sealed under another would be lost.
func (l *lobby) found(ctx context.Context, r httpapi.RestoreRequest, node string, options *cluster.RestoreOptions) error {
	sealKey, err := l.server.sealKey()
	if err != nil {
		return err
	}
	old, err := l.server.oldSealKeys()
	if err != nil {
		return err
	}
	if err := options.CheckSealKeys(append([][32]byte{sealKey}, old...)); err != nil {
		return err
	}
	o, err := l.server.admitted(func() (cluster.Admission, error) {
		return cluster.Found(l.server.admissionFolder(), node, options.Cluster, sealKey)
	})
	if err != nil {
		return err
	}
	return o.node.Init(ctx, cluster.InitOptions{Shards: r.Shards, Replication: r.Replicas, Restore: options})
}
