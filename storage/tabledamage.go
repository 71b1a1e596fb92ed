package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// reportsAtOnce is how many reports of one table pass without a wait.
	reportsAtOnce = 100
	// reportPause is what each further one takes. Pebble tries a compaction that has failed again at once, for ever.
	reportPause = time.Second
)

// damageReports counts what was told of each table, by its path. The zero value is ready; safe for concurrent use.
type damageReports struct {
	mu    sync.Mutex
	heard map[string]int
	// locked counts exchanges of a group's range that are under way: Pebble reads at its edges then, under the lock of the database.
	locked int
}

// count takes note of a report. first: nothing was told of the table before. slow: whoever reads it is to be slowed down.
func (d *damageReports) count(path string) (first, slow bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.heard == nil {
		d.heard = make(map[string]int)
	}
	d.heard[path]++
	return d.heard[path] == 1, d.heard[path] > reportsAtOnce && d.locked == 0
}

// exchange runs what exchanges a group's range.
func (d *damageReports) exchange(run func() error) error {
	d.mu.Lock()
	d.locked++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.locked--
	}()
	return run()
}

// tableDamaged is told by Pebble of each block of a table that does not read back, whoever read it: a request, which gets ErrCorrupt as
// well, or a compaction, which speaks for no group. The first time of each table it finds out in the background whose data cannot be
// read any more; after some more the reader is slowed down, since a compaction would do nothing else until the groups are cleared.
func (e *engine) tableDamaged(info pebble.DataCorruptionInfo) {
	first, slow := e.damage.count(info.Path)
	if slow {
		select {
		case <-time.After(reportPause):
		case <-e.life.Done():
		}
		return
	}
	e.log.Error("pebble: corruption", "what", info.String())
	if e.onDamage == nil || !first {
		return
	}
	bounds := pebble.KeyRange{Start: bytes.Clone(info.Bounds.Start), End: bytes.Clone(info.Bounds.End.Key)}
	cause := fmt.Errorf("%w: %s", ErrCorrupt, info.String())
	e.background.Add(1)
	go func() {
		defer e.background.Done()
		if groups := e.damagedGroups(bounds); len(groups) > 0 {
			e.onDamage(groups, cause)
		}
	}()
}

// damagedGroups are those of which something cannot be read. Where all of them can, the damage is in what is deleted already, and
// compactions will meet it again: then they are all that the table holds. Nothing is answered once the engine closes.
func (e *engine) damagedGroups(bounds pebble.KeyRange) (damaged []uint32) {
	if <-e.opened; e.db == nil {
		return nil // it did not open, which says more
	}
	groups, err := groupsIn(e.db)
	if err == nil {
		for _, group := range groups {
			if err := e.readable(e.life, group); errors.Is(err, ErrCorrupt) {
				damaged = append(damaged, group)
			}
		}
	}
	if e.life.Err() != nil || len(damaged) > 0 {
		return damaged
	}
	first, last := groupOfKey(bounds.Start), groupOfKey(bounds.End)
	if err != nil { // the jump from group to group met the damage itself, so who lies in between is not known
		for group := first; group <= min(last, first+groupsGuessed); group++ {
			damaged = append(damaged, group)
		}
		return damaged
	}
	for _, group := range groups {
		if first <= group && group <= last {
			damaged = append(damaged, group)
		}
	}
	return damaged
}

// groupsGuessed bounds the groups that are named because a table's bounds have them in between.
const groupsGuessed = 4096

func groupOfKey(key []byte) uint32 {
	if len(key) < 4 {
		return 0
	}
	return min(binary.BigEndian.Uint32(key), GroupMax)
}

// readable reads all that the engine has of a group.
func (e *engine) readable(ctx context.Context, group uint32) (err error) {
	iter, err := e.db.NewIter(&pebble.IterOptions{LowerBound: groupPrefix(group), UpperBound: groupEnd(group)})
	if err != nil {
		return wrap("check", err)
	}
	defer func() { err = errors.Join(err, wrap("check", iter.Close())) }()
	for found := iter.First(); found; found = iter.Next() {
		if _, err := iter.ValueAndErr(); err != nil {
			return wrap("check", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return wrap("check", iter.Error())
}

// excise takes a group's range out of the tables without reading what is in it, so that it works on damaged ones too, and nothing
// compacts them afterwards. Durable when it returns.
func (e *engine) excise(operation string, group uint32) error {
	return e.stop.do(operation, 0, func() error {
		return e.damage.exchange(func() error {
			return e.db.Excise(context.Background(), pebble.KeyRange{Start: groupPrefix(group), End: groupEnd(group)})
		})
	})
}
