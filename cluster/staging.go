package cluster

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"

	"parley/cluster/transport"
	"parley/fsm"
	"parley/mls"
)

// streamBuffer is the size of the pieces in which a state travels.
const streamBuffer = 256 << 10

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
		if sender := string(request.ID); sender != "" {
			named.source = sender // the leader has at least what its snapshot names, and is there
		}
		return n.fetchState(ctx, m, staged, named)
	}
}

// fetchState replaces the replica's state by the source's present one. It is first brought onto this disk as a whole: a source
// that dies in the middle must not leave half a state, and a crash in the middle of the exchange is mended from it.
func (n *Node) fetchState(ctx context.Context, m *machine, staged string, named manifest) error {
	if err := n.download(ctx, staged+".part", named); err != nil {
		return fmt.Errorf("fetch the state of group %d from %s: %w", m.group, named.source, err)
	}
	fs := n.stores.dir.FS()
	if err := fs.Rename(staged+".part", staged); err != nil {
		return err
	}
	if err := m.replaceFrom(ctx, fs, staged, named.index); err != nil {
		return err
	}
	return fs.Remove(staged)
}

// finishRestore goes on with an exchange of the state that a crash cut off. Without the staged state the mark stays, and the
// replica is quarantined for it.
func (m *machine) finishRestore(fs vfs.FS, staged string) error {
	if !m.state.Restoring() {
		return nil
	}
	if _, err := fs.Stat(staged); err != nil {
		return nil
	}
	if err := m.replaceFrom(context.Background(), fs, staged, 0); err != nil {
		m.log.Error("a state that was fetched before a crash cannot be used", "group", m.group, "error", err)
		return nil
	}
	return fs.Remove(staged)
}

func (n *Node) download(ctx context.Context, path string, named manifest) (err error) {
	file, err := n.stores.dir.FS().Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := n.receiveState(ctx, file, named); err != nil {
		return err
	}
	return file.Sync()
}

func (n *Node) receiveState(ctx context.Context, to io.Writer, named manifest) (err error) {
	address, known := n.addressOf(named.source)
	if !known {
		return fmt.Errorf("no address of node %s is known", named.source)
	}
	var w mls.Writer
	w.Uint32(named.group)
	w.Uint64(named.index)
	stream, err := n.port.Stream(ctx, named.source, address, methodSnapshot, w.Bytes())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	_, err = io.Copy(to, stream)
	return err
}

// replaceFrom puts a fetched state in the place of this replica's, unless that has caught up by itself meanwhile.
func (m *machine) replaceFrom(ctx context.Context, fs vfs.FS, path string, atLeast uint64) (err error) {
	file, err := fs.Open(path, vfs.SequentialReadsOption)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	var head [8]byte
	if _, err := io.ReadFull(file, head[:]); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch applied := binary.BigEndian.Uint64(head[:]); {
	case m.failed:
		return errStopped
	case applied < atLeast:
		return fmt.Errorf("the source is at %d, not at %d", applied, atLeast)
	case atLeast > 0 && m.applied.current() >= atLeast:
		return nil
	default:
		return m.replace(ctx, applied, file)
	}
}

// replace exchanges the whole state. Once it has begun there is no way back: a running replica that fails here ends the node.
func (m *machine) replace(ctx context.Context, applied uint64, from io.Reader) error {
	err := m.state.Restore(context.WithoutCancel(ctx), applied, func(put func(key, value []byte) error) error {
		return fsm.ReadSnapshot(from, put)
	})
	if err == nil {
		err = m.restored()
	}
	if err != nil {
		err = fmt.Errorf("group %d: restore to %d: %w", m.group, applied, err)
		if m.running {
			m.fail(err)
		}
		return err
	}
	m.applied.advance(applied)
	return nil
}

// streamState answers methodSnapshot with a group's present state behind the index that it is of:
//
//	struct { uint32 group; uint64 at_least; } SnapshotRequest;
//	struct { uint64 applied; opaque state[...]; } SnapshotAnswer;
func (n *Node) streamState(ctx context.Context, _ string, payload []byte, w io.Writer) (err error) {
	r := mls.NewReader("SnapshotRequest", payload)
	id, atLeast := r.Uint32("group"), r.Uint64("at_least")
	if err := r.Close(); err != nil {
		return err
	}
	m := n.machineOf(id)
	if m == nil {
		return &transport.RemoteError{Code: "no_replica", Message: fmt.Sprintf("group %d is not here", id)}
	}
	if err := m.applied.wait(ctx, atLeast); err != nil {
		return err
	}
	view, err := m.state.View()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	buffered := bufio.NewWriterSize(w, streamBuffer)
	if _, err := buffered.Write(binary.BigEndian.AppendUint64(nil, view.Applied())); err != nil {
		return err
	}
	if err := fsm.WriteSnapshot(buffered, view); err != nil {
		return err
	}
	return buffered.Flush()
}
