package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"parley/fsm"
	"parley/storage"
)

// chunkBytes is when a chunk is closed and the next begun. What a cut costs is less than one.
const chunkBytes = 2 << 20

// fetchProgress says how far a replica has come in fetching a state. Bytes are those of records. Safe for concurrent use.
type fetchProgress struct {
	source   atomic.Pointer[string] // who is asked; nil where no state is being fetched
	fetched  atomic.Uint64          // bytes that came over the network, since the start
	former   atomic.Uint64          // of them, for states that have replaced this replica's
	arrived  atomic.Uint64          // that came in this attempt
	reused   atomic.Uint64          // that were here already, in this attempt
	written  atomic.Uint64          // of the new state, into the tables that are to replace the old one's
	estimate atomic.Uint64          // about what the state has; 0 before the source has said it
}

// begin notes the source that an attempt asks.
func (p *fetchProgress) begin(source string) {
	p.arrived.Store(0)
	p.reused.Store(0)
	p.written.Store(0)
	p.source.Store(&source)
}

// took counts a record that came over the network.
func (p *fetchProgress) took(bytes uint64) {
	p.arrived.Add(bytes)
	p.fetched.Add(bytes)
}

// end: nothing is being fetched any more. What came for a state that is not in use yet counts again for the next attempt at it.
func (p *fetchProgress) end(replaced bool) {
	p.source.Store(nil)
	p.estimate.Store(0)
	if replaced {
		p.former.Store(p.fetched.Load())
	}
}

// status is the progress as an operator sees it; nil where no state is being fetched.
func (p *fetchProgress) status() *FetchStatus {
	source := p.source.Load()
	if source == nil {
		return nil
	}
	reused := p.reused.Load()
	return &FetchStatus{
		Source: *source, Fetched: p.fetched.Load() - p.former.Load(), Reused: reused, Here: p.arrived.Load() + reused,
		Written: p.written.Load(), Total: p.estimate.Load(),
	}
}

// fetch brings one source's present state into a stage. It belongs to one goroutine.
type fetch struct {
	stage    *stage
	own      *storage.View // the replica's own state; nil where it has none that can be read
	progress *fetchProgress

	offers  []offer
	passed  int // offers that the answer has come past
	applied uint64
	at      []byte // everything up to here is in the stage
	open    *chunkWriter
}

// offer lists what is here already. The replica's own state is worth reading only where a source is about to read as much.
func (f *fetch) offer(ctx context.Context, estimate uint64) error {
	var own []heldRange
	if f.own != nil {
		var err error
		own, err = ownRanges(f.own, estimate, func(int) error { return ctx.Err() })
		if err != nil {
			return err
		}
	}
	f.offers = offersOf(f.stage.chunks, own)
	return nil
}

// held are the offers as a request names them.
func (f *fetch) held() []heldRange {
	held := make([]heldRange, len(f.offers))
	for i, o := range f.offers {
		held[i] = o.heldRange
	}
	return held
}

// receive reads an answer to its end and seals the stage. After an error the stage keeps what has come so far.
func (f *fetch) receive(answer io.Reader) (stageSeal, error) {
	in := fsm.NewRecordReader(answer, stateBuffer)
	end, err := f.parts(in)
	if f.open != nil {
		err = errors.Join(err, f.finish())
	}
	if err != nil {
		return stageSeal{}, err
	}
	as := stageSeal{applied: f.applied, sum: end}
	return as, f.stage.close(as)
}

func (f *fetch) parts(in *fsm.RecordReader) (fsm.Sum, error) {
	var head [1 + 8 + 8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return fsm.Sum{}, err
	}
	if head[0] != stateVersion {
		return fsm.Sum{}, fmt.Errorf("version %d of a state's answer is not known", head[0])
	}
	f.applied = binary.BigEndian.Uint64(head[1:])
	estimate := binary.BigEndian.Uint64(head[9:])
	f.progress.estimate.Store(estimate)
	// It is here twice before it takes the old one's place: in chunks, and in tables.
	if err := f.stage.hasRoom(2*estimate - min(f.stage.bytes(), estimate)); err != nil {
		return fsm.Sum{}, err
	}
	for {
		key, value, err := in.Next()
		if err != nil {
			return fsm.Sum{}, err
		}
		if key != nil {
			if err := f.record(key, value); err != nil {
				return fsm.Sum{}, err
			}
			f.progress.took(uint64(len(key) + len(value)))
			continue
		}
		sum, ended, err := f.mark(in)
		if err != nil || ended {
			return sum, err
		}
	}
}

// record takes one record that is not here yet.
func (f *fetch) record(key, value []byte) error {
	if bytes.Compare(key, f.at) <= 0 {
		return fmt.Errorf("%w: its keys are out of order", fsm.ErrSnapshot)
	}
	if f.open == nil {
		var err error
		if f.open, err = f.stage.begin(f.at, f.applied); err != nil {
			return err
		}
	}
	if err := f.open.add(key, value); err != nil {
		return err
	}
	f.at = append(f.at[:0], key...)
	if f.open.chunk.sum.Bytes < chunkBytes {
		return nil
	}
	return f.finish()
}

// finish closes the chunk that is being written. What it covers anew is no longer in any other.
func (f *fetch) finish() error {
	writer := f.open
	f.open = nil
	written, err := writer.finish()
	if err != nil {
		return err
	}
	for _, c := range f.stage.overlapping(written) {
		if err := f.stage.drop(c); err != nil {
			return err
		}
	}
	f.stage.add(written)
	return nil
}

// mark reads a part that is no record.
func (f *fetch) mark(in *fsm.RecordReader) (sum fsm.Sum, ended bool, err error) {
	kind, err := in.ReadByte()
	if err != nil {
		return sum, false, err
	}
	switch kind {
	case partSame:
		var index [4]byte
		if _, err := io.ReadFull(in, index[:]); err != nil {
			return sum, false, err
		}
		return sum, false, f.same(int(binary.BigEndian.Uint32(index[:])))
	case partEnd:
		var end [8 + 8 + 32]byte
		if _, err := io.ReadFull(in, end[:]); err != nil {
			return sum, false, err
		}
		sum = fsm.Sum{Count: binary.BigEndian.Uint64(end[:]), Bytes: binary.BigEndian.Uint64(end[8:])}
		copy(sum.Digest[:], end[16:])
		return sum, true, f.pass(len(f.offers))
	default:
		return sum, false, fmt.Errorf("%w: part %d is not known", fsm.ErrSnapshot, kind)
	}
}

// same takes a range that is here already.
func (f *fetch) same(index int) error {
	if index < f.passed || index >= len(f.offers) {
		return fmt.Errorf("%w: range %d was not offered", fsm.ErrSnapshot, index)
	}
	o := f.offers[index]
	if bytes.Compare(o.after, f.at) < 0 {
		return fmt.Errorf("%w: range %d is out of order", fsm.ErrSnapshot, index)
	}
	if err := f.pass(index); err != nil {
		return err
	}
	f.passed = index + 1
	if o.chunk != nil {
		if f.open != nil {
			if err := f.finish(); err != nil {
				return err
			}
		}
		f.progress.reused.Add(o.chunk.sum.Bytes)
		f.at = append(f.at[:0], o.through...)
		return nil
	}
	return fsm.ScanRange(f.own, o.after, o.through, func(key, value []byte) error {
		f.progress.reused.Add(uint64(len(key) + len(value)))
		return f.record(key, value)
	})
}

// pass drops the chunks that were offered before an index and are not what the state has.
func (f *fetch) pass(index int) error {
	for ; f.passed < index; f.passed++ {
		c := f.offers[f.passed].chunk
		if c == nil || !f.stage.has(c) {
			continue
		}
		if err := f.stage.drop(c); err != nil {
			return err
		}
	}
	return nil
}
