package cluster

import (
	"sync"
	"testing"
	"time"

	"parley/fsm/meta"
)

// askAgain asks for a job at every node, and wants the one that there is.
func (c *testCluster) askAgain(what string, wanted meta.Job, ask func(n *Node) (meta.Job, error)) {
	c.t.Helper()
	for id, n := range c.nodes {
		if job, err := ask(n); err != nil || job.ID != wanted.ID {
			c.t.Errorf("%s, asked for at %s again: job %d, %v; it is job %d", what, id, job.ID, err, wanted.ID)
		}
	}
}

// Whoever did not hear what became of his request asks again: while it goes on, when the map has changed by it already, and when it is done.
// It is the same job each time.
func TestWhatIsAskedForAgainIsTheSameJob(t *testing.T) {
	t.Parallel()
	h := newHalts("replica.promote", "node.dismiss")
	c := fourNodes(t, h.tune)
	ctx := c.context()

	move := func(n *Node) (meta.Job, error) {
		return n.MoveReplica(ctx, ReplicaMoveSpec{Shard: 1, From: "n3", To: "n4"}, "ann")
	}
	moved, err := move(c.nodes["n1"])
	if err != nil {
		t.Fatal(err)
	}
	<-h.reached // the map has it on four nodes
	for _, n := range c.nodes {
		eventually(t, "every node knows of the move", func() bool { _, moving := n.Map().Succession(1); return moving })
	}
	c.askAgain("a move that goes on", moved, move)
	h.goOn <- struct{}{}
	c.awaitJob(moved.ID, meta.JobDone)
	c.askAgain("a move that is done", moved, move)

	leave := func(n *Node) (meta.Job, error) {
		return n.Decommission(ctx, JobDecommission, DecommissionSpec{Node: "n3", Why: "asked for at " + n.id}, "ann")
	}
	left, err := leave(c.nodes["n1"])
	if err != nil {
		t.Fatal(err)
	}
	<-h.reached
	c.askAgain("a node that leaves", left, leave)
	h.goOn <- struct{}{}
	for _, id := range []string{"n1", "n2", "n4"} {
		eventually(t, id+" sees that n3 has left", func() bool {
			job, _, err := c.nodes[id].Job(left.ID)
			return err == nil && job.State == meta.JobDone
		})
	}
	c.stop("n3")
	c.askAgain("a node that has left", left, leave)
	if jobs, err := c.any().Jobs(); err != nil || len(jobs) != 2 {
		t.Errorf("there are %d jobs, %v", len(jobs), err)
	}
}

// Into one place one backup goes at a time, whoever asks where, and however many at once.
func TestOneBackupGoesIntoAPlace(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil) // no node keeps an archive, so that none of them ends
	ctx := c.context()
	ask := func(n *Node, id, location string) (meta.Job, error) {
		return n.StartBackup(ctx, BackupSpec{ID: id, Location: location}, time.Now(), "ann")
	}
	var asking sync.WaitGroup
	for id, n := range c.nodes {
		asking.Go(func() {
			if _, err := ask(n, "b-"+id, "s3://backups/a"); err != nil && !isRefusal(err, "only one job at a time") {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	live := c.backups()
	if len(live) != 1 {
		t.Fatalf("%d backups go into one place", len(live))
	}
	c.askAgain("a backup that goes on", live[0], func(n *Node) (meta.Job, error) { return ask(n, "again-"+n.id, "s3://backups/a/") })
	other, err := ask(c.any(), "other", "s3://backups/b")
	if err != nil || other.ID == live[0].ID {
		t.Errorf("one into another place: job %d, %v", other.ID, err)
	}
	eventually(t, "it has ended", func() bool { // it reports meanwhile that it waits
		job, _, err := c.any().Job(live[0].ID) // where it has ended as wanted, to end it again is nothing
		return err == nil && c.any().Change(ctx, meta.EndJob{ID: job.ID, Revision: job.Revision, State: meta.JobCancelled}) == nil
	})
	c.awaitJob(live[0].ID, meta.JobCancelled)
	if next, err := ask(c.any(), "next", "s3://backups/a"); err != nil || next.ID == live[0].ID {
		t.Errorf("when the one before has ended: job %d, %v", next.ID, err)
	}
}

// A backup that is done is the answer to who asks again in time, and a change of the gossip key to who names the key that it was from.
func TestWhatWasDoneIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	ctx, began := c.context(), time.Now()
	spec := BackupSpec{ID: "first", Location: "s3://backups/a"}
	first, err := c.any().StartBackup(ctx, spec, time.Now(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is done", func() bool {
		job, _, err := c.any().Job(first.ID)
		return err == nil && c.any().Change(ctx, meta.EndJob{ID: job.ID, Revision: job.Revision, State: meta.JobDone}) == nil
	})
	c.awaitJob(first.ID, meta.JobDone)
	c.askAgain("a backup that was made in time", first, func(n *Node) (meta.Job, error) {
		return n.StartBackup(ctx, BackupSpec{ID: "again", Location: spec.Location}, began.Add(-time.Minute), "ann")
	})
	if next, err := c.any().StartBackup(ctx, BackupSpec{ID: "next", Location: spec.Location}, time.Now().Add(time.Minute), "ann"); err != nil || next.ID == first.ID {
		t.Errorf("a backup that was made before: job %d, %v", next.ID, err)
	}

	if err := c.any().RotateGossipKey(ctx, ""); err != nil {
		t.Fatal(err)
	}
	alone := func() (id string) {
		eventually(t, "the key is changed", func() bool {
			id = ""
			for _, n := range c.nodes {
				keys := n.Map().GossipKeys()
				if len(keys) != 1 || id != "" && keys[0].ID != id {
					return false
				}
				id = keys[0].ID
			}
			return true
		})
		return id
	}
	from := alone()
	for range 3 { // while it goes on, and when it is done
		for _, n := range c.nodes {
			if err := n.RotateGossipKey(ctx, from); err != nil && !isRefusal(err, "being changed already") {
				t.Error(err)
			}
		}
	}
	eventually(t, "the key is another", func() bool { return alone() != from })
	to := alone()
	for _, n := range c.nodes {
		if err := n.RotateGossipKey(ctx, from); err != nil {
			t.Error(err)
		}
	}
	if is := alone(); is != to {
		t.Errorf("key %s was changed to %s, and again to %s", from, to, is)
	}
}

// backups are those that there are, when every node knows them.
func (c *testCluster) backups() (all []meta.Job) {
	c.t.Helper()
	eventually(c.t, "every node knows the same jobs", func() bool {
		counts := make(map[int]bool)
		for _, n := range c.nodes {
			var err error
			if all, err = n.Jobs(); err != nil {
				c.t.Fatal(err)
			}
			counts[len(all)] = true
		}
		return len(counts) == 1 && len(all) > 0
	})
	return all
}

// TestWhatIsAskedForAgainOfWhoWasAway: the node that is asked again has not heard yet of what was asked for, and is done.
func TestWhatIsAskedForAgainOfWhoWasAway(t *testing.T) {
	t.Parallel()
	c := fourNodes(t, nil)
	c.awaitVoters()
	c.stop("n2")
	move := func(n *Node) (meta.Job, error) {
		return n.MoveReplica(c.context(), ReplicaMoveSpec{Shard: 1, From: "n3", To: "n4"}, "ann")
	}
	moved, err := move(c.nodes["n1"])
	if err != nil {
		t.Fatal(err)
	}
	c.awaitJob(moved.ID, meta.JobDone)
	if again, err := move(c.start("n2")); err != nil || again.ID != moved.ID {
		t.Errorf("job %d, %v; it is job %d", again.ID, err, moved.ID)
	}
}
