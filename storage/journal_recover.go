package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
)

// recover finds the records of an earlier opening, tells of what cannot be read, and begins a segment of its own: behind what a crash has
// left nothing is ever written.
func (j *Journal) recover(visit func(RecordID, []byte)) error {
	if err := errors.Join(makePrivateDir(j.files, j.path), makePrivateDir(j.files, j.aside())); err != nil {
		return err
	}
	names, err := segmentNames(j.files, j.path)
	if err != nil {
		return err
	}
	var removed []RecordID
	for i, name := range names {
		s, err := openSegment(j.files, j.path, name)
		if err != nil {
			return err
		}
		j.segments = append(j.segments, s)
		gone, err := j.recoverSegment(s, i, names)
		if err != nil {
			return err
		}
		removed = append(removed, gone...)
	}
	for _, id := range removed {
		if at, found := j.index[id]; found {
			j.drop(id, at)
		}
	}
	if err := j.visitAll(visit); err != nil {
		return err
	}
	if err := errors.Join(j.begin(afterOpening), j.dropFront()); err != nil {
		return err
	}
	return j.countAside()
}

func (j *Journal) recoverSegment(s *segment, i int, names []segmentName) (removed []RecordID, err error) {
	content, err := readWhole(j.files, s.path)
	if err != nil {
		return nil, err
	}
	found := scanSegment(content, s.salt)
	if i > 0 && s.number != names[i-1].number+1 {
		if err := j.setAside(fmt.Sprintf("%016x-missing", s.number-1), nil, "a segment is missing"); err != nil {
			return nil, err
		}
	}
	last := i == len(names)-1
	if !found.ended {
		// Of the last one, or of what was the last one when a process died, the end may be torn: nobody was answered for that.
		expected := last || j.beginsAfterOpening(names[i+1])
		switch {
		case !expected:
			end := len(content) - found.torn
			err = j.setAside(fmt.Sprintf("%016x-%d-cut", s.number, end), content[end:], "a segment is cut off")
		case found.torn > 0 && last:
			j.opts.Log.Warn("the end of the journal was never finished, as a crash leaves it", "segment", s.segmentName, "bytes", found.torn)
		}
	} else if found.torn > 0 { // behind the end there is nothing
		end := len(content) - found.torn
		err = j.setAside(fmt.Sprintf("%016x-%d", s.number, end), content[end:], "something stands behind the end of a segment")
	}
	for _, d := range found.damaged {
		err = errors.Join(err, j.setAside(fmt.Sprintf("%016x-%d", s.number, d.from), content[d.from:d.to], "a part of a segment cannot be read"))
	}
	for _, r := range found.records {
		j.next = max(j.next, r.id.Number+1)
		if before, twice := j.index[r.id]; twice { // it was carried on
			j.drop(r.id, before)
		}
		j.put(r.id, place{in: s, at: int64(r.payload.from), length: r.payload.to - r.payload.from})
		j.bytes += int64(r.payload.to - r.payload.from)
	}
	return found.removed, err
}

// beginsAfterOpening reports whether a segment was begun by an opening of the journal.
func (j *Journal) beginsAfterOpening(name segmentName) bool {
	content, err := readWhole(j.files, filepath.Join(j.path, name.String()))
	if err != nil {
		return false
	}
	f, _, state := readFrame(content, name.salt)
	// A file without content was made by an opening or a roll that died before it was durable, and a roll finishes the one before first.
	return len(content) == 0 || state == frameWhole && f.kind == frameBegin && len(f.payload) == 1 && segmentOrigin(f.payload[0]) == afterOpening
}

// visitAll shows all records in order. A record that the disk does not give back a second time is lost as a damaged one is.
func (j *Journal) visitAll(visit func(RecordID, []byte)) error {
	ids := make([]RecordID, 0, len(j.index))
	for id := range j.index {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, compareRecords)
	for _, id := range ids {
		at := j.index[id]
		value, err := at.in.read(id, at)
		if err != nil {
			if err := j.lose(id, at, err); err != nil {
				return err
			}
			continue
		}
		visit(id, value)
	}
	return nil
}

// setAside keeps what could not be read, so that somebody can look at it, and tells of it. What is there already is left as it is.
func (j *Journal) setAside(name string, content []byte, what string) error {
	j.opts.Log.Error("the journal is damaged", "what", what, "bytes", len(content), "kept", filepath.Join(j.aside(), name))
	path := filepath.Join(j.aside(), name)
	if _, err := j.files.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return writeFile(j.files, path, content)
}

// lose takes out a record that the disk does not give back.
func (j *Journal) lose(id RecordID, at place, cause error) error {
	err := j.setAside(fmt.Sprintf("%016x-%d", at.in.number, at.at), []byte(cause.Error()), "a record cannot be read")
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, still := j.index[id]; still {
		j.drop(id, at)
		j.damaged++
	}
	return err
}

func (j *Journal) countAside() error {
	names, err := j.files.List(j.aside())
	j.damaged = len(names)
	return err
}
