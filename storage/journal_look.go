package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// JournalReport is what LookAtJournal found.
type JournalReport struct {
	Segments int
	Records  int      // that would be there after an opening
	Torn     int      // bytes of an end that was never finished, as a crash leaves it
	Damaged  []string // what cannot be read, and where
	Aside    []string // what earlier openings have kept aside, by file
}

// LookAtJournal reads a journal that nobody has open, and changes nothing of it. Where there is none it finds nothing.
func LookAtJournal(files vfs.FS, path string) (report JournalReport, err error) {
	if files == nil {
		files = vfs.Default
	}
	names, err := segmentNames(files, path)
	if errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	if err != nil {
		return report, err
	}
	report.Segments = len(names)
	there := make(map[RecordID]bool)
	var removed []RecordID
	for i, name := range names {
		if i > 0 && name.number != names[i-1].number+1 {
			report.Damaged = append(report.Damaged, fmt.Sprintf("the segment before %s is missing", name))
		}
		content, err := readWhole(files, filepath.Join(path, name.String()))
		if err != nil {
			return report, err
		}
		found := scanSegment(content, name.salt)
		for _, d := range found.damaged {
			report.Damaged = append(report.Damaged, fmt.Sprintf("%s from byte %d to %d", name, d.from, d.to))
		}
		if found.torn > 0 && (found.ended || i < len(names)-1 && !opensAfter(files, path, names[i+1])) {
			report.Damaged = append(report.Damaged, fmt.Sprintf("%s from byte %d to its end", name, len(content)-found.torn))
		} else {
			report.Torn += found.torn
		}
		for _, r := range found.records {
			there[r.id] = true
		}
		removed = append(removed, found.removed...)
	}
	for _, id := range removed {
		delete(there, id)
	}
	report.Records = len(there)
	report.Aside, err = files.List(filepath.Join(path, asideName))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return report, err
}

// opensAfter is beginsAfterOpening for a journal that is only looked at.
func opensAfter(files vfs.FS, path string, name segmentName) bool {
	return (&Journal{files: files, path: path}).beginsAfterOpening(name)
}
