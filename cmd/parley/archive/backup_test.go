package archive

import (
	"testing"

	"parley/cluster"
	"parley/fsm/meta"
)

func TestBackupJob(t *testing.T) {
	c := newCluster(t, "backed-up")
	c.begin(3, 2, nil)
	c.fill(10, 20)
	spec := cluster.BackupSpec{ID: "b1", Location: "file://" + t.TempDir(), Node: "n2"}
	report := c.backUp(spec)
	if report.Counts["rooms"] != 10 || report.Counts["keyPackages"] != 100 || report.Cluster != "backed-up" || report.Generation != 1 {
		t.Errorf("backed up %+v", report.Manifest)
	}
}

// Whichever node is killed at whichever step, the one that makes the backup or the one that leads, the backup is made once and is whole.
func TestBackupOutlivesItsNodes(t *testing.T) {
	c := newCluster(t, "backed-up")
	c.begin(3, 2, nil)
	c.fill(10, 20)
	location := "file://" + t.TempDir()
	for i, point := range []string{"backup.ask", "backup.shard", "backup.part", "backup.meta", "backup.manifest"} {
		t.Run(point, func(t *testing.T) {
			kill := c.killAt(point)
			spec := cluster.BackupSpec{ID: "b" + string(rune('1'+i)), Location: location, Node: "n2"}
			id := c.startBackup(spec)
			kill.again()
			if job := c.awaitJob(id); job.State != meta.JobDone {
				t.Fatalf("the backup is %s: %s", job.State, job.Error)
			}
			report := mustBeWhole(t, spec)
			if report.Counts["rooms"] != 10 || report.Counts["keyPackages"] != 100 {
				t.Errorf("backed up %+v", report.Counts)
			}
		})
	}
}
