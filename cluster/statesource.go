package cluster

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/time/rate"

	"parley/cluster/transport"
	"parley/fsm"
	"parley/fsm/meta"
)

const (
	// stateBuffer is the size of the pieces in which a state travels and is written.
	stateBuffer = 256 << 10

	// sourcePatience is how long a node that is asked for its state waits until it has come to the index that is needed.
	sourcePatience = 2 * time.Second

	// rangeBytesMax is more than any range that is held has, so where more is between its ends it is another. To compare all of it would
	// be silence: a replica that was away from the beginning holds a short range around everything.
	rangeBytesMax = 24 << 20

	// quietBytesMax is how much may be compared before the other end hears of it.
	quietBytesMax = 8 << 20

	// readShare is how much less a byte counts for the pace that is read and not sent.
	readShare = 8
)

// errLongRange ends a comparison.
var errLongRange = errors.New("there is more in the range than can be held")

// codeBehind answers who asks for a state that this node does not have yet.
const codeBehind = "behind"

// streamState answers methodState with a group's state, less what the other end has: the present state, or the one that somebody was
// sent a part of a short time ago. Who was cut off asks again, here or elsewhere, and offers what has come so far.
func (n *Node) streamState(ctx context.Context, _ string, payload []byte, w io.Writer) (err error) {
	request, err := decodeStateRequest(payload)
	if err != nil {
		return err
	}
	m := n.machineOf(request.group)
	if m == nil {
		return &transport.RemoteError{Code: "no_replica", Message: fmt.Sprintf("group %d is not here", request.group)}
	}
	patience, cancel := context.WithTimeout(ctx, sourcePatience)
	defer cancel()
	if err := m.applied.wait(patience, request.atLeast); err != nil {
		return &transport.RemoteError{Code: codeBehind, Message: fmt.Sprintf("group %d is at %d here", request.group, m.applied.current())}
	}
	estimate, err := m.state.EstimateBytes()
	if err != nil {
		return err
	}
	done, err := m.hold.lend(estimate) // from before the view on: its next entry has to be there later
	if err != nil {
		return err
	}
	defer done()
	view, err := m.lent.borrow(m.state, request.atLeast)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.lent.giveBack(view, err == nil, m.fatal)) }()
	s := &stateSource{ctx: ctx, state: view, out: newStateWriter(w), pace: n.statePace, total: fsm.NewSummer()}
	return s.send(view.Applied(), estimate, request.held)
}

func newStateWriter(w io.Writer) *bufio.Writer { return bufio.NewWriterSize(w, stateBuffer) }

// newPace limits what a node reads and sends for others' states, so that it goes on serving.
func newPace(bytesPerSecond uint64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(bytesPerSecond), paceStep)
}

// setPace holds this node to what the cluster allows for moves, or to its own rate where that is less.
func (n *Node) setPace(current *meta.Map) {
	pace := cmp.Or(n.config.StateRate, defaultStateRate)
	if rules, _ := current.Placement(); rules.BytesPerSecond > 0 {
		pace = min(pace, rules.BytesPerSecond)
	}
	if limit := rate.Limit(pace); n.statePace.Limit() != limit {
		n.statePace.SetLimit(limit)
	}
}

// paceStep is how many bytes pass at once.
const paceStep = 512 << 10

// stateSource sends one state. It belongs to one goroutine.
type stateSource struct {
	ctx   context.Context
	state fsm.Reader // one applied index
	out   *bufio.Writer
	pace  *rate.Limiter
	total *fsm.Summer

	owed  int // bytes that the pace has not been told of
	quiet int // bytes that were read since the other end heard something
}

// send walks the state along the ranges that the other end holds. Each record is read once, and once more where a range has
// turned out to differ.
func (s *stateSource) send(applied, estimate uint64, held []heldRange) error {
	head := binary.BigEndian.AppendUint64([]byte{stateVersion}, applied)
	if _, err := s.out.Write(binary.BigEndian.AppendUint64(head, estimate)); err != nil {
		return err
	}
	var at []byte
	for i, h := range held {
		if !bytes.Equal(at, h.after) {
			if err := s.records(at, h.after, true); err != nil {
				return err
			}
		}
		if err := s.compare(i, h); err != nil {
			return err
		}
		at = h.through
	}
	if err := s.records(at, nil, true); err != nil {
		return err
	}
	sum := s.total.Sum()
	end := binary.BigEndian.AppendUint64([]byte{0, 0, 0, 0, partEnd}, sum.Count)
	end = binary.BigEndian.AppendUint64(end, sum.Bytes)
	if _, err := s.out.Write(append(end, sum.Digest[:]...)); err != nil {
		return err
	}
	return s.out.Flush()
}

// compare says that a range is the same here, or sends what it has.
func (s *stateSource) compare(index int, held heldRange) error {
	sum := fsm.NewSummer()
	var seen []byte
	err := fsm.ScanRange(s.state, held.after, held.through, func(key, value []byte) error {
		if sum.Sum().Bytes > rangeBytesMax {
			return errLongRange
		}
		sum.Add(key, value)
		s.total.Add(key, value)
		seen = append(seen[:0], key...)
		return s.read(len(key) + len(value))
	})
	switch {
	case errors.Is(err, errLongRange):
		if err := s.records(held.after, seen, false); err != nil {
			return err
		}
		return s.records(seen, held.through, true)
	case err != nil:
		return err
	case sum.Sum().Digest != held.digest:
		return s.records(held.after, held.through, false)
	}
	same := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 0, partSame}, uint32(index))
	_, err = s.out.Write(same)
	return err
}

// records sends a range. Its records enter the whole state's sum where they are read for the first time.
func (s *stateSource) records(after, through []byte, first bool) error {
	return fsm.ScanRange(s.state, after, through, func(key, value []byte) error {
		if first {
			s.total.Add(key, value)
		}
		if err := s.wait(len(key) + len(value)); err != nil {
			return err
		}
		s.quiet = 0
		return fsm.WriteRecord(s.out, key, value)
	})
}

func (s *stateSource) read(bytes int) error {
	if s.quiet += bytes; s.quiet >= quietBytesMax {
		s.quiet = 0
		if err := s.out.Flush(); err != nil {
			return err
		}
	}
	return s.wait((bytes + readShare - 1) / readShare)
}

// wait keeps the pace.
func (s *stateSource) wait(bytes int) error {
	for s.owed += bytes; s.owed >= paceStep; s.owed -= paceStep {
		if err := s.pace.WaitN(s.ctx, paceStep); err != nil {
			return err
		}
	}
	return nil
}
