package cluster

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
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

// Close implements openView.
func (s *countingStore) Close() error { return nil }

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

// sendLarge makes one item of a message of so many octets and some.
func (w *headsWorld) sendLarge(name string, octets int) {
	w.t.Helper()
	w.apply(w.room(name).Message(strings.Repeat("x", octets)+fmt.Sprint(w.index), 0, user(w.t, "alice")))
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
		return worlds[i].replica.headsOn(look, func() (openView, error) { return worlds[i].store, nil })
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

// namesOf are the rooms of some items, in the order of the items.
func (w *headsWorld) namesOf(items []fsm.OutboxItem) (names []string) {
	for _, item := range items {
		for name, r := range w.rooms {
			if r.URI == item.Room {
				names = append(names, name)
			}
		}
	}
	return names
}

// An item that does not fit any more ends its answer and is the first of a next one: rooms whose items are small do not keep it waiting.
func TestHeadsOfALargeItemHaveTheirTurn(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	var slots []fsm.SlotID
	for i := range 6 {
		w.send(fmt.Sprint("small", i), 1)
		slots = append(slots, fsm.SlotOfRoom(room(t, fmt.Sprint("small", i))))
	}
	large := "large" // in the middle, so that no look begins there but one that has been left there
	for i := 0; fsm.SlotOfRoom(room(t, large)) <= slices.Min(slots) || fsm.SlotOfRoom(room(t, large)) >= slices.Max(slots); i++ {
		large = fmt.Sprint("large", i)
	}
	w.sendLarge(large, 10_000)
	for range 20 {
		items := w.look(fsm.OutboxPage{Rooms: 100, PerRoom: 1, Bytes: 5_000})
		if names := w.namesOf(items); slices.Contains(names, large) {
			if len(names) > 1 {
				t.Errorf("what is larger than an answer comes with %v", names)
			}
			return
		}
	}
	t.Error("the large item had no turn")
}

// What no page allows is made what one can be: at least an item of each room, and no more octets than an answer has.
func TestHeadsOfAPageWithoutBounds(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	for i := range 3 {
		w.send(fmt.Sprint("r", i), 2)
	}
	if items := w.look(fsm.OutboxPage{Rooms: 10}); len(items) != 3 {
		t.Errorf("%d items of three rooms", len(items))
	}
	for _, octets := range []int{0, math.MaxInt} {
		if got := newHeadsLook(w.peer, nil, fsm.OutboxPage{Bytes: octets}).page.Bytes; got != headsBytesMax {
			t.Errorf("%d octets became %d", octets, got)
		}
	}
}

// A look through rooms that are all busy comes to an end; one for handshakes leaves as much for the others.
func TestHeadsLookAtSoManyRooms(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	names := make([]string, 5)
	for i := range names {
		names[i] = fmt.Sprint("r", i)
		w.send(names[i], 1)
	}
	look := newHeadsLook(w.peer, func(mimi.RoomURI) bool { return true }, fsm.OutboxPage{Rooms: 10})
	open := func() (openView, error) { return w.store, nil }
	if err := w.replica.headsOn(look, open); err != nil || look.seen != len(names) || look.full() {
		t.Errorf("of %d rooms %d were looked at, %v", len(names), look.seen, err)
	}
	if look.seen = headsRoomsMax; !look.full() {
		t.Error("a look has no end")
	}
	var urgent []bool
	err := look.through(t.Context(), 2, func(int) error {
		urgent, look.seen = append(urgent, look.urgent), headsRoomsMax
		return nil
	})
	if err != nil || !slices.Equal(urgent, []bool{true, false}) {
		t.Errorf("looked through %v, %v", urgent, err)
	}
}

// Each shard is the first one to be looked at in its turn.
func TestHeadsOfShardsTakeTurns(t *testing.T) {
	t.Parallel()
	n, replicas := new(Node), []*replica{{shard: 1}, {shard: 2}, {shard: 3}}
	first := make(map[fsm.ShardID]int)
	for range 2 * len(replicas) {
		in := n.inTurn(replicas)
		if len(in) != len(replicas) {
			t.Fatalf("%d shards of %d", len(in), len(replicas))
		}
		first[in[0].shard]++
	}
	if !maps.Equal(first, map[fsm.ShardID]int{1: 2, 2: 2, 3: 2}) {
		t.Errorf("first were %v", first)
	}
}

// A slot of which nothing waits any more is not looked at again.
func TestHeadsForgetAnEmptySlot(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	w.send("r", 1)
	slot := fsm.SlotOfRoom(room(t, "r"))
	w.apply(fsm.Acknowledge{At: slot, Destination: w.peer, Rooms: []fsm.RoomTaken{{Room: room(t, "r"), Through: 1 << 40}}})
	if items := w.look(fsm.OutboxPage{Rooms: 1}); len(items) > 0 {
		t.Errorf("%d items", len(items))
	}
	if slots := w.replica.outbox.slotsFrom(w.peer, false, 0); len(slots) > 0 {
		t.Errorf("slots %v are still looked at", slots)
	}
}

// What an older format has left behind in many slots has its turn too, and comes once in an answer.
func TestHeadsOfAnOlderFormatTakeTurns(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatExclusive)
	for i := range 5 {
		w.send(fmt.Sprint("r", i), 1)
	}
	w.apply(w.settings(2, fsm.FormatBulk))
	if items := w.look(fsm.OutboxPage{Rooms: 20, PerRoom: 3}); len(items) != 5 {
		t.Errorf("%d items of five rooms that have one each", len(items))
	}
	seen := make(map[mimi.RoomURI]int)
	for range 5 {
		for room, n := range roomsOf(w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 1})) {
			seen[room] += n
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d rooms of five had a turn", len(seen))
	}
}

// The bounds of a page hold for what an older format has left behind, nothing in a room overtakes what does not fit, and no more is read than there is room for.
func TestHeadsOfAnOlderFormatFitThePage(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatExclusive)
	other := sameSlot(t, "r")
	w.send("r", 1)
	w.sendLarge(other, 5_000)
	w.send(other, 1)
	w.send("r", 60)
	w.apply(w.settings(2, fsm.FormatBulk))
	for _, row := range []struct {
		page fsm.OutboxPage
		busy []string
		want []string
	}{
		{fsm.OutboxPage{Rooms: 5, PerRoom: 2}, nil, []string{"r", other, other, "r"}},
		{fsm.OutboxPage{Rooms: 1, PerRoom: 3}, nil, []string{"r", "r", "r"}},
		{fsm.OutboxPage{Rooms: 5, PerRoom: 2}, []string{"r"}, []string{other, other}},
		{fsm.OutboxPage{Rooms: 5, PerRoom: 2, Bytes: 4_000}, nil, []string{"r", "r"}},
		{fsm.OutboxPage{Rooms: 5, PerRoom: 2, Bytes: 1_000}, []string{"r"}, []string{other}},
	} {
		if got := w.namesOf(w.look(row.page, row.busy...)); !slices.Equal(got, row.want) {
			t.Errorf("%+v without %v: %v", row.page, row.busy, got)
		}
	}
	w.store.records = 0
	if items := w.look(fsm.OutboxPage{Rooms: 5, PerRoom: 100, Bytes: 1}); len(items) != 1 || w.store.records > 20 {
		t.Errorf("%d items, %d records read", len(items), w.store.records)
	}
}

// roomsOfSlot are the names of so many rooms of one slot.
func roomsOfSlot(t testing.TB, count int) (names []string) {
	t.Helper()
	slot := fsm.SlotOfRoom(room(t, "r"))
	for i := 0; len(names) < count; i++ {
		if name := fmt.Sprint("r", i); fsm.SlotOfRoom(room(t, name)) == slot {
			names = append(names, name)
		}
	}
	return names
}

// Of the rooms of one slot an answer has as many as its page allows, each once, wherever it begins.
func TestHeadsOfOneSlot(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	names := roomsOfSlot(t, 4)
	for _, name := range names {
		w.send(name, 2)
	}
	for range 3 {
		if items := w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 1}); len(items) != 1 {
			t.Errorf("%d items for one room", len(items))
		}
		if items := w.look(fsm.OutboxPage{Rooms: 10, PerRoom: 1}); len(items) != len(names) || len(roomsOf(items)) != len(names) {
			t.Errorf("%d items of %d rooms where %d have some", len(items), len(roomsOf(items)), len(names))
		}
	}
}

// Rooms of which handshakes wait are in an answer once, also where it has room for all; and a slot in which none wait any more is not looked at for some.
func TestHeadsOfHandshakesComeOnce(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatBulk)
	names := roomsOfSlot(t, 3)
	for _, name := range names {
		w.send(name, 1)
	}
	w.propose(names[1])
	items := w.look(fsm.OutboxPage{Rooms: 10, PerRoom: 5})
	if of := w.namesOf(items); len(of) != 4 || of[0] != names[1] || of[1] != names[1] {
		t.Errorf("a look has %v", of)
	}
	slot := items[0].Slot
	w.send(names[1], 1)
	w.apply(fsm.Acknowledge{At: slot, Destination: w.peer, Rooms: []fsm.RoomTaken{{Room: room(t, names[1]), Through: items[1].Sequence}}})
	if of := w.namesOf(w.look(fsm.OutboxPage{Rooms: 10, PerRoom: 5})); len(of) != 3 {
		t.Errorf("without the handshake a look has %v", of)
	}
	if slices.Contains(w.replica.outbox.slotsFrom(w.peer, true, 0), slot) {
		t.Error("a slot without handshakes is still looked at for some")
	}
}

// What is on its way to another shard is delivered by that.
func TestHeadsLeaveAFrozenSlotAlone(t *testing.T) {
	t.Parallel()
	w := newHeadsWorld(t, fsm.FormatResize)
	w.send("r", 1)
	slot := fsm.SlotOfRoom(room(t, "r"))
	if items := w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 1}); len(items) != 1 {
		t.Fatalf("%d items", len(items))
	}
	for _, c := range []fsm.Command{fsm.BeginSlotExport{At: slot, Move: 1, To: 2}, fsm.FreezeSlot{At: slot, Move: 1}} {
		w.index++
		if _, err := fsm.Apply(w.store, w.index, fsm.EncodeEntry(fsm.Entry{StampMillis: 1000 * w.index, Commands: []fsm.Command{c}})); err != nil {
			t.Fatal(err)
		}
	}
	if items := w.look(fsm.OutboxPage{Rooms: 1, PerRoom: 1}); len(items) > 0 {
		t.Errorf("%d items of a frozen slot", len(items))
	}
}
