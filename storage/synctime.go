package storage

import (
	"errors"
	"path/filepath"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// syncProbeBytes is what each probe of MeasureSync writes.
const syncProbeBytes = 4 << 10

// MeasureSync makes a number of small durable writes in the directory, one after the other, and answers how long they took, the shortest
// first. It leaves nothing behind.
func (d *Dir) MeasureSync(rounds int) (took []time.Duration, err error) {
	path := filepath.Join(d.path, "SYNCTIME"+temporarySuffix)
	file, err := d.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close(), d.fs.Remove(path)) }()
	content := make([]byte, syncProbeBytes)
	for range rounds {
		began := time.Now()
		if _, err := file.Write(content); err != nil {
			return nil, err
		}
		if err := file.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took, nil
}
