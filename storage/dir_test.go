package storage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

func TestDirIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "node")
	dir, err := OpenDir(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	checkPermissions(t, path, 0o700)
	if _, err := OpenDir(nil, path); !errors.Is(err, ErrLocked) {
		t.Errorf("a second holder: %v", err)
	}
	closeNow(t, dir)
	if dir, err = OpenDir(nil, path); err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, dir)
	if free, err := dir.FreeBytes(); err != nil || free == 0 {
		t.Errorf("free bytes: %d, %v", free, err)
	}
}

func TestIdentityIsGivenOnce(t *testing.T) {
	path := t.TempDir()
	dir, err := OpenDir(nil, path)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, dir)
	if _, err := dir.Identity(); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("a new directory: %v", err)
	}
	// What a crash left of an earlier attempt.
	if err := os.WriteFile(filepath.Join(path, identityName+temporarySuffix), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pristine, err := dir.Pristine(); err != nil || !pristine {
		t.Errorf("a new directory is pristine: %v, %v", pristine, err)
	}
	own := Identity{NodeID: "n1", ClusterID: "c1", Incarnation: "i1"}
	if err := errors.Join(dir.SetIdentity(own), dir.SetIdentity(own)); err != nil {
		t.Fatal(err)
	}
	for _, other := range []Identity{{"n2", "c1", "i1"}, {"n1", "c2", "i1"}, {"n1", "c1", "i2"}} {
		if err := dir.SetIdentity(other); !errors.Is(err, ErrIdentity) {
			t.Errorf("%v: %v", other, err)
		}
	}
	if err := dir.SetIdentity(Identity{NodeID: "n1"}); err == nil {
		t.Error("half an identity was taken")
	}
	if got, err := dir.Identity(); err != nil || got != own {
		t.Errorf("identity: %v, %v", got, err)
	}
	if pristine, err := dir.Pristine(); err != nil || pristine {
		t.Errorf("a directory with an identity is pristine: %v, %v", pristine, err)
	}
	checkPermissions(t, filepath.Join(path, identityName), 0o600)
	if err := os.WriteFile(filepath.Join(path, identityName), []byte(`{"node_id":"n1"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := dir.Identity(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a cut identity: %v", err)
	}
	if err := dir.SetIdentity(own); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a cut identity was overwritten: %v", err)
	}
}

func TestGroupDirectories(t *testing.T) {
	dir, err := OpenDir(nil, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, dir)
	if err := errors.Join(dir.RemoveGroup(9), dir.MakeGroup(1), dir.MakeGroup(2), dir.MakeGroup(2)); err != nil {
		t.Fatal(err)
	}
	checkPermissions(t, dir.GroupPath(1), 0o700)
	for _, path := range []string{dir.StablePath(1), dir.BoltLogPath(1), dir.SnapshotsPath(1)} {
		if filepath.Dir(path) != dir.GroupPath(1) {
			t.Errorf("%s is not in the group's directory", path)
		}
	}
	if err := dir.RemoveGroup(1); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir.GroupPath(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the removed group's directory: %v", err)
	}
	checkPermissions(t, dir.GroupPath(2), 0o700)
}

func TestSnapshotsAreKeptAndPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "manifests")
	store, err := OpenSnapshots(nil, path, 2)
	if err != nil {
		t.Fatal(err)
	}
	for index := uint64(1); index <= 3; index++ {
		sink, err := store.Create(1, index*10, 1, raft.Configuration{}, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(sink, "manifest"); err != nil {
			t.Fatal(err)
		}
		closeNow(t, sink)
	}
	if store, err = OpenSnapshots(nil, path, 2); err != nil {
		t.Fatal(err)
	}
	list, err := store.List()
	if err != nil || len(list) != 2 || list[0].Index != 30 || list[1].Index != 20 {
		t.Fatalf("snapshots: %v, %v", list, err)
	}
	_, content, err := store.Open(list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, content)
	if read, err := io.ReadAll(content); err != nil || string(read) != "manifest" {
		t.Errorf("read %q, %v", read, err)
	}
	files := 0
	err = filepath.WalkDir(path, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			checkPermissions(t, at, 0o700)
		} else {
			files++
			checkPermissions(t, at, 0o600)
		}
		return nil
	})
	if err != nil || files != 2 {
		t.Errorf("%d files, %v", files, err)
	}
}

func TestCheckRestart(t *testing.T) {
	for name, test := range map[string]struct {
		applied, through, snapshot, first, last uint64
		restoring                               bool
		want                                    RestartReason
	}{
		"new":                                {},
		"log only":                           {applied: 5, first: 1, last: 9},
		"log only, nothing applied":          {first: 1, last: 9},
		"snapshot and log overlap":           {applied: 25, snapshot: 20, first: 11, last: 30},
		"log begins right behind":            {applied: 20, snapshot: 20, first: 21, last: 30},
		"snapshot and no log":                {applied: 20, snapshot: 20},
		"restored past the snapshot":         {applied: 25, through: 25, snapshot: 20},
		"restored past it, and on":           {applied: 26, through: 25, snapshot: 20, first: 21, last: 26},
		"restore cut off":                    {restoring: true, snapshot: 20, want: RestoreCutOff},
		"state behind the snapshot":          {applied: 19, snapshot: 20, first: 11, last: 30, want: StateBehindSnapshot},
		"hole between snapshot and log":      {applied: 20, snapshot: 20, first: 22, last: 30, want: LogBehindSnapshot},
		"log without its head or a snapshot": {applied: 5, first: 2, last: 9, want: LogBehindSnapshot},
		"log lost its end":                   {applied: 31, snapshot: 20, first: 11, last: 30, want: StateAheadOfLog},
		"log is gone":                        {applied: 21, snapshot: 20, want: StateAheadOfLog},
		"past the restore, log is gone":      {applied: 26, through: 25, snapshot: 20, want: StateAheadOfLog},
	} {
		err := CheckRestart(test.applied, test.through, test.snapshot, test.first, test.last, test.restoring)
		var refused *RestartError
		got := RestartReason(0)
		if errors.As(err, &refused) {
			got = refused.Reason
		}
		if got != test.want || (err == nil) != (test.want == 0) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

func TestRaftLoggerKeepsLevelNameAndPairs(t *testing.T) {
	var out strings.Builder
	logger := RaftLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	named := logger.Named("raft").With("group", 3)
	named.Debug("not shown")
	named.Warn("shown", "term", 7)
	for _, part := range []string{"level=WARN", "msg=shown", "part=raft", "group=3", "term=7"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q lacks %s", out.String(), part)
		}
	}
	if strings.Contains(out.String(), "not shown") || logger.IsDebug() || !logger.IsInfo() {
		t.Errorf("the level was not kept: %q", out.String())
	}
	if slog.New(slog.DiscardHandler).Enabled(context.Background(), slog.LevelError) || RaftLogger(nil).IsError() {
		t.Error("nobody listens, yet lines would be made")
	}
}
