package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"parley/fsm/meta"
)

// StartBackup begins the job that makes a backup. While one goes on into the same place that is the job, whatever the other is to be called:
// who asks again, since an answer was lost, wants no second one beside it. When it is done, another is begun, unless that was asked for since a certain time. The errors are those of
// StartJob.
func (n *Node) StartBackup(ctx context.Context, spec BackupSpec, since time.Time, by string) (meta.Job, error) {
	if job, found, err := n.backupInto(spec, since); found || err != nil {
		return job, err
	}
	job, err := n.StartJob(ctx, JobRequest{Kind: JobBackup, Area: spec.area(), Spec: spec.Encode(), Key: spec.ID, By: by})
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		if job, found, err := n.backupInto(spec, since); found || err != nil {
			return job, err // it was begun through another node meanwhile
		}
	}
	return job, err
}

// backupInto is a backup that goes on into a place, or was made there since a certain time.
func (n *Node) backupInto(spec BackupSpec, since time.Time) (job meta.Job, found bool, err error) {
	jobs, err := n.Jobs()
	for _, j := range slices.Backward(jobs) {
		made := j.State == meta.JobDone && int64(j.CreatedMillis) >= since.UnixMilli()
		if j.Kind == JobBackup && j.Area == spec.area() && (j.State.Live() || made) {
			return j, true, nil
		}
	}
	return meta.Job{}, false, err
}

// area is the backup's place, in the form of an area of jobs: so the log decides that no two go on into it.
func (s BackupSpec) area() string {
	sum := sha256.Sum256([]byte(s.Node + " " + strings.TrimRight(s.Location, "/")))
	return "backup-" + hex.EncodeToString(sum[:8])
}

// backupJob drives a backup at the node that can open its store. The state of it is in the store: whichever node leads the meta group asks
// how far it is, and a node that has died in the middle begins at what is there.
type backupJob struct{ node *Node }

func (b backupJob) step(ctx context.Context, job meta.Job) (jobProgress, error) {
	spec, err := DecodeBackupSpec(job.Spec)
	if err != nil {
		return jobProgress{}, fmt.Errorf("%w: %w", errJobFailed, err)
	}
	b.node.reached("backup.ask")
	p, err := b.node.askArchive(ctx, spec.Node, archiveBackup, spec)
	return progressOf(p), finalOf(err)
}

// cancel implements jobRunner. What is in the store stays, as a backup that was not finished.
func (b backupJob) cancel(ctx context.Context, job meta.Job) (done bool, err error) {
	spec, err := DecodeBackupSpec(job.Spec)
	if err != nil {
		return true, nil
	}
	_, err = b.node.askArchive(ctx, spec.Node, archiveStop, spec)
	return err == nil, err
}

// restoreJob drives the slots of a backup into the shards of the cluster that was made of it.
type restoreJob struct{ node *Node }

func (r restoreJob) step(ctx context.Context, job meta.Job) (jobProgress, error) {
	current := r.node.Map()
	restore, made := current.Restore()
	if !made || restore.Done {
		return jobProgress{done: true}, nil
	}
	if waits := waitsForShards(current); waits != "" {
		return jobProgress{text: waits, units: job.UnitsDone, unitsTotal: job.UnitsTotal, bytes: job.BytesDone, bytesTotal: job.BytesTotal}, nil
	}
	r.node.reached("restore.ask")
	p, err := r.node.askArchive(ctx, restore.Node, archiveRestore, BackupSpec{ID: restore.Backup, Location: restore.Location, Node: restore.Node})
	if err != nil || !p.Done {
		return progressOf(p), finalOf(err)
	}
	r.node.reached("restore.end")
	return progressOf(p), r.node.change(ctx, meta.EndRestore{Backup: restore.Backup})
}

// waitsForShards says what slots cannot come into yet; empty where they can.
func waitsForShards(current *meta.Map) string {
	if len(current.Shards()) == 0 {
		return fmt.Sprintf("waiting for %d nodes, on which the shards are placed", current.ReplicationFactor())
	}
	for _, s := range current.Shards() {
		if s.State == meta.ShardCreating {
			return fmt.Sprintf("waiting for shard %d, which is being created", s.ID)
		}
	}
	return ""
}

// cancel implements jobRunner. The cluster stays as it is, with the slots that have come, and goes on by another job: a cluster that is half
// of another one is of use to nobody. Who wants no more of it throws its directories away.
func (r restoreJob) cancel(ctx context.Context, job meta.Job) (done bool, err error) {
	restore, _ := r.node.Map().Restore()
	_, err = r.node.askArchive(ctx, restore.Node, archiveStop, BackupSpec{ID: restore.Backup})
	return err == nil, err
}

// ensureRestoreJob begins the job by which a restored cluster's slots come, where none is under way.
func (n *Node) ensureRestoreJob(ctx context.Context, current *meta.Map) error {
	if !current.Restoring() {
		return nil
	}
	jobs, err := n.Jobs()
	if err != nil {
		return err
	}
	ended := 0
	for _, j := range jobs {
		if j.Kind == JobRestore && !j.State.Ended() {
			return nil
		} else if j.Kind == JobRestore {
			ended++
		}
	}
	restore, _ := current.Restore()
	_, err = n.StartJob(ctx, JobRequest{
		Kind: JobRestore, Spec: BackupSpec{ID: restore.Backup, Location: restore.Location, Node: restore.Node}.Encode(),
		Key: fmt.Sprintf("restore %d.%d", restore.Move, ended), By: "the cluster",
	})
	return err
}

func progressOf(p ArchiveProgress) jobProgress {
	return jobProgress{done: p.Done, text: p.Text, units: p.Units, unitsTotal: p.UnitsTotal, bytes: p.Bytes, bytesTotal: p.BytesTotal}
}

// finalOf ends a job where the archive has said that it can never be done.
func finalOf(err error) error {
	if errors.Is(err, ErrArchive) {
		return fmt.Errorf("%w: %w", errJobFailed, err)
	}
	return err
}
