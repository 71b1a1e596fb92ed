package fsm_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// An outbox against a plain list of items: whatever is acknowledged, dropped or indexed, and when, each room's stream gives every item
// once and in order, or says at its place that it is missing.
func TestOutboxAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newOutboxModel(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			m.step()
		}
		m.finish()
	})
}

const keptMillis = 60_000

// outboxModel drives two rooms of one slot, and knows of each destination what has to wait for it.
type outboxModel struct {
	t     *rapid.T
	store *fsmtest.Store
	rooms []*fsmtest.Room
	index uint64
	now   uint64
	made  int
	bulk  bool

	waiting map[mimi.Provider][]modelItem // in order
	streams map[streamOf]*stream
}

type modelItem struct {
	room     mimi.RoomURI
	sequence uint64
	millis   uint64
	gap      uint64 // items that it says are missing
}

type streamOf struct {
	destination mimi.Provider
	room        mimi.RoomURI
}

// stream is what a destination has been told of a room.
type stream struct {
	sent, told uint64 // items that were made; that came, or were said to be missing
	last       uint64 // sequence
}

func newOutboxModel(t *rapid.T) *outboxModel {
	m := &outboxModel{t: t, store: fsmtest.NewStore(), now: 1_000_000, waiting: map[mimi.Provider][]modelItem{}, streams: map[streamOf]*stream{}}
	settings := fsm.DefaultSettings(hub)
	settings.Format = rapid.SampledFrom([]fsm.Format{fsm.FormatFirst, fsm.FormatExclusive, fsm.FormatBulk}).Draw(t, "format")
	settings.Bulk.OutboxRetentionMillis = keptMillis
	m.bulk = settings.Format >= fsm.FormatBulk
	if !m.bulk {
		settings.Bulk, settings.Claims, settings.LeaveGraceMillis = fsm.BulkRules{}, fsm.ClaimRules{}, 0
	}
	slot := fsm.SlotOfRoom(club)
	m.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: slot, Last: slot}, fsm.EnterSettings{Version: 1, Settings: settings})
	for _, uri := range []mimi.RoomURI{club, room("club2213"), room("club10487")} {
		r := fsmtest.NewRoom(uri, 0, []mimi.UserURI{alice}, []mimi.Provider{hub, peer})
		m.rooms = append(m.rooms, r)
		m.apply(r.Create())
	}
	return m
}

func (m *outboxModel) step() {
	switch rapid.IntRange(0, 9).Draw(m.t, "step") {
	case 0, 1, 2, 3:
		m.send()
	case 4, 5:
		m.deliver()
	case 6:
		m.acknowledgeSome()
	case 7, 8:
		m.now += rapid.Uint64Range(0, keptMillis).Draw(m.t, "later")
		m.sweep(rapid.Uint32Range(0, 6).Draw(m.t, "max"))
	case 9:
		if !m.bulk {
			settings := fsm.DefaultSettings(hub)
			settings.Bulk.OutboxRetentionMillis = keptMillis
			m.apply(fsm.EnterSettings{Version: 2, Settings: settings})
			m.bulk = true
		}
	}
}

// send makes messages or Proposals of some rooms in one entry.
func (m *outboxModel) send() {
	var commands []fsm.Command
	for range rapid.IntRange(1, 3).Draw(m.t, "commands") {
		m.made++
		r := rapid.SampledFrom(m.rooms).Draw(m.t, "room")
		if rapid.IntRange(0, 2).Draw(m.t, "handshake") == 0 {
			commands = append(commands, r.Propose(0, alice, fmt.Sprint("p", m.made)))
		} else {
			commands = append(commands, r.Message(fmt.Sprint("m", m.made), 0, alice))
		}
	}
	m.apply(commands...)
	for _, destination := range []mimi.Provider{hub, peer} {
		known := uint64(0)
		if list := m.waiting[destination]; len(list) > 0 {
			known = list[len(list)-1].sequence
		}
		for of, s := range m.streams {
			if of.destination == destination {
				known = max(known, s.last)
			}
		}
		for _, item := range m.read(destination) {
			if item.sequence > known && item.millis == m.now {
				m.waiting[destination] = append(m.waiting[destination], item)
				m.stream(destination, item.room).sent++
			}
		}
	}
}

func (m *outboxModel) stream(destination mimi.Provider, room mimi.RoomURI) *stream {
	of := streamOf{destination, room}
	if m.streams[of] == nil {
		m.streams[of] = &stream{}
	}
	return m.streams[of]
}

// deliver takes the first items of a room as a deliverer reads them, and acknowledges them in one of the ways there are.
func (m *outboxModel) deliver() {
	destination := rapid.SampledFrom([]mimi.Provider{hub, peer}).Draw(m.t, "destination")
	r := rapid.SampledFrom(m.rooms).Draw(m.t, "room")
	most := rapid.IntRange(1, 4).Draw(m.t, "items")
	items := m.heads(destination, r.URI, most)
	if len(items) == 0 {
		return
	}
	m.take(destination, items)
	c := fsm.Acknowledge{At: fsm.SlotOfRoom(club), Destination: destination}
	last := items[len(items)-1].Sequence
	if m.bulk && rapid.Bool().Draw(m.t, "through") {
		c.Rooms = []fsm.RoomTaken{{Room: r.URI, Through: last}}
	} else {
		for _, item := range items {
			c.Sequences = append(c.Sequences, item.Sequence)
		}
	}
	m.apply(c)
	m.waiting[destination] = slices.DeleteFunc(m.waiting[destination], func(item modelItem) bool { return item.room == r.URI && item.sequence <= last })
	m.compare()
}

// take holds what comes against what may come next.
func (m *outboxModel) take(destination mimi.Provider, items []fsm.OutboxItem) {
	for _, item := range items {
		s := m.stream(destination, item.Room)
		if item.Sequence <= s.last {
			m.t.Fatalf("item %d of %s comes behind %d", item.Sequence, item.Room, s.last)
		}
		s.last = item.Sequence
		if gap := gapIn(item); gap > 0 {
			s.told += gap
		} else {
			s.told++
		}
	}
}

func gapIn(item fsm.OutboxItem) uint64 {
	for _, n := range item.Notes {
		if noticed, yes := n.(fsm.Noticed); yes {
			if gap, yes := noticed.Notice.(mimi.StreamGap); yes {
				return gap.Items
			}
		}
	}
	return 0
}

// heads reads a room's first items, by its records where they have everything.
func (m *outboxModel) heads(destination mimi.Provider, room mimi.RoomURI, most int) (items []fsm.OutboxItem) {
	slot := fsm.SlotOfRoom(club)
	head, err := fsm.ReadOutboxPosition(m.store, slot, destination)
	m.ok(err)
	if !head.Indexed() {
		m.ok(fsm.ReadOutbox(m.store, slot, destination, 0, func(item fsm.OutboxItem) (bool, error) {
			if item.Room == room {
				items = append(items, item)
			}
			return len(items) < most, nil
		}))
		return items
	}
	m.ok(fsm.OutboxRooms(m.store, slot, destination, fsm.RoomsPart{}, func(r fsm.OutboxRoom) (bool, error) {
		if r.Room != room {
			return true, nil
		}
		var err error
		items, _, err = fsm.ReadRoomOutbox(m.store, slot, destination, r, most, 1<<20)
		return false, err
	}))
	return items
}

// acknowledgeSome names the first items of all rooms, and some that are not there.
func (m *outboxModel) acknowledgeSome() {
	destination := rapid.SampledFrom([]mimi.Provider{hub, peer}).Draw(m.t, "destination")
	list := m.waiting[destination]
	n := rapid.IntRange(0, len(list)).Draw(m.t, "items")
	c := fsm.Acknowledge{At: fsm.SlotOfRoom(club), Destination: destination, Sequences: []uint64{0, 1, 1 << 60}}
	through := uint64(0)
	if n > 0 {
		through = list[n-1].sequence
	}
	var taken []fsm.OutboxItem
	m.ok(fsm.ReadOutbox(m.store, c.At, destination, 0, func(item fsm.OutboxItem) (bool, error) {
		if item.Sequence <= through || item.Sequence == 1 {
			taken = append(taken, item)
			c.Sequences = append(c.Sequences, item.Sequence)
		}
		return true, nil
	}))
	m.take(destination, taken)
	m.apply(c)
	m.waiting[destination] = slices.DeleteFunc(slices.Clone(list), func(item modelItem) bool { return item.sequence <= through || item.sequence == 1 })
	m.compare()
}

// sweep lets the list follow what was dropped, and holds the drops against what they may be.
func (m *outboxModel) sweep(max uint32) {
	before := maps.Clone(m.waiting)
	m.apply(fsm.Sweep{Max: max})
	for destination, list := range before {
		after := m.read(destination)
		var want []modelItem
		for _, r := range m.rooms {
			want = append(want, m.withGap(ofRoom(list, r.URI), ofRoom(after, r.URI))...)
		}
		slices.SortFunc(want, func(a, b modelItem) int { return int(a.sequence) - int(b.sequence) })
		m.waiting[destination] = want
	}
	m.compare()
}

func ofRoom(list []modelItem, room mimi.RoomURI) (of []modelItem) {
	for _, item := range list {
		if item.room == room {
			of = append(of, item)
		}
	}
	return of
}

// withGap is what must be left of a room's items where those before the first of the others have gone: an item that counts them, in the
// place of the last of them.
func (m *outboxModel) withGap(list, after []modelItem) []modelItem {
	if len(list) == 0 || len(after) == len(list) && after[0] == list[0] {
		return list
	}
	if len(after) == 0 || after[0].gap == 0 {
		m.t.Fatalf("of %+v is left %+v, and no gap", list, after)
	}
	at := slices.IndexFunc(list, func(item modelItem) bool { return item.sequence == after[0].sequence })
	if at < 0 {
		m.t.Fatalf("a gap stands where nothing was: %+v, of %+v", after, list)
	}
	var missing uint64
	for _, item := range list[:at+1] {
		if item.gap == 0 && item.millis+keptMillis > m.now {
			m.t.Fatalf("%+v was dropped at %d", item, m.now)
		}
		missing += max(item.gap, 1)
	}
	last := list[at]
	return append([]modelItem{{room: last.room, sequence: last.sequence, millis: last.millis, gap: missing}}, list[at+1:]...)
}

func (m *outboxModel) read(destination mimi.Provider) (items []modelItem) {
	m.ok(fsm.ReadOutbox(m.store, fsm.SlotOfRoom(club), destination, 0, func(item fsm.OutboxItem) (bool, error) {
		items = append(items, modelItem{item.Room, item.Sequence, item.Millis, gapIn(item)})
		return true, nil
	}))
	return items
}

func (m *outboxModel) compare() {
	for _, destination := range []mimi.Provider{hub, peer} {
		if got := m.read(destination); !slices.Equal(got, m.waiting[destination]) {
			m.t.Fatalf("for %s waits\n%+v, and should\n%+v", destination, got, m.waiting[destination])
		}
	}
}

func (m *outboxModel) apply(commands ...fsm.Command) {
	m.index++
	m.now++
	result, err := fsm.Apply(m.store, m.index, fsm.EncodeEntry(fsm.Entry{StampMillis: m.now, Commands: commands}))
	m.ok(err)
	for i, o := range result.Outcomes {
		switch o.(type) {
		case fsm.Done, fsm.Accepted:
		default:
			m.t.Fatalf("%T got %#v", commands[i], o)
		}
	}
	m.ok(fsm.VerifyState(m.store))
}

func (m *outboxModel) ok(err error) {
	if err != nil {
		m.t.Fatal(err)
	}
}

// finish sweeps until nothing is left to do: then everything is indexed, and nothing is kept longer than it may be. What is left is
// delivered, and with it every item was told of.
func (m *outboxModel) finish() {
	for m.bulk {
		overdue, err := fsm.Overdue(m.store)
		m.ok(err)
		if !overdue {
			break
		}
		m.sweep(3)
	}
	for _, destination := range []mimi.Provider{hub, peer} {
		head, err := fsm.ReadOutboxPosition(m.store, fsm.SlotOfRoom(club), destination)
		m.ok(err)
		if m.bulk && !head.Indexed() {
			m.t.Fatalf("the outbox for %s is not indexed: %+v", destination, head)
		}
		for _, item := range m.read(destination) {
			if m.bulk && item.gap == 0 && item.millis+keptMillis < m.now {
				m.t.Fatalf("%+v is still there at %d", item, m.now)
			}
		}
		for _, r := range m.rooms {
			m.take(destination, m.heads(destination, r.URI, 1000))
			if s := m.stream(destination, r.URI); s.told != s.sent {
				m.t.Fatalf("of %d items of %s for %s, %d were told of", s.sent, r.URI, destination, s.told)
			}
		}
	}
}
