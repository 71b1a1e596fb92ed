package fsm

// droppedAtOnce bounds the events that one look at a log drops.
const droppedAtOnce = 200

// expireClientLog drops what has waited in a log for longer than the retention of inboxes, from the front. Each window that something of
// it was still needed in keeps a gap, of which its client is told before anything else. A window that has ended, and of which nothing is
// left, goes with its last event: its client has not looked for so long, and is not in the room.
func (t *tx) expireClientLog(target key) {
	l, found := get(t, func(r Reader) (clientLog, bool, error) {
		return readRecord(r, target, "log for clients", readClientLog)
	})
	if !found || l.due > t.now {
		return
	}
	room := HashOfRoom(l.room)
	type dropped struct {
		position uint64
		eventIndex
	}
	var drop []dropped
	l.due = 0
	next := uint64(0) // when the first that stays is due
	t.check(visitEventIndex(t.store, room, 0, l.next, func(position uint64, x eventIndex) (bool, error) {
		due := addUpTo(x.millis, t.settings.Bulk.inboxRetention())
		if due > t.now || len(drop) == droppedAtOnce {
			next = due
			return false, nil
		}
		drop = append(drop, dropped{position, x})
		return true, nil
	}))
	windows := t.allWindows(l)
	for _, d := range drop {
		t.dropEvent(room, d.position)
		for i := range windows {
			if windows[i].needs(d.position, d.class) {
				windows[i].miss(d.position, d.millis)
			}
		}
	}
	if len(drop) > 0 {
		through := drop[len(drop)-1].position
		for _, v := range windows {
			if v.until != 0 && v.until <= through {
				t.dropWindow(l, v)
			} else {
				t.setWindow(room, v)
			}
		}
	}
	if next > 0 {
		l.due = max(next, t.now+1)
		t.expireAt(target, l.due)
	}
	t.keepWhileNeeded(l)
}

// miss notes that an event was dropped which the window needed.
func (v *window) miss(position, millis uint64) {
	if v.gap.items == 0 {
		v.gap.firstMillis = millis
	}
	v.gap.items++
	v.gap.lastMillis, v.gap.position = millis, position
}
