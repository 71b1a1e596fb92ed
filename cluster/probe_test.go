package cluster

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"parley/cluster/pki"
)

// A process that ended because a write failed starts again, by its service manager. It must not stand for anything before the disk
// takes writes; on one that does not, and on one without room, it does not start.
func TestNodeStartsOnADiskThatWorks(t *testing.T) {
	ca, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := pki.IssueNode(ca, "n1", nil, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	errWrite := errors.New("the disk does not work")
	broken := false
	mem := vfs.NewMem()
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken && op.Kind == errorfs.OpFileSync && strings.Contains(op.Path, probeName) {
			return errWrite
		}
		return nil
	}))
	open := func() error {
		s, err := openStores(Config{
			DataDir: "data", Credentials: credentials, LogStore: PebbleLogs, Log: slog.New(slog.DiscardHandler), Disk: Disk{FS: fs},
		}, func(err error) { t.Error(err) })
		if err != nil {
			return err
		}
		return s.close()
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	broken = true
	if err := open(); !errors.Is(err, errWrite) {
		t.Errorf("a disk that does not take a write: %v", err)
	}
	broken = false
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 10 << 20, TotalBytes: 1 << 40})
	if err := open(); !errors.Is(err, errDiskFull) {
		t.Errorf("a disk without room: %v", err)
	}
	mem.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1 << 40, TotalBytes: 1 << 41})
	if err := open(); err != nil {
		t.Error(err)
	}
}
