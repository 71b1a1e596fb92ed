package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"parley/storage"
)

// quarantine says why a replica must not run: a replica that lost what it had promised to keep would vote and answer from a past that
// the others do not share.
type quarantine struct {
	reason string
	sound  bool // what is stored is whole, and this program cannot read it: it is not rebuilt
}

func (q *quarantine) Error() string { return "the replica is quarantined: " + q.reason }

// Two files in a group's directory say what may be done with the rest of it.
const (
	// quarantineName keeps the group from being started, with the reason in it.
	quarantineName = "QUARANTINED"
	// rebuildingName says that the replica was taken out of its group and begins anew (see rebuild.go).
	rebuildingName = "REBUILDING"
)

// quarantines are the marks of a node's groups, in its directory.
type quarantines struct{ dir *storage.Dir }

// held is why a group must not run, as its mark says; nil where it has none.
func (q quarantines) held(group uint32) (*quarantine, error) {
	switch reason, err := q.dir.ReadFile(groupFile(group, quarantineName)); {
	case err == nil:
		return &quarantine{reason: string(reason)}, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	default:
		return nil, err
	}
}

// hold marks groups, durably. The first reason stands: what follows may come of it.
func (q quarantines) hold(groups []uint32, reason string) error {
	var failed error
	for _, group := range groups {
		held, err := q.held(group)
		if err == nil && held == nil {
			err = errors.Join(q.dir.MakeGroup(group), q.dir.WriteFile(groupFile(group, quarantineName), []byte(reason)))
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("quarantine group %d: %w", group, err))
		}
	}
	return failed
}

// quarantined marks a group and answers the mark, or why there is none.
func (q quarantines) quarantined(group uint32, reason string) error {
	if err := q.hold([]uint32{group}, reason); err != nil {
		return err
	}
	return &quarantine{reason: reason}
}

// release takes a group's mark away, durably.
func (q quarantines) release(group uint32) error {
	return q.dir.Remove(groupFile(group, quarantineName))
}

// groupFile is the path of a group's file below the node's directory.
func groupFile(group uint32, name string) string {
	return filepath.Join(storage.GroupName(group), name)
}
