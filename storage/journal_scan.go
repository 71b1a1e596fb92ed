package storage

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// extent is a part of a segment.
type extent struct{ from, to int }

// scanned is what could be read of a segment.
type scanned struct {
	records []scannedRecord
	removed []RecordID
	damaged []extent // what could not be read, but for a torn end
	torn    int      // bytes behind the last frame that can be read, as a crash leaves them
	ended   bool     // the segment was left in good order
}

type scannedRecord struct {
	id      RecordID
	payload extent
}

// scanSegment reads all of a segment that can be read. What cannot does not hide what stands behind it.
func scanSegment(content []byte, salt [saltBytes]byte) (s scanned) {
	unread := -1 // where what cannot be read begins
	readable := func(at int) {
		if unread >= 0 {
			s.damaged = append(s.damaged, extent{unread, at})
			unread = -1
		}
	}
	for at := 0; at < len(content); {
		f, size, state := readFrame(content[at:], salt)
		if state != frameWhole && unread < 0 {
			unread = at
		}
		switch state {
		case frameLost:
			at += nextSalt(content[at:], salt)
			continue
		case frameSpoiled:
			at += size
			continue
		}
		readable(at)
		s.take(f, at)
		at += size
	}
	if unread >= 0 {
		s.torn = len(content) - unread
	}
	return s
}

func (s *scanned) take(f frame, at int) {
	switch f.kind {
	case frameRecord:
		from := at + frameHeaderBytes
		s.records = append(s.records, scannedRecord{f.id, extent{from, from + len(f.payload)}})
	case frameRemoved:
		s.removed = append(s.removed, removedIn(f.payload)...)
	case frameEnd:
		s.ended = true
	}
}

// nextSalt is how far it is to where the next frame may begin.
func nextSalt(content []byte, salt [saltBytes]byte) int {
	if found := bytes.Index(content[1:], salt[:]); found >= 0 {
		return 1 + found
	}
	return len(content)
}

const (
	segmentSuffix = ".segment"
	asideName     = "damaged" // a directory of what could not be read
)

// segmentName is a segment's file. Its salt is in the name, so that it is known whatever is damaged.
type segmentName struct {
	number uint64
	salt   [saltBytes]byte
}

func (n segmentName) String() string {
	return fmt.Sprintf("%016x-%x%s", n.number, n.salt, segmentSuffix)
}

func parseSegmentName(name string) (n segmentName, ok bool) {
	number, salt, _ := strings.Cut(strings.TrimSuffix(name, segmentSuffix), "-")
	octets, err := hex.DecodeString(salt)
	if err != nil || len(octets) != saltBytes {
		return n, false
	}
	n.salt = [saltBytes]byte(octets)
	n.number, err = strconv.ParseUint(number, 16, 64)
	return n, err == nil && n.String() == name
}

// segmentNames lists the segments of a journal's directory, in order.
func segmentNames(files vfs.FS, path string) (segments []segmentName, err error) {
	names, err := files.List(path)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if n, ok := parseSegmentName(name); ok {
			segments = append(segments, n)
		}
	}
	slices.SortFunc(segments, func(a, b segmentName) int { return cmp.Compare(a.number, b.number) })
	return segments, nil
}
