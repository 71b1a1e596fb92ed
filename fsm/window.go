package fsm

import (
	"slices"

	"parley/mls"
)

// window is what of a room's log belongs to one leaf of a local client.
//
//	struct {
//	    opaque name<V>;
//	    opaque called<V>;    // what the leaf's credential says: the name, or the name of its user
//	    uint32 leaf;         // unknownLeaf where it is not known
//	    uint64 from;         // the position of the first event
//	    uint64 until;        // of the last; 0 while the client is in the room
//	    uint64 welcome;      // of the Welcome that brought the client in, which is in no other window; 0: none did
//	    uint64 acknowledged; // everything up to here, or else from - 1
//	    Stretch taken<V>;    // acknowledged beyond that, in order, with holes between
//	    StoredGap gap;
//	} Window;
//
//	struct { uint64 first; uint64 last; } Stretch;
//
//	struct {
//	    uint64 items; // 0: there is no gap
//	    uint64 first_millis;
//	    uint64 last_millis;
//	    uint64 position; // of the last that was dropped
//	} StoredGap;
type window struct {
	name         MemberName
	called       MemberName
	leaf         mls.LeafIndex
	from         uint64
	until        uint64
	welcome      uint64
	acknowledged uint64
	taken        []stretch
	gap          storedGap
}

type stretch struct{ first, last uint64 }

// storedGap is what was dropped of a window before its client has had it, and of which the client has not heard yet.
type storedGap struct{ items, firstMillis, lastMillis, position uint64 }

const (
	unknownLeaf = mls.LeafIndex(1<<32 - 1)

	// stretchesMax bounds what a client may acknowledge with holes between.
	stretchesMax = 256
)

func (v window) appendTo(w *mls.Writer) {
	appendText(w, v.name)
	appendText(w, v.called)
	w.Uint32(uint32(v.leaf))
	w.Uint64(v.from)
	w.Uint64(v.until)
	w.Uint64(v.welcome)
	w.Uint64(v.acknowledged)
	appendList(w, v.taken, func(w *mls.Writer, s stretch) {
		w.Uint64(s.first)
		w.Uint64(s.last)
	})
	w.Uint64(v.gap.items)
	w.Uint64(v.gap.firstMillis)
	w.Uint64(v.gap.lastMillis)
	w.Uint64(v.gap.position)
}

func readClientWindow(r *mls.Reader) window {
	return window{
		name: readText[MemberName](r, "name"), called: readText[MemberName](r, "called"), leaf: mls.LeafIndex(r.Uint32("leaf")), from: r.Uint64("from"), until: r.Uint64("until"),
		welcome: r.Uint64("welcome"), acknowledged: r.Uint64("acknowledged"),
		taken: readList(r, "taken", func(r *mls.Reader) stretch { return stretch{r.Uint64("first"), r.Uint64("last")} }),
		gap:   storedGap{r.Uint64("items"), r.Uint64("first_millis"), r.Uint64("last_millis"), r.Uint64("position")},
	}
}

// last is the position of the last event that the window may have, in a log whose next is given.
func (v window) last(next uint64) uint64 {
	if v.until != 0 {
		return v.until
	}
	return next - 1
}

// has reports whether an event belongs to the window.
func (v window) has(position uint64, class EventClass) bool {
	return position >= v.from && (v.until == 0 || position <= v.until) && (class != ClassWelcome || position == v.welcome)
}

// needs reports whether an event belongs to the window and is not acknowledged.
func (v window) needs(position uint64, class EventClass) bool {
	return v.has(position, class) && position > v.acknowledged &&
		!slices.ContainsFunc(v.taken, func(s stretch) bool { return s.first <= position && position <= s.last })
}

// over reports whether nothing of the window is left to have.
func (v window) over() bool { return v.until != 0 && v.acknowledged >= v.until && v.gap.items == 0 }

func windowsKey(room RoomHash) key { return room.key(keyWindow) }

func windowsOfKey(room RoomHash, name MemberName) key { return windowsKey(room).hashed(string(name)) }

func windowKey(room RoomHash, v window) key {
	return windowsOfKey(room, v.name).uint64(v.from).uint32(uint32(v.leaf))
}

func leafWindowKey(room RoomHash, leaf mls.LeafIndex) key {
	return room.key(keyLeafWindow).uint32(uint32(leaf))
}

func readWindows(r Reader, prefix key) (windows []window, err error) {
	err = scanRecords(r, prefix, "window", readClientWindow, func(_ []byte, v window) (bool, error) {
		windows = append(windows, v)
		return true, nil
	})
	return windows, err
}

func (t *tx) windowsOf(room RoomHash, name MemberName) []window {
	windows, err := readWindows(t.store, windowsOfKey(room, name))
	t.check(err)
	return windows
}

func (t *tx) setWindow(room RoomHash, v window) { t.set(windowKey(room, v), record(v.appendTo)) }

// struct { opaque name<V>; uint64 from; } LeafWindow;
type leafWindow struct {
	name MemberName
	from uint64
}

func readLeafWindow(r *mls.Reader) leafWindow {
	return leafWindow{readText[MemberName](r, "name"), r.Uint64("from")}
}

// windowAt is the open window of a leaf.
func (t *tx) windowAt(room RoomHash, leaf mls.LeafIndex) (window, bool) {
	at, found := get(t, func(r Reader) (leafWindow, bool, error) {
		return readRecord(r, leafWindowKey(room, leaf), "window of a leaf", readLeafWindow)
	})
	if !found {
		return window{}, false
	}
	v, found := get(t, func(r Reader) (window, bool, error) {
		return readRecord(r, windowKey(room, window{name: at.name, from: at.from, leaf: leaf}), "window", readClientWindow)
	})
	if !found {
		panic("fsm: a leaf has a window that is not there")
	}
	return v, true
}

func (t *tx) setLeafWindow(room RoomHash, v window) {
	if v.leaf == unknownLeaf {
		return
	}
	t.set(leafWindowKey(room, v.leaf), record(func(w *mls.Writer) {
		appendText(w, v.name)
		w.Uint64(v.from)
	}))
}

// openWindow begins a window, with what stands in the log from its beginning on.
func (t *tx) openWindow(l *clientLog, v window) {
	room := HashOfRoom(l.room)
	before := t.windowsOf(room, v.name)
	for _, w := range before {
		if w.until >= v.from { // a client that comes again by the Commit which takes its old leaf out has had that Commit there
			v.from = w.until + 1
		}
	}
	v.acknowledged = v.from - 1
	l.open++
	t.setWindow(room, v)
	t.setLeafWindow(room, v)
	t.countIn(*l, v, v.from)
	if len(before) == 0 {
		t.post(room.Slot(), WindowOpened{Name: v.name, Room: l.room})
	}
}

// countIn notes that a window needs what it has from a position on.
func (t *tx) countIn(l clientLog, v window, from uint64) {
	room := HashOfRoom(l.room)
	type counted struct {
		position uint64
		index    eventIndex
	}
	var in []counted
	t.check(visitEventIndex(t.store, room, from, l.next-1, func(position uint64, x eventIndex) (bool, error) {
		if v.has(position, x.class) {
			x.waiting++
			in = append(in, counted{position, x})
		}
		return true, nil
	}))
	for _, c := range in {
		t.setEventIndex(room, c.position, c.index)
	}
}

// endWindow ends a window with a position.
func (t *tx) endWindow(l *clientLog, v window, until uint64) {
	room := HashOfRoom(l.room)
	l.open--
	if v.leaf != unknownLeaf {
		t.delete(leafWindowKey(room, v.leaf))
	}
	v.until = until
	if until < v.from { // nothing was ever in it
		t.dropWindow(*l, v)
		return
	}
	t.setWindow(room, v)
	t.dropIfOver(*l, v)
}

// learnLeaf notes which leaf a window is of.
func (t *tx) learnLeaf(l clientLog, v window, leaf mls.LeafIndex) {
	room := HashOfRoom(l.room)
	t.delete(windowKey(room, v))
	v.leaf = leaf
	t.setWindow(room, v)
	t.setLeafWindow(room, v)
}

// dropIfOver forgets a window of which nothing is left to have.
func (t *tx) dropIfOver(l clientLog, v window) {
	if v.over() {
		t.dropWindow(l, v)
	}
}

func (t *tx) dropWindow(l clientLog, v window) {
	room := HashOfRoom(l.room)
	t.delete(windowKey(room, v))
	if len(t.windowsOf(room, v.name)) == 0 {
		t.post(room.Slot(), WindowsClosed{Name: v.name, Room: l.room})
	}
}

// openWindows are the windows of a log that have not ended.
func (t *tx) openWindows(l clientLog) (open []window) {
	if l.open == 0 {
		return nil
	}
	windows, err := readWindows(t.store, windowsKey(HashOfRoom(l.room)))
	t.check(err)
	for _, v := range windows {
		if v.until == 0 {
			open = append(open, v)
		}
	}
	return open
}

// endAll ends all windows that are open.
func (t *tx) endAll(l *clientLog, until uint64) {
	for _, v := range t.openWindows(*l) {
		t.endWindow(l, v, until)
	}
}
