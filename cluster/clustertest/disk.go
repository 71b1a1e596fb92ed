package clustertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/hashicorp/raft"

	"parley/cluster"
	"parley/storage"
)

// disk is what one life of a node writes to. A crash ends it; the next life goes on with what was synced and, of the rest, what
// chance has left.
type disk struct {
	mem *vfs.MemFS

	mu       sync.Mutex
	slow     time.Duration // each append to a log takes so much longer
	onAppend *appendFault  // of the next append; nil: nothing is planned
	onStaged func()        // called at a read of a state that was fetched, which fails; nil: nothing is planned
	skip     int           // so many such reads pass before
	onVote   func()        // called between the two writes of the next vote; nil: nothing is planned
}

// errDisk is what a failing disk answers.
var errDisk = errors.New("the disk has failed, as planned")

func newDisk() *disk { return &disk{mem: vfs.NewCrashableMem()} }

// crashed is the disk as a crash at this moment leaves it.
func (d *disk) crashed(random *rand.Rand) *disk {
	return &disk{mem: d.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: random.IntN(101), RNG: random})}
}

// give puts the disk into a node's configuration.
func (d *disk) give() cluster.Disk {
	return cluster.Disk{
		FS:     errorfs.Wrap(d.mem, errorfs.InjectorFunc(d.inject)),
		Stable: func(group uint32) raft.StableStore { return guardVotes(&stable{disk: d, group: group}) },
		Log:    func(_ uint32, log raft.LogStore) raft.LogStore { return spoiledLog{log, d} },
	}
}

// inject lets a planned crash happen in the middle of an exchange of a replica's state.
func (d *disk) inject(op errorfs.Op) error {
	if op.Kind != errorfs.OpFileRead && op.Kind != errorfs.OpFileReadAt || !strings.Contains(op.Path, "staging") {
		return nil
	}
	d.mu.Lock()
	hook := d.onStaged
	if d.skip--; d.skip >= 0 {
		hook = nil
	} else {
		d.onStaged = nil
	}
	d.mu.Unlock()
	if hook == nil {
		return nil
	}
	hook()
	return errDisk
}

// crashInRestore arms a hook for a read of a fetched state, after so many others; nil: none.
func (d *disk) crashInRestore(hook func(), skip int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onStaged, d.skip = hook, skip
}

// spoil damages one thing that lies on the disk of a node that is down: it changes a byte of a file, loses the file, or loses votes. The
// node's name and how it came into the cluster are left alone: without them it does not start, and says so.
func (d *disk) spoil(random *rand.Rand) (what string, err error) {
	var files []string
	for _, dir := range []string{"data/log", "data/state/db", "votes/groups", "data/groups"} {
		found, err := d.filesIn(dir)
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	if len(files) == 0 {
		return "nothing", nil
	}
	name := files[random.IntN(len(files))]
	if random.IntN(3) == 0 || strings.HasPrefix(name, "votes") {
		return "lost " + name, errors.Join(d.mem.Remove(name), syncDir(d.mem, path.Dir(name)))
	}
	return "changed " + name, d.flip(name, random)
}

// filesIn are the files below a directory, in order.
func (d *disk) filesIn(dir string) (files []string, err error) {
	names, err := d.mem.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	slices.Sort(names)
	for _, name := range names {
		name = path.Join(dir, name)
		info, err := d.mem.Stat(name)
		if err != nil {
			return nil, err
		}
		switch {
		case !info.IsDir():
			files = append(files, name)
		default:
			below, err := d.filesIn(name)
			if err != nil {
				return nil, err
			}
			files = append(files, below...)
		}
	}
	return files, err
}

// flip changes a byte of a file, durably.
func (d *disk) flip(name string, random *rand.Rand) error {
	file, err := d.mem.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = func() error {
		info, err := file.Stat()
		if err != nil || info.Size() == 0 {
			return err
		}
		at, one := random.Int64N(info.Size()), make([]byte, 1)
		if _, err := file.ReadAt(one, at); err != nil {
			return err
		}
		one[0] ^= 1 << random.IntN(8)
		_, err = file.WriteAt(one, at)
		return errors.Join(err, file.Sync())
	}()
	return errors.Join(err, file.Close())
}

func (d *disk) setSlow(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slow = delay
}

// appendFault makes an append fail, done or not done. The node has to be dead when the hook returns: a process whose log engine
// has failed ends at once, and an engine that has failed in earnest could not be closed any more.
type appendFault struct {
	persisted bool
	hook      func()
}

// failAppend plans a fault of the next append; nil: none.
func (d *disk) failAppend(fault *appendFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onAppend = fault
}

// crashInVote arms a hook for the next vote.
func (d *disk) crashInVote(hook func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onVote = hook
}

func (d *disk) takeVoteHook() func() {
	d.mu.Lock()
	defer d.mu.Unlock()
	hook := d.onVote
	d.onVote = nil
	return hook
}

func (d *disk) nextAppend() (delay time.Duration, fault *appendFault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fault = d.onAppend
	d.onAppend = nil
	return d.slow, fault
}

// spoiledLog delays and fails appends with no lock held: fake time does not pass while one waits for a mutex.
type spoiledLog struct {
	raft.LogStore
	disk *disk
}

// IsMonotonic implements raft.MonotonicLogStore, as the log beneath does.
func (l spoiledLog) IsMonotonic() bool { return true }

func (l spoiledLog) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

func (l spoiledLog) StoreLogs(entries []*raft.Log) error {
	delay, fault := l.disk.nextAppend()
	if delay > 0 {
		time.Sleep(delay)
	}
	if fault == nil {
		return l.LogStore.StoreLogs(entries)
	}
	var err error
	if fault.persisted {
		err = l.LogStore.StoreLogs(entries)
	}
	fault.hook()
	return errors.Join(errDisk, err)
}

// stable keeps a group's term and vote in one file of the disk, each write of which is durable and whole.
type stable struct {
	disk  *disk
	group uint32
	mu    sync.Mutex
}

func (s *stable) file() string { return path.Join("votes", storage.GroupName(s.group)) }

func (s *stable) values() (map[string][]byte, error) {
	values := make(map[string][]byte)
	file, err := s.disk.mem.Open(s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return values, nil
	}
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return values, json.Unmarshal(raw, &values)
}

func (s *stable) Get(key []byte) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	values, err := s.values()
	return values[string(key)], err
}

func (s *stable) Set(key, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	values, err := s.values()
	if err != nil {
		return err
	}
	values[string(key)] = bytes.Clone(value)
	raw, err := json.Marshal(values)
	if err != nil {
		return err
	}
	return s.replace(raw)
}

// replace writes the file anew, durably: beside it first, and then in its place.
func (s *stable) replace(raw []byte) error {
	mem, name := s.disk.mem, s.file()
	if err := mem.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	file, err := mem.Create(name+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = file.Write(raw)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := mem.Rename(name+".new", name); err != nil {
		return err
	}
	for _, dir := range []string{"votes/groups", "votes", ""} {
		if err := syncDir(mem, dir); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(mem *vfs.MemFS, name string) error {
	dir, err := mem.OpenDir(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// SetUint64 writes as raft.StableStore says. After the term of a vote a crash may be planned.
func (s *stable) SetUint64(key []byte, value uint64) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := s.Set(key, raw); err != nil {
		return err
	}
	if string(key) != "LastVoteTerm" {
		return nil
	}
	if hook := s.disk.takeVoteHook(); hook != nil {
		hook()
		return errDisk // the node is dead; what it goes on to do reaches nobody
	}
	return nil
}

func (s *stable) GetUint64(key []byte) (value uint64, err error) {
	raw, err := s.Get(key)
	if err != nil || raw == nil {
		return 0, err
	}
	return value, json.Unmarshal(raw, &value)
}

// guardVotes is what a node's own votes go through.
func guardVotes(inner raft.StableStore) raft.StableStore { return storage.GuardVotes(inner) }
