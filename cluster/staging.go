package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/cluster/transport"
)

const (
	// stallMax is how long a source may send nothing before the attempt is given up and another one begins.
	stallMax = 30 * time.Second

	// fetchPause is between two attempts, and fetchIdleMax how many in a row may bring nothing before the snapshot is refused; its
	// leader offers it again.
	fetchPause   = 250 * time.Millisecond
	fetchIdleMax = 8

	// roomStep is after how many bytes of the new state the disk is looked at again.
	roomStep = 8 << 20
)

// errNoRoom: a state is not fetched into a disk that it would fill. The node goes on with what else it has.
var errNoRoom = errors.New("the disk has no room for a state")

// roomForState refuses what would touch the disk's reserve, which is for what the groups have to store.
func (n *Node) roomForState(bytes uint64) error {
	free, err := n.stores.dir.FreeBytes()
	switch reserve := n.config.diskReserve(); {
	case errors.Is(err, vfs.ErrUnsupported):
		return nil
	case err != nil:
		return err
	case free < reserve+bytes:
		return fmt.Errorf("%w: %d MiB are free, and it needs %d more and a reserve of %d; make room", errNoRoom, free>>20, bytes>>20, reserve>>20)
	}
	return nil
}

// stageInto fetches a snapshot's state before Raft hears of the snapshot, unless this replica has it already.
func (n *Node) stageInto(m *machine, staged string) transport.Stage {
	return func(ctx context.Context, request *raft.InstallSnapshotRequest, raw []byte) error {
		named, err := decodeManifest(raw)
		if err != nil {
			return err
		}
		if named.group != m.group {
			return fmt.Errorf("the snapshot is of group %d", named.group)
		}
		if m.applied.current() >= named.index {
			return nil
		}
		sources := []string{named.source}
		if sender := string(request.ID); sender != "" && sender != named.source {
			sources = []string{sender, named.source} // the leader has at least what its snapshot names, and is there
		}
		return n.fetchState(ctx, m, staged, named, sources)
	}
}

// fetchState replaces the replica's state by a source's present one. It is first brought onto this disk as a whole, in chunks: a
// source that dies in the middle, or a crash of this node, costs the chunk that was under way. What has come is offered to whichever
// source is asked next, and what is equal there is not sent again.
func (n *Node) fetchState(ctx context.Context, m *machine, staged string, named manifest, sources []string) (err error) {
	fs := n.stores.dir.FS()
	s, err := openStage(fs, staged, m.group)
	if err != nil {
		return fmt.Errorf("stage the state of group %d: %w", m.group, err)
	}
	s.room = n.roomForState
	replaced := false
	defer func() { m.fetching.end(replaced) }()
	for idle := 0; ; {
		before := m.fetching.fetched.Load()
		source := sources[idle%len(sources)]
		m.fetching.begin(source)
		as, err := n.fetchFrom(ctx, m, s, named, source)
		if err == nil {
			if err = m.replaceFrom(ctx, s, as, named.index); err == nil {
				replaced = true
				return s.remove()
			}
			var damaged *damagedChunk
			if errors.As(err, &damaged) { // it rotted on this disk: fetch it again
				err = errors.Join(s.reopen(), s.drop(damaged.chunk))
			}
		}
		switch {
		case errors.Is(err, errNoRoom):
			return fmt.Errorf("fetch the state of group %d from %s: %w", m.group, named.source, err)
		case ctx.Err() != nil:
			return errors.Join(context.Cause(ctx), err)
		case m.applied.current() >= named.index:
			return nil // it has caught up by itself
		case m.fetching.fetched.Load() > before:
			idle = 0
		case idle >= fetchIdleMax:
			return fmt.Errorf("fetch the state of group %d from %s: %w", m.group, named.source, err)
		}
		idle++
		n.log.Info("a state that is being fetched was cut off; it goes on from there", "group", m.group,
			"fetched", m.fetching.fetched.Load(), "of", m.fetching.estimate.Load(), "error", err)
		select {
		case <-time.After(fetchPause):
		case <-ctx.Done():
		}
	}
}

// fetchFrom makes one attempt at one source.
func (n *Node) fetchFrom(ctx context.Context, m *machine, s *stage, named manifest, source string) (_ stageSeal, err error) {
	if err := s.reopen(); err != nil {
		return stageSeal{}, err
	}
	f := &fetch{stage: s, progress: &m.fetching}
	if view, err := m.state.View(); err == nil { // where it is being replaced, there is none to offer
		f.own = view
		defer func() { err = errors.Join(err, view.Close()) }()
	}
	estimate, err := m.state.EstimateBytes()
	if err != nil {
		return stageSeal{}, err
	}
	if err := f.offer(ctx, estimate); err != nil {
		return stageSeal{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(stallMax, func() { cancel(fmt.Errorf("nothing has come for %v", stallMax)) })
	defer stalled.Stop()
	request := stateRequest{group: m.group, atLeast: named.index, held: f.held()}
	answer, err := n.stateOf(ctx, source, request)
	if err != nil {
		return stageSeal{}, err
	}
	defer func() { err = errors.Join(err, answer.Close()) }()
	return f.receive(awaited{answer, stalled})
}

// awaited reads what a source sends, and gives up where one read waits for too long. What is done here with what has come, such as to
// sync it, takes the time that it takes.
type awaited struct {
	source  io.Reader
	stalled *time.Timer
}

func (a awaited) Read(p []byte) (int, error) {
	a.stalled.Reset(stallMax)
	defer a.stalled.Stop()
	return a.source.Read(p)
}

func (n *Node) stateOf(ctx context.Context, source string, request stateRequest) (io.ReadCloser, error) {
	address, known := n.addressOf(source)
	if !known {
		return nil, fmt.Errorf("no address of node %s is known", source)
	}
	return n.port.Stream(ctx, source, address, methodState, request.encode())
}

// finishRestore goes on with an exchange of the state that a crash cut off, and drops what was fetched for one that is not needed any
// more. Without the staged state the mark stays, and the replica is quarantined for it.
func (m *machine) finishRestore(fs vfs.FS, staged string) error {
	if _, err := fs.Stat(staged); err != nil {
		return nil
	}
	s, err := openStage(fs, staged, m.group)
	if err != nil {
		return err
	}
	if !m.state.Restoring() {
		applied, err := m.state.Applied()
		if err != nil || applied < s.newest() {
			return err
		}
		return s.remove()
	}
	as, sealed, err := s.sealed()
	if err != nil || !sealed {
		return err
	}
	if err := m.replaceFrom(context.Background(), s, as, 0); err != nil {
		m.log.Error("a state that was fetched before a crash cannot be used", "group", m.group, "error", err)
		return nil
	}
	return s.remove()
}

// replaceFrom puts a fetched state in the place of this replica's, unless that has caught up by itself meanwhile. The new state is
// written beside the old one first; Raft's entries wait only while the two are exchanged.
func (m *machine) replaceFrom(ctx context.Context, s *stage, as stageSeal, atLeast uint64) error {
	if as.applied < atLeast {
		return fmt.Errorf("the source is at %d, not at %d", as.applied, atLeast)
	}
	replacement, err := m.state.Prepare(ctx, as.applied, func(put func(key, value []byte) error) error {
		return s.read(as, func(key, value []byte) error {
			before := m.fetching.written.Load() / roomStep
			if m.fetching.written.Add(uint64(len(key)+len(value)))/roomStep > before {
				if err := s.hasRoom(roomStep); err != nil {
					return err
				}
			}
			return put(key, value)
		})
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.failed:
		return errors.Join(errStopped, replacement.Discard())
	case atLeast > 0 && m.applied.current() >= atLeast:
		return replacement.Discard()
	}
	err = replacement.Install(context.WithoutCancel(ctx))
	if err == nil {
		err = m.restored()
	}
	if err != nil {
		err = fmt.Errorf("group %d: restore to %d: %w", m.group, as.applied, err)
		if m.running { // once it has begun there is no way back
			m.fail(err)
		}
		return err
	}
	m.applied.advance(as.applied)
	return nil
}
