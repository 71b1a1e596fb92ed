package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// Identity says to whom a node directory belongs. Both are chosen once and never used again for another directory: a node
// that came back under its old ID with an empty directory would have forgotten its votes.
type Identity struct {
	NodeID    string `json:"node_id"`
	ClusterID string `json:"cluster_id"`
	// Incarnation is a name that no other directory has, also none that the node had before.
	Incarnation string `json:"incarnation"`
}

// Dir is a node's data directory, held by one process at a time.
type Dir struct {
	fs   vfs.FS
	path string
	lock io.Closer
}

const (
	lockName     = "LOCK"
	identityName = "identity.json"
	admittedName = "ADMITTED"

	generationName = "GENERATION"
)

// OpenDir makes the directory if it is missing, with permissions 0700, and locks it until Close; ErrLocked if another process
// holds it. It lies in the operating system's files, or in those of fs where that is not nil.
func OpenDir(fs vfs.FS, path string) (*Dir, error) {
	if fs == nil {
		fs = vfs.Default
	}
	d := &Dir{fs: fs, path: path}
	err := d.open()
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	return d, nil
}

// OpenDirThere is OpenDir for a directory that a node has used: where there is none, none is made.
func OpenDirThere(filesystem vfs.FS, path string) (*Dir, error) {
	if filesystem == nil {
		filesystem = vfs.Default
	}
	if _, err := filesystem.Stat(filepath.Join(path, lockName)); err != nil {
		return nil, fmt.Errorf("%s is no node's directory: %w", path, err)
	}
	return OpenDir(filesystem, path)
}

func (d *Dir) open() (err error) {
	if d.fs != vfs.Default {
		if err := makePrivateDir(d.fs, d.path); err != nil {
			return err
		}
		d.lock, err = d.fs.Lock(filepath.Join(d.path, lockName))
		return err
	}
	if d.path, err = filepath.Abs(d.path); err != nil {
		return err
	}
	if err := errors.Join(makePrivateDir(d.fs, d.path), os.Chmod(d.path, 0o700)); err != nil {
		return err
	}
	d.lock, err = lockFile(filepath.Join(d.path, lockName))
	return err
}

// LookAtDir opens a directory that is there, to be read alone, and locks it until Close; ErrLocked if a process holds it. Nothing in it may
// be changed through the Dir.
func LookAtDir(path string) (*Dir, error) {
	d := &Dir{fs: vfs.Default, path: path}
	var err error
	if d.path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	lock, err := os.Open(filepath.Join(d.path, lockName))
	if err != nil {
		return nil, fmt.Errorf("%s is no node's directory: %w", path, err)
	}
	if d.lock, err = locked(lock); err != nil {
		return nil, fmt.Errorf("look at directory %s: %w", path, err)
	}
	return d, nil
}

// lockFile takes a lock that holds within one process too, which vfs's does not.
func lockFile(path string) (io.Closer, error) {
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return locked(lock)
}

func locked(lock *os.File) (io.Closer, error) {
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// Close gives the directory up. Every engine in it must be closed before.
func (d *Dir) Close() error {
	return d.lock.Close()
}

// Path is the directory's path, absolute where it lies in the operating system's files.
func (d *Dir) Path() string { return d.path }

// FS is where the directory lies.
func (d *Dir) FS() vfs.FS { return d.fs }

// StatePath is where the state engine lives.
func (d *Dir) StatePath() string { return filepath.Join(d.path, "state") }

// LogPath is where the shards' shared log engine lives.
func (d *Dir) LogPath() string { return filepath.Join(d.path, "log") }

// HeldPath is where the journal of held submissions lives.
func (d *Dir) HeldPath() string { return filepath.Join(d.path, "held") }

// GroupPath is the directory of what one group has for itself: votes, snapshots, and its log where that is bolt.
// MakeGroup makes it.
func (d *Dir) GroupPath(group uint32) string { return filepath.Join(d.path, GroupName(group)) }

// GroupName is GroupPath below the node's directory.
func GroupName(group uint32) string { return filepath.Join(groupsName, fmt.Sprintf("%08x", group)) }

const groupsName = "groups"

// StablePath is the file of a group's term and vote.
func (d *Dir) StablePath(group uint32) string {
	return filepath.Join(d.GroupPath(group), "stable.bolt")
}

// BoltLogPath is the file of a group's log where that is bolt.
func (d *Dir) BoltLogPath(group uint32) string { return filepath.Join(d.GroupPath(group), "log.bolt") }

// SnapshotsPath is the directory of a group's snapshots.
func (d *Dir) SnapshotsPath(group uint32) string {
	return filepath.Join(d.GroupPath(group), "manifests")
}

// MakeGroup makes a group's directory, durably.
func (d *Dir) MakeGroup(group uint32) error {
	if err := makePrivateDir(d.fs, d.GroupPath(group)); err != nil {
		return fmt.Errorf("make the directory of group %d: %w", group, err)
	}
	return nil
}

// MakeDir makes a directory below the node's, durably.
func (d *Dir) MakeDir(name string) error { return makePrivateDir(d.fs, filepath.Join(d.path, name)) }

// RemoveGroup removes a group's directory with all in it, durably. What the engines hold of the group is not touched.
func (d *Dir) RemoveGroup(group uint32) error {
	path := d.GroupPath(group)
	if err := d.fs.RemoveAll(path); err != nil {
		return fmt.Errorf("remove the directory of group %d: %w", group, err)
	}
	if err := SyncDir(d.fs, filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Pristine says whether nothing was ever put into the directory, lock and unfinished files aside. A directory that is not
// pristine is never bootstrapped.
func (d *Dir) Pristine() (bool, error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if name != lockName && name != identityName+temporarySuffix {
			return false, nil
		}
	}
	return true, nil
}

// Identity reads who the directory belongs to; ErrNoIdentity before SetIdentity.
func (d *Dir) Identity() (Identity, error) {
	encoded, err := d.ReadFile(identityName)
	if errors.Is(err, fs.ErrNotExist) {
		return Identity{}, ErrNoIdentity
	}
	if err != nil {
		return Identity{}, err
	}
	var identity Identity
	if err := json.Unmarshal(encoded, &identity); err != nil || identity.NodeID == "" || identity.ClusterID == "" || identity.Incarnation == "" {
		return Identity{}, errors.Join(fmt.Errorf("%s: %w", identityName, ErrCorrupt), err)
	}
	return identity, nil
}

// SetIdentity gives the directory to a node, durably and once. Setting the same identity again does nothing; another one is
// refused with ErrIdentity.
func (d *Dir) SetIdentity(identity Identity) error {
	if identity.NodeID == "" || identity.ClusterID == "" || identity.Incarnation == "" {
		return errors.New("storage: an identity needs a node ID, a cluster ID and an incarnation")
	}
	held, err := d.Identity()
	switch {
	case err == nil && held == identity:
		return nil
	case err == nil:
		return fmt.Errorf("%w: it is node %q of cluster %q", ErrIdentity, held.NodeID, held.ClusterID)
	case !errors.Is(err, ErrNoIdentity):
		return err
	}
	encoded, err := json.Marshal(identity)
	if err != nil {
		return err
	}
	return d.WriteFile(identityName, append(encoded, '\n'))
}

// Admission is how the directory's node came into its cluster, as Admit was told; empty before that. Without it the node may have
// lost a directory in which it had voted, so it takes part in nothing.
func (d *Dir) Admission() (string, error) {
	how, err := d.ReadFile(admittedName)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(how)), err
}

// Admit records durably that the node was let into its cluster, and how. The first record stands.
func (d *Dir) Admit(how string) error {
	if held, err := d.Admission(); err != nil || held != "" {
		return err
	}
	return d.WriteFile(admittedName, []byte(how+"\n"))
}

// Generation is the generation of the cluster that the directory's history is of: the first where nothing else was recorded.
func (d *Dir) Generation() (uint64, error) {
	text, err := d.ReadFile(generationName)
	if errors.Is(err, fs.ErrNotExist) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	generation, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || generation == 0 {
		return 0, fmt.Errorf("%s: %w", generationName, ErrCorrupt)
	}
	return generation, nil
}

// SetGeneration records a generation durably. It never falls.
func (d *Dir) SetGeneration(generation uint64) error {
	held, err := d.Generation()
	switch {
	case err != nil:
		return err
	case held > generation:
		return fmt.Errorf("storage: the directory is of generation %d, and cannot become one of %d", held, generation)
	case held == generation:
		return nil
	}
	return d.WriteFile(generationName, []byte(strconv.FormatUint(generation, 10)+"\n"))
}

// FreeBytes is how much an unprivileged process can still write to the directory's file system. Writes are to be refused
// before a reserve is touched: an engine that meets a full disk fails for good.
func (d *Dir) FreeBytes() (uint64, error) {
	usage, err := d.fs.GetDiskUsage(d.path)
	if err != nil {
		return 0, fmt.Errorf("free space of %s: %w", d.path, err)
	}
	return usage.AvailBytes, nil
}

// Groups are those that ever had a directory of their own, in ascending order.
func (d *Dir) Groups() (ids []uint32, err error) {
	names, err := d.fs.List(filepath.Join(d.path, groupsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if id, err := strconv.ParseUint(name, 16, 32); err == nil && GroupName(uint32(id)) == filepath.Join(groupsName, name) {
			ids = append(ids, uint32(id))
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// SetAside renames an engine's directory, with its ledger, to a name that is free, durably: an empty engine takes its place, and what
// was there can be looked at. The engine must not be open. Where a crash cuts it off, calling it again ends it.
func (d *Dir) SetAside(engine string) (name string, err error) {
	for n := 1; ; n++ {
		name = fmt.Sprintf("%s.damaged-%d", engine, n)
		if _, err := d.fs.Stat(name); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
	}
	for _, suffix := range []string{"", ledgerSuffix} {
		if err := d.fs.Rename(engine+suffix, name+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("set %s aside: %w", engine, err)
		}
	}
	return name, SyncDir(d.fs, d.path)
}

// DamagedEngines are the names of what SetAside has put aside, in the directory.
func (d *Dir) DamagedEngines() (names []string, err error) {
	all, err := d.fs.List(d.path)
	for _, name := range all {
		if strings.Contains(name, ".damaged-") && !strings.HasSuffix(name, ledgerSuffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, err
}

const temporarySuffix = ".tmp"

// ReadFile reads a file by its path below the directory; fs.ErrNotExist where there is none.
func (d *Dir) ReadFile(name string) (content []byte, err error) {
	return readWhole(d.fs, filepath.Join(d.path, name))
}

// WriteFile makes a file, by its path below the directory, appear with all of its content or not at all, durably and with
// permissions 0600.
func (d *Dir) WriteFile(name string, content []byte) error {
	return writeFile(d.fs, filepath.Join(d.path, name), content)
}

// Remove removes a file, by its path below the directory, durably. One that is not there is no error.
func (d *Dir) Remove(name string) error {
	path := filepath.Join(d.path, name)
	if err := d.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return SyncDir(d.fs, filepath.Dir(path))
}

// writeFile is WriteFile for any place.
func writeFile(fs vfs.FS, path string, content []byte) error {
	temporary := path + temporarySuffix
	file, err := fs.Create(temporary, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	err = makeFilePrivate(file)
	if err == nil {
		_, err = file.Write(content)
	}
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := fs.Rename(temporary, path); err != nil {
		return err
	}
	return SyncDir(fs, filepath.Dir(path))
}

// makeFilePrivate takes a new file from everyone but its owner. A file system in memory has no permissions.
func makeFilePrivate(file vfs.File) error {
	fd := file.Fd()
	if fd == vfs.InvalidFd {
		return nil
	}
	return unix.Fchmod(int(fd), 0o600)
}

// makePrivateDir makes a directory and those above it that are missing, with permissions 0700, durably. Two levels above are
// synced in any case: a crash may have cut off an earlier attempt between making and syncing.
func makePrivateDir(fs vfs.FS, dir string) error {
	var above []string
	for path := fs.PathDir(dir); ; path = fs.PathDir(path) {
		above = append(above, path)
		if _, err := fs.Stat(path); fs.PathDir(path) == path || err == nil && len(above) >= 2 {
			break
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	for _, path := range above {
		if err := SyncDir(fs, path); err != nil {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a directory durable.
func SyncDir(fs vfs.FS, path string) error {
	dir, err := fs.OpenDir(path)
	if err != nil {
		return err
	}
	err = dir.Sync()
	if err = errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", path, err)
	}
	return nil
}
