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
	"slices"
	"time"

	"parley/cluster/transport"
	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
	"parley/storage"
)

// copyPatience is how long a replica may take to come to the index that a copy has to have.
const copyPatience = 2 * time.Second

// ShardCopy is all that a shard's own slots hold, as of one applied index. It belongs to one goroutine, which closes it.
type ShardCopy struct {
	ShardCopyHead
	source io.ReadCloser
	in     *fsm.RecordReader
	summer *fsm.Summer
}

// ShardCopyHead says what state a copy is of.
type ShardCopyHead struct {
	Shard fsm.ShardID
	Node  string // whose replica it is
	Index uint64 // that was applied
	// IndexBase: no incarnation of a room that the shard has given is above it, as ActivateSlot wants it.
	IndexBase uint64
	Millis    uint64 // hub time
	Format    fsm.Format
	Slots     []meta.SlotPlace // that the shard owns, in order; what it has of others is not in the copy
}

// copyRequest asks a node for a copy of its replica.
//
//	struct {
//	    uint8 version = 1;
//	    uint32 shard;
//	    uint64 at_least; // an older state is of no use
//	} CopyRequest;
//
//	struct {
//	    opaque head<V>;            // CopyHead
//	    SnapshotRecord records[...]; // as in fsm's Snapshot, in ascending order
//	    uint32 end = 0;
//	    uint64 count;
//	    uint64 bytes;
//	    opaque digest[32];
//	} CopyAnswer;
//
//	struct {
//	    uint8 version = 1;
//	    uint64 applied;
//	    uint64 index_base;
//	    uint64 millis;
//	    uint32 format;
//	    CopySlot slots<V>;
//	} CopyHead;
//
//	struct { uint16 slot; uint64 generation; } CopySlot;
const (
	copyVersion      = 1
	copyHeadBytesMax = 1 << 20
)

// OpenShardCopy begins a copy of a shard that has all that was decided before the call: a fence says which index that is at least, and a
// follower gives the copy where one has come to it, so that the leader has the more for what it alone can do. How fast it comes is the
// reader's to say. A copy whose node goes in the middle ends with an error; another may be opened.
func (n *Node) OpenShardCopy(ctx context.Context, shard fsm.ShardID) (*ShardCopy, error) {
	place, known := n.Map().Shard(shard)
	if !known {
		return nil, &RefusedError{fmt.Sprintf("there is no shard %d", shard)}
	}
	_, index, err := n.ProposeTo(ctx, shard, fsm.Fence{})
	if err != nil {
		return nil, fmt.Errorf("a fence in shard %d: %w", shard, err)
	}
	var wrong []error
	for _, source := range n.copySources(place) {
		c, err := n.openCopyAt(ctx, source, shard, index)
		if err == nil {
			return c, nil
		}
		wrong = append(wrong, fmt.Errorf("node %s: %w", source, err))
	}
	return nil, fmt.Errorf("no replica of shard %d gives a copy at %d: %w", shard, index, errors.Join(wrong...))
}

// copySources are the nodes with a replica, in the order in which they are asked: this one where it follows, the other followers, the leader.
func (n *Node) copySources(place meta.Shard) []string {
	leader := n.leaderOf(place.ID)
	sources := slices.Clone(place.Replicas)
	rank := func(node string) int {
		switch node {
		case leader:
			return 2
		case n.id:
			return 0
		default:
			return 1
		}
	}
	slices.SortStableFunc(sources, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return sources
}

func (n *Node) openCopyAt(ctx context.Context, source string, shard fsm.ShardID, atLeast uint64) (*ShardCopy, error) {
	stream, err := n.openCopyStream(ctx, source, copyRequestOf(shard, atLeast))
	if err != nil {
		return nil, err
	}
	c := &ShardCopy{source: stream, in: fsm.NewRecordReader(stream, stateBuffer), summer: fsm.NewSummer()}
	if err := c.readHead(shard, source); err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return c, nil
}

func copyRequestOf(shard fsm.ShardID, atLeast uint64) []byte {
	var w mls.Writer
	w.Uint8(copyVersion)
	w.Uint32(uint32(shard))
	w.Uint64(atLeast)
	return w.Bytes()
}

func (n *Node) openCopyStream(ctx context.Context, source string, request []byte) (io.ReadCloser, error) {
	if source == n.id {
		return n.pipeCopy(ctx, request)
	}
	address, known := n.addressOf(source)
	if !known {
		return nil, fmt.Errorf("no address of it is known")
	}
	return n.port.Stream(ctx, source, address, methodCopy, request)
}

// copyMost bounds a copy of this node's own replica. One that takes longer is begun again by whoever wants it.
const copyMost = 24 * time.Hour

// pipeCopy copies this node's own replica. The node waits for it when it closes.
func (n *Node) pipeCopy(ctx context.Context, request []byte) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeout(ctx, copyMost)
	ctx, done, err := n.begin(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	out, in := io.Pipe()
	stop := context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) }) // nobody may be reading
	go func() {
		defer done()
		in.CloseWithError(cmp.Or(n.streamCopy(ctx, n.id, request, in), io.EOF))
		stop()
	}()
	return pipedCopy{out, cancel}, nil
}

type pipedCopy struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (p pipedCopy) Close() error {
	p.cancel()
	return p.PipeReader.Close()
}

func (c *ShardCopy) readHead(shard fsm.ShardID, node string) error {
	var length [4]byte
	if _, err := io.ReadFull(c.in, length[:]); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(length[:])
	if size > copyHeadBytesMax {
		return fmt.Errorf("a head of %d bytes", size)
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(c.in, raw); err != nil {
		return err
	}
	r := mls.NewReader("CopyHead", raw)
	if version := r.Uint8("version"); version != copyVersion {
		r.Fail("version", "is not known")
	}
	c.ShardCopyHead = ShardCopyHead{
		Shard: shard, Node: node, Index: r.Uint64("applied"), IndexBase: r.Uint64("index_base"), Millis: r.Uint64("millis"), Format: fsm.Format(r.Uint32("format")),
		Slots: mls.ReadList(r, "slots", func(r *mls.Reader) meta.SlotPlace {
			return meta.SlotPlace{Slot: fsm.SlotID(r.Uint16("slot")), Shard: shard, Generation: r.Uint64("generation")}
		}),
	}
	return r.Close()
}

// Next returns one record, or nil for the key when all that the source had have come. The slices are valid until the next call.
func (c *ShardCopy) Next() (key, value []byte, err error) {
	key, value, err = c.in.Next()
	if err != nil {
		return nil, nil, err
	}
	if key != nil {
		c.summer.Add(key, value)
		return key, value, nil
	}
	var end [8 + 8 + 32]byte
	if _, err := io.ReadFull(c.in, end[:]); err != nil {
		return nil, nil, err
	}
	said := fsm.Sum{Count: binary.BigEndian.Uint64(end[:]), Bytes: binary.BigEndian.Uint64(end[8:]), Digest: [32]byte(end[16:])}
	if sum := c.summer.Sum(); sum != said {
		return nil, nil, fmt.Errorf("%w: %d records of %d bytes came of %d of %d", fsm.ErrSnapshot, sum.Count, sum.Bytes, said.Count, said.Bytes)
	}
	return nil, nil, nil
}

// Close gives up what has not been read.
func (c *ShardCopy) Close() error { return c.source.Close() }

// streamCopy answers methodCopy with what this node's replica has of the slots that the shard owns.
func (n *Node) streamCopy(ctx context.Context, _ string, payload []byte, w io.Writer) (err error) {
	r := mls.NewReader("CopyRequest", payload)
	if version := r.Uint8("version"); version != copyVersion {
		r.Fail("version", "is not known")
	}
	shard, atLeast := fsm.ShardID(r.Uint32("shard")), r.Uint64("at_least")
	if err := r.Close(); err != nil {
		return err
	}
	replica := n.replica(shard)
	if replica == nil {
		return &transport.RemoteError{Code: "no_replica", Message: fmt.Sprintf("shard %d is not here", shard)}
	}
	if err := replica.reach(ctx, atLeast, copyPatience); err != nil {
		return &transport.RemoteError{Code: codeBehind, Message: fmt.Sprintf("shard %d is at %d here", shard, replica.machine.applied.current())}
	}
	view, err := replica.view()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	return writeCopy(ctx, view, newStateWriter(w))
}

func writeCopy(ctx context.Context, view *storage.View, out *bufio.Writer) error {
	owned, err := writeCopyHead(view, out)
	if err != nil {
		return err
	}
	sum := fsm.NewSummer()
	for _, slot := range owned {
		lower, upper := binary.BigEndian.AppendUint16(nil, uint16(slot)), binary.BigEndian.AppendUint16(nil, uint16(slot)+1)
		err := view.Scan(lower, upper, func(key, value []byte) (bool, error) {
			sum.Add(key, value)
			return true, cmp.Or(ctx.Err(), fsm.WriteRecord(out, key, value))
		})
		if err != nil {
			return err
		}
	}
	if err := fsm.WriteRecordsEnd(out); err != nil {
		return err
	}
	total := sum.Sum()
	end := binary.BigEndian.AppendUint64(nil, total.Count)
	end = binary.BigEndian.AppendUint64(end, total.Bytes)
	if _, err := out.Write(append(end, total.Digest[:]...)); err != nil {
		return err
	}
	return out.Flush()
}

func writeCopyHead(view *storage.View, out io.Writer) (owned []fsm.SlotID, err error) {
	millis, err := fsm.ReadClock(view)
	if err != nil {
		return nil, err
	}
	format, err := fsm.ReadFormat(view)
	if err != nil {
		return nil, err
	}
	used, err := fsm.ReadIncarnationsUsed(view, view.Applied())
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(copyVersion)
	w.Uint64(view.Applied())
	w.Uint64(used)
	w.Uint64(millis)
	w.Uint32(uint32(format))
	w.Vector(func(w *mls.Writer) {
		err = fsm.VisitOwnedSlots(view, func(slot fsm.SlotID, o fsm.Ownership) (bool, error) {
			w.Uint16(uint16(slot))
			w.Uint64(o.Generation)
			owned = append(owned, slot)
			return true, nil
		})
	})
	if err != nil {
		return nil, err
	}
	_, err = out.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(w.Bytes()))), w.Bytes()...))
	return owned, err
}

// MetaCopy is what a restored cluster takes over of the map, as of one index of the meta group: settings, peers, and the hub's keys, whose
// private halves are sealed.
type MetaCopy struct {
	Index   uint64
	Map     *meta.Map
	Records []MetaRecord // in order of their keys
}

// MetaRecord is one record of the map's state.
type MetaRecord struct{ Key, Value []byte }

// CopyMeta reads it once this node knows all that was decided before the call.
func (n *Node) CopyMeta(ctx context.Context) (*MetaCopy, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if !n.Map().Initialised() {
		return nil, ErrNotInitialised
	}
	// What is so already goes through the log all the same.
	if err := n.change(ctx, meta.UpdateNode{Node: n.self()}); err != nil {
		return nil, err
	}
	view, err := n.meta.machine.state.View()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	c := &MetaCopy{Index: view.Applied()}
	if c.Map, err = meta.ReadMap(view); err != nil {
		return nil, err
	}
	err = view.Scan(nil, nil, func(key, value []byte) (bool, error) {
		if meta.Restorable(key) {
			c.Records = append(c.Records, MetaRecord{bytes.Clone(key), bytes.Clone(value)})
		}
		return true, nil
	})
	return c, err
}
