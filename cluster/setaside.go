package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"parley/storage"
)

// An engine that cannot be opened is set aside: its directory is renamed, an empty one takes its place, and every group that had
// something in it is held back, to be rebuilt from its peers. What was set aside stays for an operator to look at, and to remove.

const (
	// clearingName counts the attempts to clear a damaged group, while one is under way.
	clearingName = "CLEARING"
	// clearingMax is after how many attempts that ended with the process the engines are set aside instead.
	clearingMax = 2
)

// openOrSetAside opens an engine, in the place of a damaged one if it has to. The groups are held back before anything is moved.
func openOrSetAside[E any](s *stores, path string, groups func() ([]uint32, error), open func(path string) (E, error)) (E, error) {
	engine, err := open(path)
	if !errors.Is(err, storage.ErrCorrupt) {
		return engine, err
	}
	if aside := s.setAside(path, groups, err); aside != nil {
		return engine, errors.Join(err, aside)
	}
	return open(path)
}

func (s *stores) setAside(path string, groups func() ([]uint32, error), cause error) error {
	ids, err := groups()
	if err != nil {
		return err
	}
	if err := s.hold(ids, cause.Error()); err != nil {
		return err
	}
	name, err := s.dir.SetAside(path)
	if err == nil {
		s.log.Error("a damaged engine is set aside; its groups are rebuilt from other nodes", "engine", path, "now", name, "groups", ids, "error", cause)
	}
	return err
}

// allGroups are those that have something in the state engine.
func (s *stores) allGroups() ([]uint32, error) { return s.dir.Groups() }

// loggedGroups are those whose logs are in the log engine: all but the meta group where that has bolt.
func (s *stores) loggedGroups() (ids []uint32, err error) {
	all, err := s.dir.Groups()
	for _, id := range all {
		if id != metaGroup || s.disk.Stable != nil {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// abandonUnclearable sets both engines aside where clearing a damaged group has ended the process again and again.
func (s *stores) abandonUnclearable() error {
	attempts, err := s.clearings()
	if err != nil || attempts < clearingMax {
		return err
	}
	cause := fmt.Errorf("%w: a damaged group could not be cleared in %d attempts", storage.ErrCorrupt, attempts)
	err = s.setAside(s.dir.StatePath(), s.allGroups, cause)
	if err == nil && s.kind == PebbleLogs {
		err = s.setAside(s.dir.LogPath(), s.loggedGroups, cause)
	}
	if err != nil {
		return err
	}
	return s.dir.Remove(clearingName)
}

// clearings is how many attempts to clear a group did not end.
func (s *stores) clearings() (int, error) {
	text, err := s.dir.ReadFile(clearingName)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	attempts, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return clearingMax, nil // it was written by this program alone
	}
	return attempts, nil
}

// clearing runs what clears a group, so that an attempt that ends the process is noticed at the next start.
func (s *stores) clearing(clear func() error) error {
	attempts, err := s.clearings()
	if err != nil {
		return err
	}
	if err := s.dir.WriteFile(clearingName, []byte(strconv.Itoa(attempts+1)+"\n")); err != nil {
		return err
	}
	if err := clear(); err != nil {
		return err
	}
	return s.dir.Remove(clearingName)
}
