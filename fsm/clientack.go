package fsm

import (
	"cmp"
	"slices"

	"parley/mls"
)

const KindAcknowledgeEvents CommandKind = 61

// AcknowledgeEvents records that a member has had events of a room: all up to a position, and single ones. What is not in its windows, or
// was acknowledged before, is skipped. The first AcknowledgedAtOnce up to the position go; where more are left the outcome
// says so, and the command is to be given again. From FormatBulk on.
type AcknowledgeEvents struct {
	Room      RoomHash
	Name      MemberName
	Through   uint64 // 0: none
	Positions []uint64
}

func (c AcknowledgeEvents) Slot() SlotID    { return c.Room.Slot() }
func (AcknowledgeEvents) Lane() Lane        { return Bulk }
func (AcknowledgeEvents) kind() CommandKind { return KindAcknowledgeEvents }

//	struct {
//	    opaque room[32];
//	    opaque name<V>;
//	    uint64 through;
//	    uint64 positions<V>;
//	} AcknowledgeEvents;
func (c AcknowledgeEvents) appendTo(w *mls.Writer) {
	w.Fixed(c.Room[:])
	appendText(w, c.Name)
	w.Uint64(c.Through)
	appendList(w, c.Positions, (*mls.Writer).Uint64)
}

func readAcknowledgeEvents(r *mls.Reader) AcknowledgeEvents {
	return AcknowledgeEvents{
		Room: readHash(r, "room"), Name: readText[MemberName](r, "name"), Through: r.Uint64("through"),
		Positions: readList(r, "positions", func(r *mls.Reader) uint64 { return r.Uint64("") }),
	}
}

func (t *tx) acknowledgeEvents(c AcknowledgeEvents) Outcome {
	l, found := t.clientLog(c.Room)
	if !found {
		return Acknowledged{}
	}
	var done Acknowledged
	full := false
	for _, v := range t.windowsOf(c.Room, c.Name) {
		items, more := t.acknowledgeUpTo(l, &v, c.Through)
		for _, position := range c.Positions {
			items += t.acknowledgeOne(l, &v, position)
			full = full || len(v.taken) > stretchesMax
		}
		done.Items, done.More = done.Items+items, done.More || more
		t.setWindow(c.Room, v)
		t.dropIfOver(l, v)
	}
	t.keepWhileNeeded(l)
	if full {
		return NotAllowed{Reason: "too much that is not acknowledged stands between what is: acknowledge up to a position first"}
	}
	return done
}

// acknowledgeUpTo acknowledges what a window has up to a position.
func (t *tx) acknowledgeUpTo(l clientLog, v *window, through uint64) (items uint32, more bool) {
	through = min(through, v.last(l.next))
	if v.gap.position <= through {
		v.gap = storedGap{}
	}
	if through <= v.acknowledged {
		return 0, false
	}
	var needed []uint64
	t.check(visitEventIndex(t.store, HashOfRoom(l.room), v.acknowledged+1, through, func(position uint64, x eventIndex) (bool, error) {
		if !v.needs(position, x.class) {
			return true, nil
		}
		if more = len(needed) == AcknowledgedAtOnce; more {
			through = position - 1
			return false, nil
		}
		needed = append(needed, position)
		return true, nil
	}))
	for _, position := range needed {
		t.needLess(HashOfRoom(l.room), position)
	}
	v.acknowledged = through
	v.taken = slices.DeleteFunc(v.taken, func(s stretch) bool { return s.last <= through })
	t.closeHoles(l, v)
	return uint32(len(needed)), more
}

// acknowledgeOne acknowledges one event, if the window needs it. Where it leaves more stretches than a window may have, the command
// goes on, is told so, and takes no other that makes one more.
func (t *tx) acknowledgeOne(l clientLog, v *window, position uint64) (items uint32) {
	if v.gap.items > 0 && v.gap.position == position {
		v.gap = storedGap{}
		return 1
	}
	room := HashOfRoom(l.room)
	x, found := t.eventIndex(room, position)
	if !found || !v.needs(position, x.class) || len(v.taken) > stretchesMax {
		return 0
	}
	t.needLess(room, position)
	v.take(position)
	t.closeHoles(l, v)
	return 1
}

// take notes one more position as acknowledged.
func (v *window) take(position uint64) {
	i, _ := slices.BinarySearchFunc(v.taken, position, func(s stretch, position uint64) int { return cmp.Compare(s.first, position) })
	v.taken = slices.Insert(v.taken, i, stretch{position, position})
	if i+1 < len(v.taken) && v.taken[i+1].first == position+1 {
		v.taken[i].last = v.taken[i+1].last
		v.taken = slices.Delete(v.taken, i+1, i+2)
	}
	if i > 0 && v.taken[i-1].last+1 == position {
		v.taken[i-1].last = v.taken[i].last
		v.taken = slices.Delete(v.taken, i, i+1)
	}
}

// closeHoles moves a window's position over what it has acknowledged already and over what it does not need.
func (t *tx) closeHoles(l clientLog, v *window) {
	for steps := 0; steps < AcknowledgedAtOnce && v.acknowledged < v.last(l.next); steps++ {
		next := v.acknowledged + 1
		if len(v.taken) > 0 && v.taken[0].first <= next {
			v.acknowledged = max(v.acknowledged, v.taken[0].last)
			v.taken = v.taken[1:]
			continue
		}
		if x, found := t.eventIndex(HashOfRoom(l.room), next); found && v.needs(next, x.class) {
			return
		}
		if first := t.firstPosition(HashOfRoom(l.room).Slot()); next < first && t.noneBetween(l, *v, next, first) {
			next = min(first-1, v.last(l.next))
		}
		v.acknowledged = next
	}
}

// noneBetween reports whether between a position and the first of the slot's generation there is nothing that the window knows of.
func (t *tx) noneBetween(l clientLog, v window, position, first uint64) bool {
	if len(v.taken) > 0 && v.taken[0].first < first {
		return false
	}
	none := true
	t.check(visitEventIndex(t.store, HashOfRoom(l.room), position, first-1, func(uint64, eventIndex) (bool, error) {
		none = false
		return false, nil
	}))
	return none
}

// needLess takes note that one window less needs an event, which goes with the last one.
func (t *tx) needLess(room RoomHash, position uint64) {
	x, found := t.eventIndex(room, position)
	if !found {
		return
	}
	if x.waiting > 1 {
		x.waiting--
		t.setEventIndex(room, position, x)
		return
	}
	t.dropEvent(room, position)
}
