package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// fataler is what a test and a rapid check have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// shardInTest is one shard: its state, and all of its log.
type shardInTest struct {
	id    fsm.ShardID
	store *fsmtest.Store
	index uint64
	log   [][]byte
	first uint64 // index of the first of log
}

// slotsWorld is some shards between which slots move, the meta group's part of it, and beside them one shard that has all slots and keeps
// them. Whatever clients ask for is asked of both, and has to come to the same.
type slotsWorld struct {
	t       fataler
	shards  []*shardInTest
	still   *shardInTest
	now     uint64
	version uint64 // of the settings; 0: there are none, and nothing moves

	home        map[fsm.SlotID]*slotHome // of slots that a command has been for
	touched     []fsm.SlotID             // those, in the order in which they came up
	incarnation map[incarnationOf]uint64 // as the log that is played has it -> as it is here
	lastOf      map[mimi.RoomURI]uint64  // the last incarnation of a room
	moves       uint64                   // the last move's number
	pageBytes   int
}

type incarnationOf struct {
	room  mimi.RoomURI
	inLog uint64
}

// slotHome is what the map says of a slot.
type slotHome struct {
	shard      int
	generation uint64
	move       *slotMoving // nil: it stays
}

// slotMoving is a move as the map has it. Drivers work with copies, which may be old.
type slotMoving struct {
	number     uint64
	slot       fsm.SlotID
	from, to   int
	generation uint64 // that the slot gets
	cancelled  bool
}

// newSlotsWorld is some shards, of which the first is born with all slots and the others with none. Their indexes have nothing to do with
// each other.
func newSlotsWorld(t fataler, shards int, pageBytes int) *slotsWorld {
	w := &slotsWorld{
		t: t, still: &shardInTest{id: 1, store: fsmtest.NewStore(), first: 1}, now: 1, pageBytes: pageBytes,
		home: map[fsm.SlotID]*slotHome{}, incarnation: map[incarnationOf]uint64{}, lastOf: map[mimi.RoomURI]uint64{},
	}
	for i := range shards {
		begin := []uint64{1000, 0, 400}[i]
		w.shards = append(w.shards, &shardInTest{id: fsm.ShardID(i + 1), store: fsmtest.NewStore(), index: begin, first: begin + 1})
	}
	all := fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}
	w.apply(w.shards[0], all)
	w.apply(w.still, all)
	return w
}

func (w *slotsWorld) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%v", err)
	}
}

// apply applies one entry to one shard, and looks at what may never be.
func (w *slotsWorld) apply(s *shardInTest, commands ...fsm.Command) []fsm.Outcome {
	w.t.Helper()
	s.index++
	entry := fsm.EncodeEntry(fsm.Entry{StampMillis: w.now, Commands: commands})
	s.log = append(s.log, entry)
	result, err := fsm.Apply(s.store, s.index, entry)
	w.check(err)
	w.oneServes()
	for _, slot := range result.Arrived {
		if !w.serves(s, slot) {
			w.t.Fatalf("slot %d has arrived in shard %d, which does not serve it", slot, s.id)
		}
	}
	for _, slot := range result.Gone {
		if w.serves(s, slot) {
			w.t.Fatalf("slot %d has gone from shard %d, which serves it", slot, s.id)
		}
	}
	return result.Outcomes
}

func (w *slotsWorld) serves(s *shardInTest, slot fsm.SlotID) bool {
	_, elsewhere, err := fsm.Elsewhere(s.store, slot)
	w.check(err)
	return !elsewhere
}

// oneServes: at no moment do two shards serve one slot.
func (w *slotsWorld) oneServes() {
	w.t.Helper()
	for _, slot := range w.touched {
		serving := 0
		for _, s := range w.shards {
			if w.serves(s, slot) {
				serving++
			}
		}
		if serving > 1 {
			w.t.Fatalf("%d shards serve slot %d", serving, slot)
		}
	}
}

// enter brings settings into all shards, and the first time lets those be born that have no slots.
func (w *slotsWorld) enter(c fsm.EnterSettings) {
	c.Settings.Format = fsm.FormatNewest
	for _, s := range append(slices.Clone(w.shards), w.still) {
		w.apply(s, c)
	}
	if w.version == 0 {
		for _, s := range w.shards[1:] {
			if o := w.apply(s, fsm.OwnSlots{Shard: s.id, Generation: 1, First: 1})[0]; o != fsm.Outcome(fsm.Done{}) {
				w.t.Fatalf("a shard cannot be born without slots: %+v", o)
			}
		}
	}
	w.version = max(w.version, c.Version)
}

// sweep lets all shards sweep. No slot may be frozen: it would be swept later than it is in the shard that keeps all slots.
func (w *slotsWorld) sweep() {
	for _, s := range append(slices.Clone(w.shards), w.still) {
		w.apply(s, fsm.Sweep{Max: 1 << 20})
	}
}

// place is where a slot is as the map has it.
func (w *slotsWorld) place(slot fsm.SlotID) *slotHome {
	if w.home[slot] == nil {
		w.home[slot] = &slotHome{generation: 1}
		w.touched = append(w.touched, slot)
	}
	return w.home[slot]
}

// serving is the shard that serves a slot; nil where none does.
func (w *slotsWorld) serving(slot fsm.SlotID) *shardInTest {
	for _, s := range w.shards {
		if w.serves(s, slot) {
			return s
		}
	}
	return nil
}

// ask brings a command of a slot to the shard that serves it and to the one that keeps all, in entries with others of the same slot. What
// the other shards answer is MovedTo, and changes nothing.
func (w *slotsWorld) ask(commands ...fsm.Command) {
	w.t.Helper()
	slot := commands[0].Slot()
	s := w.serving(slot)
	here := make([]fsm.Command, len(commands))
	for i, c := range commands {
		here[i] = w.translate(c)
	}
	w.askOthers(s, here)
	outcomes := w.apply(s, here...)
	index := w.still.index
	if at, made := w.madeRoom(s, here, outcomes); made {
		w.still.index = at - 1 // so that the same incarnation comes of it
	}
	same := w.apply(w.still, here...)
	w.still.index = max(index, w.still.index)
	for i := range same {
		if !w.sameOutcome(outcomes[i], same[i]) {
			w.t.Fatalf("slot %d: %T comes to %T%+v, and where nothing moves to %T%+v", slot, here[i], outcomes[i], outcomes[i], same[i], same[i])
		}
	}
}

// askOthers: whoever does not serve a slot refuses what is asked of it, and says nothing of what it has.
func (w *slotsWorld) askOthers(serving *shardInTest, commands []fsm.Command) {
	for _, s := range w.shards {
		if s == serving || w.version == 0 {
			continue
		}
		before := slotDigest(w, s, commands[0].Slot())
		owned, known, err := fsm.ReadOwnership(s.store, commands[0].Slot())
		w.check(err)
		for _, o := range w.apply(s, commands...) {
			to, moved := o.(fsm.MovedTo)
			if !moved || to.Shard != 0 && (!known || owned.Here || to.Shard != owned.Shard || to.Generation != owned.Generation) {
				w.t.Fatalf("a shard that does not serve slot %d answers %T%+v", commands[0].Slot(), o, o)
			}
		}
		if slotDigest(w, s, commands[0].Slot()) != before {
			w.t.Fatalf("a shard that does not serve slot %d has changed it", commands[0].Slot())
		}
	}
}

func slotDigest(w *slotsWorld, s *shardInTest, slot fsm.SlotID) [32]byte {
	sum, err := fsm.SlotDigest(s.store, slot)
	w.check(err)
	return sum
}

// sameOutcome compares outcomes but for the index of a log.
func (w *slotsWorld) sameOutcome(a, b fsm.Outcome) bool {
	if _, changed := a.(fsm.ReadSetChanged); changed {
		_, changed = b.(fsm.ReadSetChanged)
		return changed
	}
	return bytes.Equal(fsm.EncodeOutcome(a), fsm.EncodeOutcome(b))
}

// translate puts this world's incarnations in the place of those of the log that is played.
func (w *slotsWorld) translate(c fsm.Command) fsm.Command {
	switch c := c.(type) {
	case fsm.AcceptCommit:
		c.Reads.Incarnation = w.incarnationHere(c.Room, c.Reads.Incarnation)
		return c
	case fsm.DestroyRoom:
		c.Incarnation = w.incarnationHere(c.Room, c.Incarnation)
		return c
	case fsm.Judged:
		c.Command = w.translate(c.Command)
		return c
	default:
		return c
	}
}

func (w *slotsWorld) incarnationHere(room mimi.RoomURI, inLog uint64) uint64 {
	if here, known := w.incarnation[incarnationOf{room: room, inLog: inLog}]; known {
		return here
	}
	return inLog
}

// madeRoom returns the incarnation of a room that an entry has made or continued. It is above all that the room has had.
func (w *slotsWorld) madeRoom(s *shardInTest, commands []fsm.Command, outcomes []fsm.Outcome) (uint64, bool) {
	for i, c := range commands {
		uri, creates := madeBy(c)
		if _, accepted := outcomes[i].(fsm.Accepted); !creates || !accepted {
			continue
		}
		r, found, err := fsm.ReadRoom(s.store, uri)
		w.check(err)
		if !found || r.Incarnation == w.lastOf[uri] {
			continue
		}
		if r.Incarnation < w.lastOf[uri] {
			w.t.Fatalf("room %s has the incarnation %d after %d", uri, r.Incarnation, w.lastOf[uri])
		}
		w.lastOf[uri] = r.Incarnation
		return r.Incarnation, true
	}
	return 0, false
}

func madeBy(c fsm.Command) (mimi.RoomURI, bool) {
	switch c := c.(type) {
	case fsm.CreateRoom:
		return c.Room, true
	case fsm.ContinueRoom:
		return c.Create.Room, true
	case fsm.Judged:
		return madeBy(c.Command)
	default:
		return mimi.RoomURI{}, false
	}
}

// verify holds all shards to what must hold of any state, and each slot to what it is where nothing ever moved.
func (w *slotsWorld) verify() {
	w.t.Helper()
	for _, s := range append(slices.Clone(w.shards), w.still) {
		if err := fsm.VerifyState(s.store); err != nil {
			w.t.Fatalf("shard %d: %v", s.id, err)
		}
	}
	for _, slot := range w.touched {
		s := w.serving(slot)
		if s == nil {
			w.t.Fatalf("nobody serves slot %d", slot)
		}
		if slotDigest(w, s, slot) != slotDigest(w, w.still, slot) {
			w.t.Fatalf("slot %d is not what it is where nothing moved:\n%s", slot, differing(w, s, slot))
		}
	}
}

// replay: whoever applies a shard's log comes to the shard's state, also from a snapshot in the middle.
func (w *slotsWorld) replay(cut int) {
	for _, s := range w.shards {
		store := fsmtest.NewStore()
		for i, entry := range s.log {
			if i == cut%len(s.log) {
				var stream bytes.Buffer
				w.check(fsm.WriteSnapshot(&stream, store))
				store = fsmtest.NewStore()
				w.check(fsm.ReadSnapshot(&stream, store.Set))
			}
			_, err := fsm.Apply(store, s.first+uint64(i), entry)
			w.check(err)
		}
		again, err := fsm.Digest(store)
		was, wasErr := fsm.Digest(s.store)
		if err := errors.Join(err, wasErr); err != nil || again != was {
			w.t.Fatalf("shard %d comes to another state: %v", s.id, err)
		}
	}
}

// differing lists the keys in which a slot differs.
func differing(w *slotsWorld, s *shardInTest, slot fsm.SlotID) string {
	contents := func(r fsm.Reader) map[string]string {
		all := map[string]string{}
		prefix := []byte{byte(slot >> 8), byte(slot)}
		w.check(r.Scan(prefix, append(prefix, 0xff), func(k, v []byte) (bool, error) {
			all[string(k)] = string(v)
			return true, nil
		}))
		return all
	}
	here, still := contents(s.store), contents(w.still.store)
	out := ""
	for k, v := range here {
		if still[k] != v {
			out += fmt.Sprintf("%x: %x, not %x\n", k, v, still[k])
		}
	}
	for k, v := range still {
		if _, there := here[k]; !there {
			out += fmt.Sprintf("%x is not there: %x\n", k, v)
		}
	}
	return out
}
