package storage

import (
	"cmp"
	"crypto/rand"
	"errors"
	"slices"
)

// run writes what is put into the queue, as much at once as has gathered meanwhile, until the journal is closed.
func (j *Journal) run() {
	defer close(j.stopped)
	for range j.arrived {
		j.writePending()
	}
	j.writePending() // what came before Close
	if err := j.stop.do("finish the journal", j.opts.WriteLimit, j.last().finish); err != nil {
		j.opts.Log.Warn("the journal's last segment looks as after a crash", "error", err)
	}
}

// last is the segment that is written to. It is the writer's.
func (j *Journal) last() *segment { return j.segments[len(j.segments)-1] }

func (j *Journal) writePending() {
	for {
		batch := j.takePending()
		if len(batch) == 0 {
			return
		}
		err := j.stop.do("append to the journal", j.opts.WriteLimit, func() error { return j.write(batch) })
		for _, w := range batch {
			if w.done != nil {
				w.done <- err
			}
		}
		if err == nil {
			err = j.stop.do("tidy the journal", j.opts.WriteLimit, j.tidy)
		}
		if err != nil {
			return // everything else is refused from here on
		}
	}
}

// takePending takes what one write may bring; at least one caller's.
func (j *Journal) takePending() (batch []*journalWrite) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bytes := 0
	for len(j.pending) > 0 && bytes < journalWriteBytesMax {
		w := j.pending[0]
		j.pending = j.pending[1:]
		batch = append(batch, w)
		for _, value := range w.values {
			bytes += frameSize(len(value))
		}
	}
	return batch
}

// write puts a batch into the last segment, durably, and then into the index. Nobody waits for a removal, but it must not be back much later.
func (j *Journal) write(batch []*journalWrite) error {
	into := j.last()
	var frames []frame
	var added []RecordID
	var places []place
	at := into.size
	add := func(f frame) {
		frames = append(frames, f)
		at += int64(frameSize(len(f.payload)))
	}
	for _, w := range batch {
		for i, value := range w.values {
			added = append(added, w.ids[i])
			places = append(places, place{in: into, at: at + frameHeaderBytes, length: len(value)})
			add(frame{frameRecord, w.ids[i], value})
		}
		if len(w.removed) > 0 {
			var names []byte
			for _, id := range w.removed {
				names = appendRemoved(names, id)
			}
			add(frame{kind: frameRemoved, payload: names})
		}
	}
	if err := into.write(frames, true); err != nil {
		return err
	}
	// Behind what has become durable, so that it can be told from what a crash has torn. It need not be durable itself.
	if err := into.write([]frame{{kind: frameSynced}}, false); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, id := range added {
		j.put(id, places[i])
	}
	j.waiting -= len(added)
	return nil
}

// tidy begins another segment where the last one is full, and drops those in front that hold nothing any more. Only the front goes: a
// removal stands behind its record, and must not go before it.
func (j *Journal) tidy() error {
	if j.last().size >= j.opts.segmentBytes {
		if err := j.last().finish(); err != nil {
			return err
		}
		if err := j.begin(afterRoll); err != nil {
			return err
		}
	}
	if err := j.dropFront(); err != nil {
		return err
	}
	// A few records that stay for long would keep everything behind them: they are written anew.
	if int64(len(j.segments)) > 2*j.opts.BytesMax/j.opts.segmentBytes+4 {
		if err := j.carryFront(); err != nil {
			return err
		}
		return j.dropFront()
	}
	return nil
}

// begin makes a segment the last one.
func (j *Journal) begin(origin segmentOrigin) error {
	name := segmentName{number: 1}
	if len(j.segments) > 0 {
		name.number = j.last().number + 1
	}
	if _, err := rand.Read(name.salt[:]); err != nil {
		return err
	}
	s, err := createSegment(j.files, j.path, name, origin)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments = append(j.segments, s)
	return nil
}

func (j *Journal) dropFront() error {
	for len(j.segments) > 1 {
		front := j.segments[0]
		j.mu.Lock()
		empty := front.live == 0
		if empty {
			j.segments = j.segments[1:]
		}
		j.mu.Unlock()
		if !empty {
			return nil
		}
		// Durably before the next one: behind a gap nothing would be known to be whole.
		if err := errors.Join(front.close(), j.files.Remove(front.path), SyncDir(j.files, j.path)); err != nil {
			return err
		}
	}
	return nil
}

// carryFront writes the records of the first segment to the last one. One that the disk does not give back is set aside.
func (j *Journal) carryFront() error {
	front, into := j.segments[0], j.last()
	j.mu.Lock()
	var ids []RecordID
	places := make(map[RecordID]place)
	for id, at := range j.index {
		if at.in == front {
			ids = append(ids, id)
			places[id] = at
		}
	}
	j.mu.Unlock()
	slices.SortFunc(ids, compareRecords)
	var frames []frame
	at := into.size
	moved := make(map[RecordID]place, len(ids))
	for _, id := range ids {
		value, err := front.read(id, places[id])
		if err != nil {
			if err := j.lose(id, places[id], err); err != nil {
				return err
			}
			continue
		}
		moved[id] = place{in: into, at: at + frameHeaderBytes, length: len(value)}
		frames = append(frames, frame{frameRecord, id, value})
		at += int64(frameSize(len(value)))
	}
	if err := into.write(frames, true); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, at := range moved {
		if _, still := j.index[id]; still { // its removal stands in front of it now, and may be forgotten: it is back after a crash then
			front.live--
			j.put(id, at)
		}
	}
	return nil
}

func compareRecords(a, b RecordID) int {
	return cmp.Or(cmp.Compare(a.Number, b.Number), slices.Compare(a.Origin[:], b.Origin[:]))
}
