package cluster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"parley/fsm"
	"parley/storage"
)

// TestFsck: nothing is found in the directory of a node that was stopped, nothing in it is changed, and each damage is found.
func TestFsck(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	d := &damagedNode{t: t, cluster: c, id: "n3"}
	d.fill("before")
	c.awaitSettings()
	c.digests("n3") // it has all that the others have
	if _, err := Fsck(t.Context(), c.folder("n3"), func(string) {}); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("of a node that runs: %v", err)
	}
	c.stop("n3")
	healthy := c.folder("n3")
	before := tree(t, healthy)
	report, err := Fsck(t.Context(), healthy, func(string) {})
	if err != nil || len(report.Findings) > 0 {
		t.Fatalf("%v, %+v", err, report)
	}
	if after := tree(t, healthy); !slices.Equal(before, after) {
		t.Errorf("the directory was changed:\n%s\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if len(report.Groups) != 3 || report.NodeID != "n3" || report.Admitted != "join" {
		t.Errorf("%+v", report)
	}
	for _, g := range report.Groups {
		if g.Records == 0 || g.LastLog == 0 || g.Applied == 0 || g.Format != uint32(fsm.FormatNewest) {
			t.Errorf("%+v", g)
		}
	}
	for name, test := range map[string]struct {
		damage func(*damagedNode)
		found  string
	}{
		"a mark":                   {func(d *damagedNode) { d.write("groups/00000001/QUARANTINED", "a bad block") }, "group 1 is QUARANTINED"},
		"a damaged mark":           {func(d *damagedNode) { d.write("groups/00000001/REBUILDING", "x") }, "REBUILDING is damaged"},
		"votes that are gone":      {func(d *damagedNode) { d.remove("groups/00000001/stable.bolt") }, "group 1: its votes are gone"},
		"votes that are damaged":   {func(d *damagedNode) { d.overwrite("groups/00000002/stable.bolt") }, "group 2: its votes do not open"},
		"a damaged meta log":       {func(d *damagedNode) { d.overwrite("groups/00000000/log.bolt") }, "group 0: its log and votes do not open"},
		"a WAL that is gone":       {func(d *damagedNode) { d.remove("log/*.log") }, "the log engine does not open"},
		"a WAL that is flipped":    {func(d *damagedNode) { d.flip("log/*.log") }, "the log engine does not open"},
		"a state without manifest": {func(d *damagedNode) { d.remove("state/db/MANIFEST-*") }, "the state engine does not open"},
		"no identity":              {func(d *damagedNode) { d.write("identity.json", "{") }, "identity.json"},
		"an entry that is gone": {func(d *damagedNode) {
			d.inLog(1, func(l *storage.GroupLog) error { return l.DeleteRange(lastOf(l)-2, lastOf(l)) })
		}, "the state is ahead of log"},
		"a state that is not sound": {func(d *damagedNode) {
			d.inState(1, func(b *storage.Batch) error { return b.Set([]byte{0, 1, 0xfe, 1}, []byte{1}) })
		}, "its state is not sound: a key is of the unknown kind 0xfe"},
		"a record that ends too soon": {func(d *damagedNode) {
			d.inState(2, func(b *storage.Batch) error { return b.Set([]byte{0, 1, 0x31}, []byte{1}) })
		}, "its state is not sound"},
		"a journal that is damaged": {func(d *damagedNode) { d.flip("held/*.segment") }, "the journal of held submissions cannot be read"},
		"a manifest that is damaged": {func(d *damagedNode) {
			d.write("groups/00000001/manifests/0000000000000001-0000000000000001.snapshot", "x")
		}, "a snapshot's manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := filepath.Join(t.TempDir(), "node")
			if err := os.CopyFS(copied, os.DirFS(healthy)); err != nil {
				t.Fatal(err)
			}
			test.damage(&damagedNode{t: t, cluster: &testCluster{t: t, folders: map[string]string{"n3": copied}}, id: "n3"})
			report, err := Fsck(t.Context(), copied, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(report.Findings, func(f string) bool { return strings.Contains(f, test.found) }) {
				t.Errorf("not found: %q among %q", test.found, report.Findings)
			}
		})
	}
}

func lastOf(l raft.LogStore) uint64 {
	last, err := l.LastIndex()
	if err != nil {
		panic(err)
	}
	return last
}

// inLog changes a group's log with its checksums.
func (d *damagedNode) inLog(group uint32, change func(*storage.GroupLog) error) {
	engine, err := storage.OpenLog(filepath.Join(d.cluster.folder(d.id), "log"), storage.LogOptions{OnFatal: func(err error) { d.t.Error(err) }})
	if err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(change(engine.Group(group)), engine.Close()); err != nil {
		d.t.Fatal(err)
	}
}

// inState changes a group's state with its checksums.
func (d *damagedNode) inState(group uint32, change func(*storage.Batch) error) {
	engine, err := storage.OpenState(filepath.Join(d.cluster.folder(d.id), "state"), storage.StateOptions{OnFatal: func(err error) { d.t.Error(err) }})
	if err != nil {
		d.t.Fatal(err)
	}
	batch := engine.Group(group).NewBatch()
	if err := errors.Join(change(batch), batch.Commit(), batch.Close(), engine.Sync(), engine.Close()); err != nil {
		d.t.Fatal(err)
	}
}

// tree lists every file below a folder with a digest of its content.
func tree(t *testing.T, folder string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			files = append(files, path)
			return err
		}
		content, err := os.ReadFile(filepath.Join(folder, path))
		files = append(files, fmt.Sprintf("%s %x", path, sha256.Sum256(content)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
