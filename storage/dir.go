package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
	path string
	lock *os.File
}

const (
	lockName     = "LOCK"
	identityName = "identity.json"
	admittedName = "ADMITTED"
)

// OpenDir makes the directory if it is missing, with permissions 0700, and locks it until Close; ErrLocked if another process
// holds it.
func OpenDir(path string) (*Dir, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open directory %s: %w", path, err)
	}
	if err := errors.Join(makePrivateDir(vfs.Default, absolute), os.Chmod(absolute, 0o700)); err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(absolute, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, errors.Join(fmt.Errorf("lock %s: %w", absolute, err), lock.Close())
	}
	return &Dir{path: absolute, lock: lock}, nil
}

// Close gives the directory up. Every engine in it must be closed before.
func (d *Dir) Close() error {
	return d.lock.Close()
}

// Path is the directory's absolute path.
func (d *Dir) Path() string { return d.path }

// StatePath is where the state engine lives.
func (d *Dir) StatePath() string { return filepath.Join(d.path, "state") }

// LogPath is where the shards' shared log engine lives.
func (d *Dir) LogPath() string { return filepath.Join(d.path, "log") }

// GroupPath is the directory of what one group has for itself: votes, snapshots, and its log where that is bolt.
// MakeGroup makes it.
func (d *Dir) GroupPath(group uint32) string {
	return filepath.Join(d.path, "groups", fmt.Sprintf("%08x", group))
}

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
	if err := makePrivateDir(vfs.Default, d.GroupPath(group)); err != nil {
		return fmt.Errorf("make the directory of group %d: %w", group, err)
	}
	return nil
}

// RemoveGroup removes a group's directory with all in it, durably. What the engines hold of the group is not touched.
func (d *Dir) RemoveGroup(group uint32) error {
	path := d.GroupPath(group)
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove the directory of group %d: %w", group, err)
	}
	if err := syncDir(vfs.Default, filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Pristine says whether nothing was ever put into the directory, lock and unfinished files aside. A directory that is not
// pristine is never bootstrapped.
func (d *Dir) Pristine() (bool, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		if name := entry.Name(); name != lockName && name != identityName+temporarySuffix {
			return false, nil
		}
	}
	return true, nil
}

// Identity reads who the directory belongs to; ErrNoIdentity before SetIdentity.
func (d *Dir) Identity() (Identity, error) {
	encoded, err := os.ReadFile(filepath.Join(d.path, identityName))
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
	return writeFile(filepath.Join(d.path, identityName), append(encoded, '\n'))
}

// Admission is how the directory's node came into its cluster, as Admit was told; empty before that. Without it the node may have
// lost a directory in which it had voted, so it takes part in nothing.
func (d *Dir) Admission() (string, error) {
	how, err := os.ReadFile(filepath.Join(d.path, admittedName))
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
	return writeFile(filepath.Join(d.path, admittedName), []byte(how+"\n"))
}

// FreeBytes is how much an unprivileged process can still write to the directory's file system. Writes are to be refused
// before a reserve is touched: an engine that meets a full disk fails for good.
func (d *Dir) FreeBytes() (uint64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(d.path, &stat); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", d.path, err)
	}
	return uint64(stat.Bavail) * uint64(stat.Bsize), nil
}

const temporarySuffix = ".tmp"

// writeFile makes a file with permissions 0600 appear with all of its content, or not at all, durably.
func writeFile(path string, content []byte) error {
	temporary := path + temporarySuffix
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	return syncDir(vfs.Default, filepath.Dir(path))
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
		if err := syncDir(fs, path); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a directory durable.
func syncDir(fs vfs.FS, path string) error {
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
