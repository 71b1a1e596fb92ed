package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// segment is one file of a journal.
type segment struct {
	segmentName
	path    string
	reading vfs.File
	readers sync.WaitGroup // Add under the journal's mu, while the segment has live records

	live int // records that are in the journal's index; under its mu

	// Of the journal's writer, while it is the last one:
	writing vfs.File
	size    int64
}

// segmentOrigin is the payload of a segment's first frame: whether the one before it was left in good order.
type segmentOrigin byte

const (
	afterRoll    segmentOrigin = 1
	afterOpening segmentOrigin = 2 // the one before may end in the middle of a frame, for the process may have died
)

func openSegment(files vfs.FS, dir string, name segmentName) (*segment, error) {
	s := &segment{segmentName: name, path: filepath.Join(dir, name.String())}
	var err error
	s.reading, err = files.Open(s.path)
	return s, err
}

// createSegment makes a segment, durably, that can be written to.
func createSegment(files vfs.FS, dir string, name segmentName, origin segmentOrigin) (*segment, error) {
	s := &segment{segmentName: name, path: filepath.Join(dir, name.String())}
	var err error
	if s.writing, err = files.Create(s.path, vfs.WriteCategoryUnspecified); err != nil {
		return nil, err
	}
	err = makeFilePrivate(s.writing)
	if err == nil {
		err = s.write([]frame{{kind: frameBegin, id: RecordID{Number: name.number}, payload: []byte{byte(origin)}}}, true)
	}
	if err == nil {
		err = SyncDir(files, dir)
	}
	if err == nil {
		s.reading, err = files.Open(s.path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make segment %s: %w", name, err), s.close())
	}
	return s, nil
}

// write appends frames in one write.
func (s *segment) write(frames []frame, durable bool) error {
	size := 0
	for _, f := range frames {
		size += frameSize(len(f.payload))
	}
	b := make([]byte, 0, size)
	for _, f := range frames {
		b = f.appendTo(b, s.salt)
	}
	if _, err := s.writing.Write(b); err != nil {
		return err
	}
	s.size += int64(len(b))
	if durable {
		return s.writing.Sync()
	}
	return nil
}

// read returns a record's value after it has compared it with its checksums.
func (s *segment) read(id RecordID, at place) ([]byte, error) {
	b := make([]byte, frameSize(at.length))
	if n, err := s.reading.ReadAt(b, at.at-frameHeaderBytes); n < len(b) { // at the end of the file err may be set although all was read
		return nil, fmt.Errorf("record %d in %s: %w: %w", id.Number, s.segmentName, ErrCorrupt, err)
	}
	f, _, state := readFrame(b, s.salt)
	if state != frameWhole || f.kind != frameRecord || f.id != id {
		return nil, fmt.Errorf("record %d in %s: %w", id.Number, s.segmentName, ErrCorrupt)
	}
	return f.payload, nil
}

// finish makes the end of the segment known and gives up writing to it.
func (s *segment) finish() error {
	if s.writing == nil {
		return nil
	}
	err := s.write([]frame{{kind: frameEnd}}, true)
	err = errors.Join(err, s.writing.Close())
	s.writing = nil
	return err
}

func (s *segment) close() (err error) {
	s.readers.Wait()
	if s.writing != nil {
		err = s.writing.Close()
		s.writing = nil
	}
	if s.reading != nil {
		err = errors.Join(err, s.reading.Close())
		s.reading = nil
	}
	return err
}
