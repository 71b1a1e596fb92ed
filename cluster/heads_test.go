package cluster

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mimi"
)

// headsWorld is a shard's state without a cluster around it, and a replica that looks at it.
type headsWorld struct {
	t       testing.TB
	store   *countingStore
	replica *replica
	rooms   map[string]*fsmtest.Room
	peer    mimi.Provider
	index   uint64
}

// countingStore counts the records that are read.
type countingStore struct {
	*fsmtest.Store
	records int
}

func (s *countingStore) Get(key []byte) ([]byte, error) {
	s.records++
	return s.Store.Get(key)
}

func (s *countingStore) Scan(lower, upper []byte, visit func(key, value []byte) (bool, error)) error {
	return s.Store.Scan(lower, upper, func(key, value []byte) (bool, error) {
		s.records++
		return visit(key, value)
	})
}

func newHeadsWorld(t testing.TB, format fsm.Format) *headsWorld {
	w := &headsWorld{
		t: t, store: &countingStore{Store: fsmtest.NewStore()}, replica: &replica{outbox: newOutboxIndex(), node: &Node{meta: &metaReplica{current: &meta.Map{}}}},
		rooms: make(map[string]*fsmtest.Room), peer: provider(t, "b.example"),
	}
	w.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: 0, Last: fsm.SlotCount - 1}, w.settings(1, format))
	return w
}

func (w *headsWorld) settings(version uint64, format fsm.Format) fsm.EnterSettings {
	settings := fsm.DefaultSettings(provider(w.t, "a.example"))
	settings.Format = format
	return fsm.EnterSettings{Version: version, Settings: settings}
}

func (w *headsWorld) apply(commands ...fsm.Command) {
	w.t.Helper()
	w.index++
	result, err := fsm.Apply(w.store, w.index, fsm.EncodeEntry(fsm.Entry{StampMillis: 1000 * w.index, Commands: commands}))
	if err != nil {
		w.t.Fatal(err)
	}
	for i, o := range result.Outcomes {
		switch o.(type) {
		case fsm.Done, fsm.Accepted:
		default:
			w.t.Fatalf("%T got %#v", commands[i], o)
		}
	}
	w.replica.outbox.add(result.Touched, result.Urgent)
}

func (w *headsWorld) room(name string) *fsmtest.Room {
	w.t.Helper()
	r := w.rooms[name]
	if r == nil {
		r = fsmtest.NewRoom(room(w.t, name), 0, []mimi.UserURI{user(w.t, "alice")}, []mimi.Provider{w.peer})
		w.rooms[name] = r
		w.apply(r.Create())
	}
	return r
}

// send makes so many items of messages.
func (w *headsWorld) send(name string, items int) {
	w.t.Helper()
	r := w.room(name)
	for range items {
		w.apply(r.Message(fmt.Sprint("m", w.index), 0, user(w.t, "alice")))
	}
}

func (w *headsWorld) propose(name string) {
	w.t.Helper()
	w.apply(w.room(name).Propose(0, user(w.t, "alice"), fmt.Sprint("p", w.index)))
}

// look is Heads of this replica alone.
func (w *headsWorld) look(page fsm.OutboxPage, busy ...string) []fsm.OutboxItem {
	w.t.Helper()
	return look(w.t, page, busy, w)
}

// look is Heads of some replicas.
func look(t testing.TB, page fsm.OutboxPage, busy []string, worlds ...*headsWorld) []fsm.OutboxItem {
	t.Helper()
	look := newHeadsLook(worlds[0].peer, func(r mimi.RoomURI) bool {
		return slices.ContainsFunc(busy, func(name string) bool { return room(t, name) == r })
	}, page)
	err := look.through(t.Context(), len(worlds), func(i int) error {
		w := worlds[i]
		turn, mark := w.replica.turns.of(look), w.replica.outbox.mark()
		slots := w.replica.outbox.slotsFrom(look.destination, look.urgent, turn.slot)
		if len(slots) == 0 {
			return nil
		}
		turn, err := w.replica.headsFrom(w.store, look, turn, slots, mark)
		w.replica.turns.ended(look, turn)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return look.items
}

func roomsOf(items []fsm.OutboxItem) map[mimi.RoomURI]int {
	of := make(map[mimi.RoomURI]int)
	for _, item := range items {
		of[item.Room]++
	}
	return of
}

// A look reads what it returns, and not what else waits.
func TestHeadsCostWhatTheyReturn(t *testing.T) {
	t.Parallel()
	cost := func(itemsEach int) int {
		w := newHeadsWorld(t, fsm.FormatBulk)
		for i := range 10 {
			w.send(fmt.Sprint("r", i), itemsEach)
		}
		w.store.records = 0
		if items := w.look(fsm.OutboxPage{Rooms: 6, PerRoom: 2}); len(items) != 12 || len(roomsOf(items)) != 6 {
			t.Fatalf("%d items of %d rooms", len(items), len(roomsOf(items)))
		}
		return w.store.records
	}
	few, many := cost(3), cost(60)
	if few != many {
		t.Errorf("a look reads %d records where 30 items wait, and %d where 600 do", few, many)
	}
	t.Logf("%d records for 12 items", few)
}

// Every room has its turn, though nothing is acknowledged and every look is full.
func TestHeadsTakeTurns(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	const rooms = 30
	for i := range rooms {
		w.send(fmt.Sprint("r", i), 2)
	}
	seen := make(map[mimi.RoomURI]int)
	const looks = 5
	for range looks {
		items := w.look(fsm.OutboxPage{Rooms: 7, PerRoom: 1}, "r3")
		if len(items) != 7 {
			t.Fatalf("a look has %d items", len(items))
		}
		for room, n := range roomsOf(items) {
			seen[room] += n
		}
	}
	if len(seen) != rooms-1 || seen[room(t, "r3")] != 0 {
		t.Errorf("%d rooms of %d had a turn", len(seen), rooms-1)
	}
	if most := slices.Max(slices.Collect(maps.Values(seen))); most != 2 {
		t.Errorf("a room had %d turns, with %d for %d rooms", most, 7*looks, rooms-1)
	}
}

// Rooms of which handshakes wait go first, each from its first item on.
func TestHeadsBeginWithHandshakes(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	for i := range 12 {
		w.send(fmt.Sprint("r", i), 1)
	}
	for _, name := range []string{"r4", "r9"} {
		w.propose(name)
	}
	for range 3 {
		items := w.look(fsm.OutboxPage{Rooms: 3, PerRoom: 5})
		of := roomsOf(items)
		if len(of) != 3 || of[room(t, "r4")] != 2 || of[room(t, "r9")] != 2 || items[0].Sequence > items[1].Sequence {
			t.Errorf("a look has %v", of)
		}
	}
	// A room whose handshakes wait and that is busy is not looked for among the others.
	if of := roomsOf(w.look(fsm.OutboxPage{Rooms: 20, PerRoom: 1}, "r4")); of[room(t, "r4")] != 0 || len(of) != 11 {
		t.Errorf("a look has %v", of)
	}
	slot := fsm.SlotOfRoom(room(t, "r4"))
	w.apply(fsm.Acknowledge{At: slot, Destination: w.peer, Rooms: []fsm.RoomTaken{{Room: room(t, "r4"), Through: 1 << 40}}})
	w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 1})
	if slices.Contains(w.replica.outbox.slotsFrom(w.peer, true, 0), slot) {
		t.Error("a slot without handshakes is still looked at for some")
	}
}

// The bound on bytes is of an answer, over all shards; what alone is larger comes alone.
func TestHeadsBytes(t *testing.T) {
	t.Parallel()
	first, second := newHeadsWorld(t, fsm.FormatBulk), newHeadsWorld(t, fsm.FormatBulk)
	for i := range 4 {
		first.send(fmt.Sprint("a", i), 2)
		second.send(fmt.Sprint("b", i), 2)
	}
	one := look(t, fsm.OutboxPage{Rooms: 1, PerRoom: 1}, nil, first)
	size := uint64(0)
	if err := fsm.OutboxRooms(first.store, one[0].Slot, first.peer, fsm.RoomsPart{}, func(r fsm.OutboxRoom) (bool, error) {
		size = r.Bytes / r.Items
		return false, nil
	}); err != nil {
		t.Fatal(err)
	}
	page := fsm.OutboxPage{Rooms: 100, PerRoom: 2, Bytes: int(size) * 11}
	items := look(t, page, nil, first, second)
	if len(items) != 10 && len(items) != 11 || len(roomsOf(items)) < 5 {
		t.Errorf("%d items of %d octets come in %d", len(items), size, page.Bytes)
	}
	page.Bytes = int(size) / 2
	if items := look(t, page, nil, first, second); len(items) != 1 {
		t.Errorf("%d items come where none fits", len(items))
	}
}

// What came before the format for bulk goes first and in order, and what comes later in the same slot behind it.
func TestHeadsAcrossTheRaise(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatExclusive)
	for i := range 4 {
		w.send(fmt.Sprint("r", i), 3)
	}
	w.apply(w.settings(2, fsm.FormatBulk))
	for i := range 5 {
		w.send(fmt.Sprint("r", i), 2)
	}
	streams := make(map[mimi.RoomURI][]uint64)
	for looks := 0; ; looks++ {
		items := w.look(fsm.OutboxPage{Rooms: 2, PerRoom: 2}, "r1")
		if len(items) == 0 {
			break
		}
		for _, item := range items {
			streams[item.Room] = append(streams[item.Room], item.Sequence)
			w.apply(fsm.Acknowledge{At: item.Slot, Destination: w.peer, Sequences: []uint64{item.Sequence}})
		}
		if looks%2 == 1 {
			w.apply(fsm.Sweep{Max: 1})
		}
	}
	for name, want := range map[string][]uint64{"r0": {1, 2, 3, 4, 5}, "r1": nil, "r2": {1, 2, 3, 4, 5}, "r3": {1, 2, 3, 4, 5}, "r4": {1, 2}} {
		if got := streams[room(t, name)]; !slices.Equal(got, want) {
			t.Errorf("of %s came %v", name, got)
		}
	}
}
