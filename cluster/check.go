package cluster

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// All replicas of a group are compared at one index while it is written to: whoever checks asks each of them for a view at an index that is
// a little ahead of all (vantage.go), sees to it that the log gets there, and has each sum up what it has, slot by slot.

const (
	// checkAhead is how far ahead of everybody the first index is; checkAheadMax bounds the later ones, of a group that runs away.
	checkAhead    = 8
	checkAheadMax = 1 << 16
	checkRounds   = 8
	// checkTimeout bounds one check where the caller does not.
	checkTimeout = 4 * time.Minute
	// checkShare is how much less a byte counts for the pace of states (Config.StateRate) that is summed up and not sent.
	checkShare = 2
)

// GroupCheck is a comparison of all replicas of a group at one index.
type GroupCheck struct {
	Shard    fsm.ShardID // 0 is the meta group
	Index    uint64
	Replicas []ReplicaCheck // in the map's order
}

// ReplicaCheck is what one replica holds at the index, or why that is not known.
type ReplicaCheck struct {
	Node    string
	Digest  [32]byte // over the digests of its sections
	Records uint64
	Bytes   uint64
	Err     error
	// Differs: it is not what a majority of the group's replicas holds. Where there is no such majority nobody differs, and Equal is false.
	Differs bool
	// Section is the first one in which it differs from that majority, by name: a slot, the shard's own records, a kind of the map's.
	Section string

	sections []section
}

// section is a part of a state with its digest.
type section struct {
	number uint16
	digest [32]byte
}

// Equal reports whether all replicas were compared, and hold the same.
func (c GroupCheck) Equal() bool {
	return len(c.Replicas) > 0 && !slices.ContainsFunc(c.Replicas, func(r ReplicaCheck) bool {
		return r.Err != nil || r.Digest != c.Replicas[0].Digest
	})
}

// Check compares all replicas of a shard, or of the meta group where it is 0, at one index. Nothing has to stand still for it. A replica
// that cannot be compared is an answer; an error says that none could be. It takes at most 4 minutes, or as long as the context has.
func (n *Node) Check(ctx context.Context, shard fsm.ShardID) (GroupCheck, error) {
	ctx, cancel := atMost(ctx, checkTimeout)
	defer cancel()
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return GroupCheck{}, err
	}
	defer done()
	return n.check(ctx, uint32(shard))
}

// atMost gives a context a deadline where it has none.
func atMost(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

func (n *Node) check(ctx context.Context, group uint32) (GroupCheck, error) {
	nodes, err := n.replicasOf(group)
	if err != nil {
		return GroupCheck{}, err
	}
	c := GroupCheck{Shard: fsm.ShardID(group), Replicas: make([]ReplicaCheck, len(nodes))}
	for i, id := range nodes {
		c.Replicas[i].Node = id
	}
	if c.Index, err = n.agreeOnVantage(ctx, group, c.Replicas); err != nil {
		return GroupCheck{}, err
	}
	var wait sync.WaitGroup
	for i := range c.Replicas {
		if c.Replicas[i].Err == nil {
			wait.Go(func() { n.sumAt(ctx, group, c.Index, &c.Replicas[i]) })
		}
	}
	wait.Wait()
	c.compare()
	return c, nil
}

// replicasOf are the nodes that are to have a replica of a group.
func (n *Node) replicasOf(group uint32) ([]string, error) {
	if group == metaGroup {
		if !n.Map().Initialised() {
			return nil, ErrNotInitialised
		}
		return activeNodes(n.Map()), nil
	}
	place, known := n.Map().Shard(fsm.ShardID(group))
	if !known {
		return nil, &RefusedError{fmt.Sprintf("there is no shard %d", group)}
	}
	if len(place.Replicas) == 0 {
		return nil, &RefusedError{fmt.Sprintf("shard %d has no replicas any more", group)}
	}
	return place.Replicas, nil
}

// agreeOnVantage finds an index that every replica that answers has before it, and brings the log there. Err is set of those that do not.
func (n *Node) agreeOnVantage(ctx context.Context, group uint32, replicas []ReplicaCheck) (uint64, error) {
	var ahead uint64 = checkAhead
	target := uint64(0) // the first round asks for a view that nobody can have any more, and learns where everybody is
	before := uint64(0)
	for round := 0; ; round++ {
		furthest := n.lookAll(ctx, group, target, before, replicas)
		if furthest == 0 {
			return 0, fmt.Errorf("group %d: no replica can be looked at: %w", group, cmp.Or(firstFault(replicas), errNothingApplied))
		}
		if round > 0 && furthest <= target {
			return target, n.bringTo(ctx, group, target)
		}
		if round == checkRounds {
			return 0, fmt.Errorf("group %d is ahead of each index that its replicas are to be compared at", group)
		}
		if round > 0 {
			ahead = min(4*(furthest-target+ahead), checkAheadMax)
		}
		before, target = target, furthest+ahead
	}
}

// errNothingApplied: the group is being created.
var errNothingApplied = errors.New("none has applied anything yet")

// lookAll asks each replica for a view at an index in the place of an earlier one, and answers how far the furthest has applied its log; 0
// where nobody answers.
func (n *Node) lookAll(ctx context.Context, group uint32, index, before uint64, replicas []ReplicaCheck) (furthest uint64) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	applied := make([]uint64, len(replicas))
	var wait sync.WaitGroup
	for i := range replicas {
		wait.Go(func() { applied[i], replicas[i].Err = n.lookFrom(ctx, replicas[i].Node, group, index, before) })
	}
	wait.Wait()
	return slices.Max(applied)
}

func firstFault(replicas []ReplicaCheck) error {
	for _, r := range replicas {
		if r.Err != nil {
			return fmt.Errorf("%s: %w", r.Node, r.Err)
		}
	}
	return nil
}

// bringTo writes fences until a group's log has come to an index. Under load it is there already.
func (n *Node) bringTo(ctx context.Context, group uint32, index uint64) error {
	for at := uint64(0); at < index; {
		var err error
		if group == metaGroup {
			var refused *RefusedError // it went through the log all the same
			if at, err = n.changeAt(ctx, meta.UpdateNode{Node: n.self()}); errors.As(err, &refused) {
				err = nil
			}
		} else {
			_, at, err = n.proposeToShard(ctx, fsm.ShardID(group), fsm.Fence{})
		}
		if err != nil {
			return fmt.Errorf("bring group %d to index %d: %w", group, index, err)
		}
	}
	return nil
}

// lookFrom asks one node:
//
//	struct { uint8 version = 1; uint32 group; uint64 index; uint64 before; } LookRequest; // before: a view that is not wanted any more
//	struct { uint64 applied; } LookAnswer; // more than the index: there will be no view
func (n *Node) lookFrom(ctx context.Context, id string, group uint32, index, before uint64) (uint64, error) {
	raw, err := n.askNode(ctx, id, methodLook, checkRequest(group, index, before), n.serveLook)
	if err != nil {
		return 0, err
	}
	r := mls.NewReader("LookAnswer", raw)
	applied := r.Uint64("applied")
	return applied, r.Close()
}

func (n *Node) serveLook(_ context.Context, _ string, payload []byte) ([]byte, error) {
	m, index, before, err := n.readCheckRequest("LookRequest", payload)
	if err != nil {
		return nil, err
	}
	if err := m.vantages.drop(before); err != nil {
		return nil, err
	}
	applied, err := m.look(index)
	if err != nil {
		return nil, err
	}
	return binary.BigEndian.AppendUint64(nil, applied), nil
}

func checkRequest(group uint32, index, before uint64) []byte {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint32(group)
	w.Uint64(index)
	w.Uint64(before)
	return w.Bytes()
}

func (n *Node) readCheckRequest(name string, payload []byte) (m *machine, index, before uint64, err error) {
	r := mls.NewReader(name, payload)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", "is not known")
	}
	group := r.Uint32("group")
	index, before = r.Uint64("index"), r.Uint64("before")
	if err := r.Close(); err != nil {
		return nil, 0, 0, err
	}
	if m = n.machineOf(group); m == nil {
		return nil, 0, 0, fmt.Errorf("group %d does not run here", group)
	}
	return m, index, before, nil
}

// askNode asks a node, which may be this one.
func (n *Node) askNode(ctx context.Context, id, method string, request []byte, here func(context.Context, string, []byte) ([]byte, error)) ([]byte, error) {
	if id == n.id {
		return here(ctx, id, request)
	}
	raw, _, err := n.call(ctx, id, method, request)
	return raw, err
}

// sumAt asks one node for what its replica holds at an index that it was asked to look at:
//
//	struct { uint8 version = 1; uint32 group; uint64 index; uint64 before = 0; } SumRequest;
//	struct { uint16 number; opaque digest[32]; } Section;
//	struct { uint64 records; uint64 bytes; Section sections<V>; } SumAnswer; // in ascending order
func (n *Node) sumAt(ctx context.Context, group uint32, index uint64, c *ReplicaCheck) {
	raw, err := n.askNode(ctx, c.Node, methodSum, checkRequest(group, index, 0), n.serveSum)
	if err != nil {
		c.Err = err
		return
	}
	r := mls.NewReader("SumAnswer", raw)
	c.Records, c.Bytes = r.Uint64("records"), r.Uint64("bytes")
	c.sections = mls.ReadList(r, "sections", func(r *mls.Reader) (s section) {
		s.number = r.Uint16("number")
		copy(s.digest[:], r.Fixed("digest", len(s.digest)))
		return s
	})
	c.Err = r.Close()
	c.Digest = sha256.Sum256(raw)
}

func (n *Node) serveSum(ctx context.Context, _ string, payload []byte) (_ []byte, err error) {
	m, index, _, err := n.readCheckRequest("SumRequest", payload)
	if err != nil {
		return nil, err
	}
	view, err := m.vantages.take(ctx, &m.applied, index)
	if err != nil {
		return nil, fmt.Errorf("group %d at %d: %w", m.group, index, err)
	}
	defer func() { err = errors.Join(err, view.Close()) }()
	s := newSectionSummer(func(bytes int) error { return n.statePace.WaitN(ctx, bytes/checkShare) })
	if err := fsm.ScanRange(view, nil, nil, s.add); err != nil {
		return nil, err
	}
	return s.encode(), nil
}

// sectionSummer sums up a state section by section: the slots of a shard, each by itself, and of what stands behind all slots each kind of
// record. It belongs to one goroutine.
type sectionSummer struct {
	pace     func(bytes int) error
	owed     int
	all      fsm.Sum // its digest is not used
	current  *fsm.Summer
	number   uint16
	sections []section
}

func newSectionSummer(pace func(int) error) *sectionSummer { return &sectionSummer{pace: pace} }

// sectionOf numbers the part of the state that a key is in. The numbers from fsm.ShardLevel&^0xff on are kinds of records behind all slots.
func sectionOf(key []byte) uint16 {
	slot := binary.BigEndian.Uint16(key)
	if fsm.SlotID(slot) == fsm.ShardLevel && len(key) > 2 {
		return slot&0xff00 | uint16(key[2])
	}
	return slot
}

func sectionName(number uint16) string {
	if number < fsm.SlotCount {
		return fmt.Sprintf("slot %d", number)
	}
	return fmt.Sprintf("the records of kind 0x%02x behind all slots", number&0xff)
}

func (s *sectionSummer) add(key, value []byte) error {
	if number := sectionOf(key); s.current == nil || number != s.number {
		s.end()
		s.current, s.number = fsm.NewSummer(), number
	}
	s.current.Add(key, value)
	if s.owed += len(key) + len(value); s.owed >= stateBuffer {
		owed := s.owed
		s.owed = 0
		for ; owed > 0; owed -= paceStep {
			if err := s.pace(min(owed, paceStep)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *sectionSummer) end() {
	if s.current == nil {
		return
	}
	sum := s.current.Sum()
	s.all.Count += sum.Count
	s.all.Bytes += sum.Bytes
	s.sections = append(s.sections, section{s.number, sum.Digest})
}

func (s *sectionSummer) encode() []byte {
	s.end()
	var w mls.Writer
	w.Uint64(s.all.Count)
	w.Uint64(s.all.Bytes)
	w.Vector(func(w *mls.Writer) {
		for _, one := range s.sections {
			w.Uint16(one.number)
			w.Fixed(one.digest[:])
		}
	})
	return w.Bytes()
}

// compare marks who differs from what a majority of the replicas holds, those that could not be compared counted too.
func (c *GroupCheck) compare() {
	model := slices.IndexFunc(c.Replicas, func(one ReplicaCheck) bool {
		same := 0
		for _, other := range c.Replicas {
			if one.Err == nil && other.Err == nil && one.Digest == other.Digest {
				same++
			}
		}
		return 2*same > len(c.Replicas)
	})
	if model < 0 {
		return
	}
	right := c.Replicas[model]
	for i := range c.Replicas {
		r := &c.Replicas[i]
		if r.Err == nil && r.Digest != right.Digest {
			r.Differs, r.Section = true, firstDifference(r.sections, right.sections)
		}
	}
}

// firstDifference names the first section that two states do not both have with the same content.
func firstDifference(a, b []section) string {
	for i := range max(len(a), len(b)) {
		switch {
		case i >= len(a):
			return sectionName(b[i].number)
		case i >= len(b):
			return sectionName(a[i].number)
		case a[i].number != b[i].number:
			return sectionName(min(a[i].number, b[i].number))
		case !bytes.Equal(a[i].digest[:], b[i].digest[:]):
			return sectionName(a[i].number)
		}
	}
	return ""
}
