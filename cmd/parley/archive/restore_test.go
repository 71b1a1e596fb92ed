package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/meta"
)

// restoredFrom checks a backup as a node does before anything is made of it.
func restoredFrom(t testing.TB, spec cluster.BackupSpec, node string) *cluster.RestoreOptions {
	t.Helper()
	checker := NewChecker()
	defer checker.Close()
	for ctx := testContext(t); ; {
		options, _, err := checker.Check(ctx, spec.Location, spec.ID, node)
		if err != nil {
			t.Fatal(err)
		}
		if options != nil {
			return options
		}
	}
}

// awaitRestored waits until all slots have come.
func (c *clusterUnderTest) awaitRestored() {
	c.t.Helper()
	c.awaitAll("all slots have come", func(n *cluster.Node) bool { return len(n.Map().ActiveShards()) > 0 && !n.Map().Restoring() })
	jobs, err := c.node().Jobs()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Kind == cluster.JobRestore {
			if job := c.awaitJob(j.ID); job.State != meta.JobDone {
				c.t.Errorf("the restore is %s: %s", job.State, job.Error)
			}
		}
	}
}

// slotSums are what the slots of a cluster come to, without what a new generation takes away, single-use KeyPackages, and what it adds to
// outboxes to say so. That a slot came as it was is known before either: it is not served otherwise.
func (c *clusterUnderTest) slotSums() map[fsm.SlotID]fsm.Sum {
	c.t.Helper()
	sums := make(map[fsm.SlotID]fsm.Sum)
	for _, shard := range c.node().Map().Shards() {
		var copied *cluster.ShardCopy
		eventually(c.t, fmt.Sprintf("there is a copy of shard %d", shard.ID), func() bool {
			var err error
			copied, err = c.node().OpenShardCopy(testContext(c.t), shard.ID)
			return err == nil
		})
		summers := make(map[fsm.SlotID]*fsm.Summer)
		for _, place := range copied.Slots {
			summers[place.Slot] = fsm.NewSummer()
		}
		for {
			key, value, err := copied.Next()
			if err != nil {
				c.t.Fatal(err)
			}
			if key == nil {
				break
			}
			if kind := fsm.CountedAs(key); kind == "rooms" || kind == "users" || kind == "clients" || kind == "messages" {
				summers[fsm.SlotID(key[0])<<8|fsm.SlotID(key[1])].Add(key, value)
			}
		}
		if err := copied.Close(); err != nil {
			c.t.Fatal(err)
		}
		for slot, s := range summers {
			if _, twice := sums[slot]; twice {
				c.t.Errorf("slot %d is in two shards", slot)
			}
			sums[slot] = s.Sum()
		}
	}
	return sums
}

func sameSums(t testing.TB, want, have map[fsm.SlotID]fsm.Sum) {
	t.Helper()
	if len(have) != fsm.SlotCount {
		t.Errorf("%d slots are there", len(have))
	}
	for slot, sum := range want {
		if have[slot].Count != sum.Count {
			t.Errorf("slot %d has %d records, and had %d", slot, have[slot].Count, sum.Count)
		}
	}
}

// A cluster that is made of a backup has in each slot what the lost one had, whatever shards and nodes it has, and is in the next generation.
func TestRestoreIntoANewCluster(t *testing.T) {
	was := newCluster(t, "lost")
	was.begin(3, 2, nil)
	was.fill(10, 20)
	spec := cluster.BackupSpec{ID: "b1", Location: "file://" + t.TempDir(), Node: "n1"}
	was.backUp(spec)
	sums := was.slotSums()
	was.stopAll()
	for _, test := range []struct{ nodes, shards int }{{1, 1}, {3, 5}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			is := newCluster(t, "lost")
			is.begin(test.nodes, test.shards, restoredFrom(t, spec, "n1"))
			is.awaitRestored()
			sameSums(t, sums, is.slotSums())
			if g := is.node().Map().Generation(); g != 2 {
				t.Errorf("the cluster is in generation %d", g)
			}
			signer, _, can := is.node().HubSigner(1)
			if !can || signer == nil {
				t.Error("the hub's key of the lost cluster does not open")
			}
			// What it has is backed up again, into the same store.
			again := cluster.BackupSpec{ID: fmt.Sprintf("again-%d", test.shards), Location: spec.Location, Node: "n1"}
			if report := is.backUp(again); report.Generation != 2 || report.Counts["rooms"] != 10 {
				t.Errorf("backed up again: %+v", report.Manifest)
			}
		})
	}
}

// everyStepEnv has a node killed at every step of a restore; each is a cluster of its own.
const everyStepEnv = "PARLEY_EVERY_STEP"

// Whichever node is killed at whichever step of a restore, all slots come, once.
func TestRestoreOutlivesItsNodes(t *testing.T) {
	was := newCluster(t, "lost")
	was.begin(1, 2, nil)
	was.fill(10, 20)
	spec := cluster.BackupSpec{ID: "b1", Location: "file://" + t.TempDir(), Node: "n1"}
	was.backUp(spec)
	sums := was.slotSums()
	was.stopAll()
	points := []string{"restore.ask", "restore.slot", "restore.activate", "restore.end"}
	if os.Getenv(everyStepEnv) == "" {
		points = points[2:3]
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			is := newCluster(t, "lost")
			kill := is.killAt(point)
			is.begin(3, 3, restoredFrom(t, spec, "n1"))
			kill.again()
			is.awaitRestored()
			sameSums(t, sums, is.slotSums())
		})
	}
}

// A backup that is not whole is refused before anything is made of it, whatever is wrong with it.
func TestRestoreRefusesDamage(t *testing.T) {
	was := newCluster(t, "lost")
	was.begin(1, 1, nil)
	was.fill(3, 3)
	folder := t.TempDir()
	was.backUp(cluster.BackupSpec{ID: "b1", Location: "file://" + folder, Node: "n1"})
	var files []string
	err := filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		sound, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for how, damage := range map[string]func() error{
			"gone":    func() error { return os.Remove(file) },
			"short":   func() error { return os.Truncate(file, int64(len(sound)-1)) },
			"altered": func() error { return os.WriteFile(file, append([]byte{sound[0] ^ 1}, sound[1:]...), 0o600) },
		} {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			checker := NewChecker()
			var options *cluster.RestoreOptions
			for options == nil && err == nil {
				options, _, err = checker.Check(testContext(t), "file://"+folder, "b1", "n1")
			}
			checker.Close()
			if !errors.Is(err, cluster.ErrArchive) {
				t.Errorf("%s %s: %v", strings.TrimPrefix(file, folder), how, err)
			}
			if err = os.WriteFile(file, sound, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	restoredFrom(t, cluster.BackupSpec{ID: "b1", Location: "file://" + folder}, "n1")
}

// A cluster with another name cannot open what is sealed, and is refused.
func TestRestoreRefusesAnotherCluster(t *testing.T) {
	c := newCluster(t, "another")
	n := c.add("n1")
	err := n.Init(testContext(t), cluster.InitOptions{Shards: 1, Replication: 1, Restore: &cluster.RestoreOptions{Backup: "b1", Cluster: "lost", Generation: 1}})
	var refused *cluster.RefusedError
	if !errors.As(err, &refused) || n.Map().Initialised() {
		t.Errorf("came to %v", err)
	}
}
