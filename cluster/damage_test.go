package cluster

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"parley/storage"
)

// TestDamageIsMarkedBeforeTheNodeEnds: whatever ends the process in OnFatal, the groups are held back at the next start.
func TestDamageIsMarkedBeforeTheNodeEnds(t *testing.T) {
	dir, err := storage.OpenDir(nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ended := false
	s := &stores{quarantines: quarantines{dir}, log: slog.New(slog.DiscardHandler)}
	s.fatal = func(cause error) {
		ended = errors.Is(cause, storage.ErrCorrupt)
		for _, group := range []uint32{3, 9} {
			if held, err := s.held(group); held == nil {
				t.Errorf("group %d is not held back when the node ends: %v", group, err)
			}
		}
	}
	s.damaged([]uint32{3, 9}, storage.ErrCorrupt)
	if !ended {
		t.Error("the node goes on with damaged data")
	}
	ended = false
	if s.damaged([]uint32{9, 3}, storage.ErrCorrupt); ended {
		t.Error("the node ends again for groups that are held back already: it would never get to rebuild them")
	}
}

// TestDamagedSnapshotHoldsTheReplicaBack, for good: also once the file is gone.
func TestDamagedSnapshotHoldsTheReplicaBack(t *testing.T) {
	m, _ := countingMachine(t)
	dir, err := storage.OpenDir(nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := dir.MakeGroup(7); err != nil {
		t.Fatal(err)
	}
	snapshots, err := storage.OpenSnapshots(nil, dir.SnapshotsPath(7), snapshotsKept)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir.SnapshotsPath(7), "1.snapshot")
	if err := os.WriteFile(path, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := groupStores{quarantines: quarantines{dir}, id: 7, state: m.state, snapshots: snapshots, log: raft.NewInmemStore()}
	var held *quarantine
	if err := g.check(); !errors.As(err, &held) {
		t.Errorf("at the first start: %v", err)
	}
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if held, err := g.held(7); held == nil {
		t.Errorf("at the second start: %v", err)
	}
}
