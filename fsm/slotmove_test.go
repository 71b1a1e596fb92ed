package fsm_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

var clubSlot = fsm.SlotOfRoom(club)

// movingClub is two shards, the first with all slots and in one of them a room, which is moved by single steps.
type movingClub struct {
	*slotsWorld
	t    *testing.T
	room *fsmtest.Room
	todo []slotStep // what the driver has decided on
	sent []slotStep // all that it has ever decided on
}

func newMovingClub(t *testing.T, pageBytes int) *movingClub {
	t.Helper()
	m := &movingClub{slotsWorld: newSlotsWorld(t, 2, pageBytes), t: t}
	m.now = 1000
	m.enter(fsm.EnterSettings{Version: 1, Settings: clientSettings()})
	m.place(clubSlot)
	m.room = fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	m.ask(m.room.Create())
	m.room.Incarnation = m.lastOf[club]
	return m
}

// one applies one command of a move.
func (m *movingClub) one(shard int, c fsm.Command) fsm.Outcome {
	m.t.Helper()
	return m.apply(m.shards[shard], c)[0]
}

// next takes what the driver does now; false at the end of the move.
func (m *movingClub) next(freeze bool) (slotStep, bool) {
	m.t.Helper()
	if len(m.sent) > 5000 {
		m.t.Fatal("the move does not come to an end")
	}
	if moving := m.place(clubSlot).move; moving != nil && len(m.todo) == 0 {
		m.drive(*moving, m.sight(*moving), freeze, func(s slotStep) {
			m.todo = append(m.todo, s)
			m.sent = append(m.sent, s)
		})
	}
	if len(m.todo) == 0 {
		return slotStep{}, false
	}
	step := m.todo[0]
	m.todo = m.todo[1:]
	return step, true
}

// until drives the move until one of its commands is the next.
func (m *movingClub) until(wanted func(fsm.Command) bool) fsm.Command {
	m.t.Helper()
	for range 1000 {
		step, more := m.next(true)
		if !more {
			break
		}
		if wanted(step.command) {
			return step.command
		}
		m.deliver(step)
	}
	m.t.Fatal("the move does not come to that")
	return nil
}

func is[C fsm.Command](c fsm.Command) bool {
	_, yes := c.(C)
	return yes
}

// move moves the room's slot whole.
func (m *movingClub) move(to int) {
	m.t.Helper()
	m.begin(clubSlot, to)
	for step, more := m.next(true); more; step, more = m.next(true) {
		m.deliver(step)
	}
	if m.place(clubSlot).shard != to {
		m.t.Fatalf("the slot did not come to shard %d", to)
	}
}

func (m *movingClub) say(label string) {
	m.t.Helper()
	m.ask(m.room.Message(label, m.room.Epoch, bob))
}

func (m *movingClub) commit(n fsmtest.Next) {
	m.t.Helper()
	c := m.room.Commit(n)
	m.ask(c)
	m.room.Advance(c)
}

func moveRefused(t *testing.T, o fsm.Outcome) fsm.MoveRefused {
	t.Helper()
	return outcomeOf[fsm.MoveRefused](t, o)
}

// A slot goes to another shard and comes back, and everything that was ever sent of either move, whenever it comes again, changes nothing.
func TestSlotGoesAndComesBack(t *testing.T) {
	m := newMovingClub(t, 400)
	m.say("at home")
	m.move(1)
	m.say("away")
	m.move(0)
	m.say("back")
	for _, step := range m.sent {
		var before [2][32]byte
		for i, s := range m.shards {
			before[i] = digest(t, s.store)
		}
		for i := range m.shards {
			m.apply(m.shards[i], step.command)
		}
		for i, s := range m.shards {
			if digest(t, s.store) != before[i] {
				t.Errorf("%T%+v, come late, changes shard %d", step.command, step.command, s.id)
			}
		}
	}
	if to, _, err := fsm.Elsewhere(m.shards[1].store, clubSlot); err != nil || to != (fsm.MovedTo{Shard: 1, Generation: 3}) {
		t.Errorf("the shard that had the slot in between answers %+v: %v", to, err)
	}
	m.move(1)
	m.say("away again")
	m.verify()
	m.replay(20)
}

// A slot that is on its way back is nowhere for the shard that it comes to, until it is there; if it does not come, it is where it was.
func TestSlotOnItsWayBack(t *testing.T) {
	m := newMovingClub(t, 400)
	m.move(1)
	answers := func(want fsm.MovedTo) {
		t.Helper()
		if o := m.one(0, m.room.Message("m", 0, bob)); o != fsm.Outcome(want) {
			t.Errorf("a request gets %T%+v, not %+v", o, o, want)
		}
		if to, elsewhere, err := fsm.Elsewhere(m.shards[0].store, clubSlot); err != nil || !elsewhere || to != want {
			t.Errorf("a reader gets %+v, %v, not %+v: %v", to, elsewhere, want, err)
		}
	}
	answers(fsm.MovedTo{Shard: 2, Generation: 2})
	m.begin(clubSlot, 0)
	m.until(is[fsm.FreezeSlot])
	answers(fsm.MovedTo{})
	m.place(clubSlot).move.cancelled = true
	m.todo = nil
	m.finish(clubSlot)
	answers(fsm.MovedTo{Shard: 2, Generation: 2})
	m.verify()
}

// A move that was called off is over: nothing that comes of it later begins it again, at either end, though it never began there; the next one works.
func TestMoveCalledOff(t *testing.T) {
	for name, last := range map[string]func(fsm.Command) bool{
		"before it began": is[fsm.BeginSlotExport], "before a page": is[fsm.ImportSlotPage], "before the freeze": is[fsm.FreezeSlot],
		"before the activation": is[fsm.ActivateSlot],
	} {
		t.Run(name, func(t *testing.T) {
			m := newMovingClub(t, 400)
			m.begin(clubSlot, 1)
			m.until(last)
			m.place(clubSlot).move.cancelled = true
			m.finish(clubSlot)
			if m.place(clubSlot).shard != 0 {
				t.Fatal("the slot went")
			}
			m.say("still here")
			for _, step := range append(slices.Clone(m.sent), slotStep{shard: 1, command: fsm.ImportSlotPage{At: clubSlot, Move: 1, From: 1, Sequence: 1, Whole: true}}) {
				moveRefused(t, m.one(step.shard, step.command))
			}
			m.verify()
			m.move(1)
			m.verify()
		})
	}
}

// An export that has not frozen its slot ends when one of a higher move begins; one that has must be called off first.
func TestExportIsTakenOver(t *testing.T) {
	m := newMovingClub(t, 400)
	outcomeOf[fsm.Done](t, m.one(0, fsm.BeginSlotExport{At: clubSlot, Move: 5, To: 2}))
	m.say("marked")
	outcomeOf[fsm.Done](t, m.one(0, fsm.BeginSlotExport{At: clubSlot, Move: 6, To: 2}))
	if marks, err := fsm.SlotMarks(m.shards[0].store, clubSlot, 1); err != nil || marks != 0 {
		t.Errorf("%d marks of the first export are left: %v", marks, err)
	}
	moveRefused(t, m.one(0, fsm.FreezeSlot{At: clubSlot, Move: 5}))
	moveRefused(t, m.one(0, fsm.ReleaseSlot{At: clubSlot, Move: 6, To: 2, Generation: 2})) // nobody can have all of it
	outcomeOf[fsm.Done](t, m.one(0, fsm.FreezeSlot{At: clubSlot, Move: 6}))
	if no := moveRefused(t, m.one(0, fsm.BeginSlotExport{At: clubSlot, Move: 7, To: 2})); no.Move != 6 || no.Stage != fsm.SlotFrozen {
		t.Errorf("a frozen slot: %+v", no)
	}
	moveRefused(t, m.one(0, fsm.ThawSlot{At: clubSlot, Move: 7}))
	moveRefused(t, m.one(0, fsm.ReleaseSlot{At: clubSlot, Move: 6, To: 3, Generation: 2}))
	moveRefused(t, m.one(0, fsm.ReleaseSlot{At: clubSlot, Move: 6, To: 2, Generation: 1}))
	outcomeOf[fsm.Done](t, m.one(0, fsm.ThawSlot{At: clubSlot, Move: 6}))
	moveRefused(t, m.one(0, fsm.ReleaseSlot{At: clubSlot, Move: 6, To: 2, Generation: 2}))
	m.say("served")
	m.verify()
}

// Nobody exports what is not here, or to where it is.
func TestExportNeedsTheSlot(t *testing.T) {
	m := newMovingClub(t, 400)
	if o := m.one(1, fsm.BeginSlotExport{At: clubSlot, Move: 1, To: 1}); o != fsm.Outcome(fsm.MovedTo{}) {
		t.Errorf("a shard that never had it: %T%+v", o, o)
	}
	outcomeOf[fsm.NotAllowed](t, m.one(0, fsm.BeginSlotExport{At: clubSlot, Move: 1, To: 1}))
	outcomeOf[fsm.NotAllowed](t, m.one(0, fsm.BeginSlotExport{At: fsm.SlotCount, Move: 1, To: 2}))
	outcomeOf[fsm.NotAllowed](t, m.one(0, fsm.BeginSlotExport{At: clubSlot, To: 2}))
	m.move(1)
	if o := m.one(0, fsm.BeginSlotExport{At: clubSlot, Move: 2, To: 2}); o != fsm.Outcome(fsm.MovedTo{Shard: 2, Generation: 2}) {
		t.Errorf("a shard that had it: %T%+v", o, o)
	}
	moveRefused(t, m.one(1, fsm.ImportSlotPage{At: clubSlot, Move: 2, From: 1, Sequence: 1}))
	moveRefused(t, m.one(0, fsm.DropSlotImport{At: clubSlot, Move: 1}))
	moveRefused(t, m.one(1, fsm.DropSlotImport{At: clubSlot, Move: 1}))
	moveRefused(t, m.one(1, fsm.DropSlotImport{At: clubSlot, Move: 2}))
}

// Pages are taken one behind the other. The last one again is known, another of its number is not, and neither is one that was read before it.
func TestPagesFollow(t *testing.T) {
	m := newMovingClub(t, 400)
	m.say("something")
	m.begin(clubSlot, 1)
	first := m.until(is[fsm.ImportSlotPage]).(fsm.ImportSlotPage)
	gap := first
	gap.Sequence = 2
	if o := m.one(1, gap); o != fsm.Outcome(fsm.PageTaken{}) {
		t.Errorf("a second page before the first: %T%+v", o, o)
	}
	m.deliver(slotStep{shard: 1, command: first})
	if o := m.one(1, first); o != fsm.Outcome(fsm.PageTaken{Sequence: 1}) {
		t.Errorf("the first page again: %T%+v", o, o)
	}
	another := first
	another.Records = another.Records[1:]
	moveRefused(t, m.one(1, another))
	second := m.until(is[fsm.ImportSlotPage]).(fsm.ImportSlotPage)
	gap = second
	gap.Sequence = 3
	if o := m.one(1, gap); o != fsm.Outcome(fsm.PageTaken{Sequence: 1}) {
		t.Errorf("a third page before the second: %T%+v", o, o)
	}
	for name, spoil := range map[string]func(*fsm.ImportSlotPage){
		"an older view":     func(c *fsm.ImportSlotPage) { c.Index-- },
		"less gone through": func(c *fsm.ImportSlotPage) { c.Through = nil },
		"another source":    func(c *fsm.ImportSlotPage) { c.From = 3 },
	} {
		c := second
		spoil(&c)
		if no := moveRefused(t, m.one(1, c)); no.Stage != fsm.SlotImporting {
			t.Errorf("%s: %+v", name, no)
		}
	}
	newer := second
	newer.Format = fsm.FormatNewest + 1
	if o := m.one(1, newer); o != fsm.Outcome(fsm.FormatNotReached{Needs: fsm.FormatNewest + 1, Has: fsm.FormatNewest}) {
		t.Errorf("a page of a newer format: %T%+v", o, o)
	}
	if o := m.one(1, second); o != fsm.Outcome(fsm.PageTaken{Sequence: 2}) {
		t.Errorf("the second page: %T%+v", o, o)
	}
	moveRefused(t, m.one(1, first)) // whether what it has is in cannot be known
	m.finish(clubSlot)
	m.verify()
}

// A slot is activated behind exactly its last page, when it has come whole, under a generation that rises and settings that are not older.
func TestActivationIsExact(t *testing.T) {
	m := newMovingClub(t, 400)
	m.begin(clubSlot, 1)
	page := m.until(is[fsm.ImportSlotPage]).(fsm.ImportSlotPage)
	m.deliver(slotStep{shard: 1, command: page})
	early := fsm.ActivateSlot{At: clubSlot, Move: 1, Sequence: 1, Generation: 2}
	moveRefused(t, m.one(1, early)) // not whole
	m.until(is[fsm.FreezeSlot])
	m.ask(m.room.Message("m", 0, bob))
	activate := m.until(is[fsm.ActivateSlot]).(fsm.ActivateSlot)
	for name, spoil := range map[string]func(*fsm.ActivateSlot){
		"another page":       func(c *fsm.ActivateSlot) { c.Sequence-- },
		"a page to come":     func(c *fsm.ActivateSlot) { c.Sequence++ },
		"no generation":      func(c *fsm.ActivateSlot) { c.Generation = 0 },
		"newer settings":     func(c *fsm.ActivateSlot) { c.Settings++ },
		"an earlier move":    func(c *fsm.ActivateSlot) { c.Move-- },
		"a move to come":     func(c *fsm.ActivateSlot) { c.Move++ },
		"a slot of no pages": func(c *fsm.ActivateSlot) { c.At++ },
	} {
		c := activate
		spoil(&c)
		o := m.one(1, c)
		if _, bad := o.(fsm.NotAllowed); !bad || name != "an earlier move" { // the move of number 0 is none
			moveRefused(t, o)
		}
	}
	outcomeOf[fsm.Done](t, m.one(1, activate))
	outcomeOf[fsm.Done](t, m.one(1, activate))
	higher := activate
	higher.Generation++
	moveRefused(t, m.one(1, higher))
	m.finish(clubSlot)
	m.verify()
}

// While a slot is frozen its requests are refused, and neither sweeps nor settings change it; it catches up wherever it is served again.
func TestFrozenSlot(t *testing.T) {
	for _, back := range []bool{true, false} {
		t.Run(fmt.Sprint("back ", back), func(t *testing.T) {
			m := newMovingClub(t, 400)
			m.ask(fsm.TakeLease{Room: club, Requester: alice, Client: "alice1", DurationMillis: 5000})
			m.say("for the inboxes")
			m.begin(clubSlot, 1)
			m.until(is[fsm.ActivateSlot])
			before := slotDigest(m.slotsWorld, m.shards[0], clubSlot)
			m.askOthers(nil, []fsm.Command{m.room.Message("frozen", 0, bob)})
			m.now += 1 << 40 // everything that can has expired
			for _, s := range m.shards {
				m.apply(s, fsm.Sweep{Max: 1000})
				if overdue, err := fsm.Overdue(s.store); err != nil || overdue {
					t.Errorf("shard %d always has something to sweep: %v", s.id, err)
				}
			}
			off := clientSettings()
			off.Bulk.ClientInboxes = false
			m.enter(fsm.EnterSettings{Version: 2, Settings: off})
			if slotDigest(m.slotsWorld, m.shards[0], clubSlot) != before {
				t.Error("a frozen slot has changed")
			}
			m.place(clubSlot).move.cancelled = back
			m.finish(clubSlot)
			m.sweep()
			m.verify()
		})
	}
}

// What stands in an entry before its slot is frozen has happened whole, with what goes out; what stands behind has not.
func TestFreezeInsideAnEntry(t *testing.T) {
	m := newMovingClub(t, 400)
	m.begin(clubSlot, 1)
	freeze := m.until(is[fsm.FreezeSlot])
	before, after := m.room.Message("before", 0, bob), m.room.Message("after", 0, bob)
	outcomes := m.apply(m.shards[0], before, freeze, after)
	outcomeOf[fsm.Accepted](t, outcomes[0])
	outcomeOf[fsm.Done](t, outcomes[1])
	if outcomes[2] != fsm.Outcome(fsm.MovedTo{}) {
		t.Errorf("behind the freeze: %T%+v", outcomes[2], outcomes[2])
	}
	m.apply(m.still, before)
	check(t, fsm.VerifyState(m.shards[0].store))
	m.finish(clubSlot)
	m.say("after")
	m.verify()
}

// A slot that comes in an entry is served by what stands behind that in it, and one that is released is gone for it.
func TestArrivalInsideAnEntry(t *testing.T) {
	m := newMovingClub(t, 400)
	m.begin(clubSlot, 1)
	activate := m.until(is[fsm.ActivateSlot])
	early, late := m.room.Message("early", 0, bob), m.room.Message("late", 0, bob)
	outcomes := m.apply(m.shards[1], early, activate, late)
	if outcomes[0] != fsm.Outcome(fsm.MovedTo{}) {
		t.Errorf("before the activation: %T%+v", outcomes[0], outcomes[0])
	}
	outcomeOf[fsm.Accepted](t, outcomes[2])
	m.apply(m.still, late)
	release := m.until(is[fsm.ReleaseSlot])
	outcomes = m.apply(m.shards[0], release, late)
	if outcomes[1] != fsm.Outcome(fsm.MovedTo{Shard: 2, Generation: 2}) {
		t.Errorf("behind the release: %T%+v", outcomes[1], outcomes[1])
	}
	m.finish(clubSlot)
	m.verify()
}

// Hub time of the target does not stay behind that of the source: what has ended there is not held here.
func TestClockComesAlong(t *testing.T) {
	m := newMovingClub(t, 400)
	lease := func(who mimi.UserURI) fsm.TakeLease {
		return fsm.TakeLease{Room: club, Requester: who, Client: who.String(), DurationMillis: 10_000}
	}
	outcomeOf[fsm.LeaseGranted](t, m.one(0, lease(alice)))
	m.now = 60_000
	m.one(0, fsm.Fence{})
	m.now = 2000 // the target's leader has another clock
	m.move(1)
	granted := outcomeOf[fsm.LeaseGranted](t, m.one(1, lease(bob)))
	if granted.UntilMillis != 70_000 {
		t.Errorf("the lease ends at %d", granted.UntilMillis)
	}
	if now, err := fsm.ReadClock(m.shards[1].store); err != nil || now != 60_000 {
		t.Errorf("hub time of the target is %d: %v", now, err)
	}
}

// A room that goes on in a new group gets an incarnation above all that it has had, though the index of its new shard's log is far below, or the very one that
// the room was made at.
func TestIncarnationsDoNotRepeat(t *testing.T) {
	m := newMovingClub(t, 400)
	first := m.room.Incarnation
	last := m.room.Commit(fsmtest.Next{Label: "reinit"})
	last.ReInit = []byte("parameters")
	m.ask(last)
	m.room.Advance(last)
	m.move(1)
	m.shards[1].index = first - 1
	m.shards[1].log = nil
	next := m.room.Successor("next group")
	m.ask(fsm.ContinueRoom{Ended: m.room.GroupID, Create: next.Create()}) // which looks at the incarnation
	if m.lastOf[club] <= first {
		t.Errorf("the incarnation is %d after %d", m.lastOf[club], first)
	}
	stale := next.Commit(fsmtest.Next{Label: "stale"})
	stale.Reads.Incarnation = first
	if o, changed := m.one(1, stale).(fsm.ReadSetChanged); !changed || o.Index != m.shards[1].index {
		t.Errorf("a Commit that was judged with the first incarnation: %+v", o)
	}
	m.move(0)
	m.verify()
}

// What expires of a slot is swept where the slot has come.
func TestSlotIsDueWhereItComes(t *testing.T) {
	m := newMovingClub(t, 400)
	m.ask(fsm.TakeLease{Room: club, Requester: alice, Client: "alice1", DurationMillis: 5000})
	m.move(1)
	m.now += 6000
	for i, s := range m.shards {
		m.one(i, fsm.Fence{})
		if overdue, err := fsm.Overdue(s.store); err != nil || overdue != (i == 1) {
			t.Errorf("shard %d is overdue: %v, %v", s.id, overdue, err)
		}
	}
	m.sweep()
	m.verify()
	if lease, _, err := fsm.ReadLease(m.shards[1].store, club); err != nil || !lease.Requester.IsZero() {
		t.Errorf("a lease that has ended is left: %+v, %v", lease, err)
	}
}

// A value that is larger than a page, or than an entry may be, comes in parts, each page of which fits; when it changes or goes on the way, what has
// come of it is forgotten.
func TestLargeValues(t *testing.T) {
	m := newMovingClub(t, fsm.SlotPageBytes)
	large := func(label string, megabytes int) {
		c := m.room.Commit(fsmtest.Next{Label: label})
		c.Facts.GroupInfo = bytes.Repeat([]byte(label), megabytes<<20/len(label))
		m.ask(c)
		m.room.Advance(c)
	}
	large("eight", 8)
	m.begin(clubSlot, 1)
	partial := func() fsm.SlotPart {
		came, _, err := fsm.ReadSlotImport(m.shards[1].store, clubSlot)
		check(t, err)
		return came.Part
	}
	pages, inPart := 0, func(c fsm.Command) bool { return partial().Offset > 1<<20 }
	count := func(c fsm.Command) bool {
		if page, yes := c.(fsm.ImportSlotPage); yes {
			pages++
			if n := len(fsm.EncodeCommand(page)); n > fsm.SlotPageBytes+10<<10 {
				t.Errorf("a page is of %d bytes", n)
			}
		}
		return inPart(c)
	}
	m.until(count)
	part := m.until(is[fsm.ImportSlotPage]).(fsm.ImportSlotPage)
	for name, spoil := range map[string]func(*fsm.SlotPart){
		"an earlier part":  func(p *fsm.SlotPart) { p.Offset-- },
		"a later part":     func(p *fsm.SlotPart) { p.Offset++ },
		"of another value": func(p *fsm.SlotPart) { p.Hash[0]++ },
		"of another key":   func(p *fsm.SlotPart) { p.Key = append(bytes.Clone(p.Key), 1) },
		"of another size":  func(p *fsm.SlotPart) { p.Total++ },
		"all in one": func(p *fsm.SlotPart) {
			p.Offset, p.Total = 0, uint32(len(p.Bytes))
		},
	} {
		c := part
		p := c.Records[0].(fsm.SlotPart)
		spoil(&p)
		c.Records = []fsm.SlotRecord{p}
		if o, no := m.one(1, c).(fsm.MoveRefused); !no {
			t.Errorf("%s was taken: %T%+v", name, o, o)
		}
	}
	large("five", 5)
	m.until(count)
	if partial().Offset == 0 {
		t.Error("no value is under way")
	}
	m.commit(fsmtest.Next{Label: "small"})
	m.until(count1(is[fsm.FreezeSlot], count))
	m.finish(clubSlot)
	if pages < 8 {
		t.Errorf("all came in %d pages", pages)
	}
	m.verify()
	m.replay(30)
}

// count1 looks at a command in two ways, of which the first decides.
func count1(decides, looks func(fsm.Command) bool) func(fsm.Command) bool {
	return func(c fsm.Command) bool {
		looks(c)
		return decides(c)
	}
}

// Marks go when they were carried, and not before: not those of keys that did not come into the page, nor of changes behind its view.
func TestMarksAreDroppedWhenCarried(t *testing.T) {
	m := newMovingClub(t, 1000)
	m.begin(clubSlot, 1)
	for whole := false; !whole; {
		step, _ := m.next(false)
		m.deliver(step)
		came, _, err := fsm.ReadSlotImport(m.shards[1].store, clubSlot)
		check(t, err)
		whole = came.Whole
	}
	m.say("one")
	m.say("two")
	marks := func() int {
		n, err := fsm.SlotMarks(m.shards[0].store, clubSlot, 1000)
		check(t, err)
		return n
	}
	all := marks()
	page, _ := m.next(false)
	m.say("three") // behind the page's view
	again := marks()
	m.one(1, page.command)
	moving := *m.place(clubSlot).move
	export, _, err := fsm.ReadSlotExport(m.shards[0].store, clubSlot)
	check(t, err)
	if export.Since == 0 || all == 0 || again < all {
		t.Fatalf("%d marks, then %d, since %d", all, again, export.Since)
	}
	page.then(fsm.PageTaken{Sequence: page.command.(fsm.ImportSlotPage).Sequence})
	drop, _ := m.next(false)
	outcomeOf[fsm.Done](t, m.one(0, drop.command))
	left := marks()
	if left == 0 || left >= again {
		t.Errorf("of %d marks %d are left", again, left)
	}
	outcomeOf[fsm.Done](t, m.one(0, drop.command)) // twice is once
	if marks() != left {
		t.Error("the same again drops more")
	}
	moveRefused(t, m.one(0, fsm.DropSlotMarks{At: clubSlot, Move: moving.number + 1, Through: 1 << 60}))
	m.finish(clubSlot)
	m.verify()
}

// A shard may be born without slots from FormatResize on.
func TestBornWithoutSlots(t *testing.T) {
	empty := fsm.OwnSlots{Shard: 2, Generation: 1, First: 1}
	store := fsmtest.NewStore()
	outcomeOf[fsm.NotAllowed](t, applyTo(t, store, 1, 1000, empty)[0])
	outcomes := applyTo(t, store, 2, 1000, fsm.EnterSettings{Version: 1, Settings: fsm.DefaultSettings(hub)}, empty, fsm.OwnSlots{Shard: 2, Generation: 1, First: 2}, empty)
	outcomeOf[fsm.Done](t, outcomes[1])
	outcomeOf[fsm.NotAllowed](t, outcomes[2])
	outcomeOf[fsm.Done](t, outcomes[3])
	if born, found, err := fsm.ReadShard(store); err != nil || !found || born != empty {
		t.Errorf("born as %+v: %v", born, err)
	}
	check(t, fsm.VisitOwnedSlots(store, func(slot fsm.SlotID, _ fsm.Ownership) (bool, error) {
		t.Errorf("it has slot %d", slot)
		return false, nil
	}))
	check(t, fsm.VerifyState(store))
}

// In a shard of an older format nothing of a move is there.
func TestMovesNeedTheirFormat(t *testing.T) {
	store := fsmtest.NewStore()
	applyTo(t, store, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: fourthSettings(hub)})
	before, err := fsm.ContentDigest(store)
	check(t, err)
	for _, c := range []fsm.Command{
		fsm.BeginSlotExport{At: 1, Move: 1, To: 2}, fsm.DropSlotMarks{At: 1, Move: 1}, fsm.FreezeSlot{At: 1, Move: 1}, fsm.ThawSlot{At: 1, Move: 1},
		fsm.ReleaseSlot{At: 1, Move: 1, To: 2, Generation: 2}, fsm.ImportSlotPage{At: 1, Move: 1, Sequence: 1}, fsm.DropSlotImport{At: 1, Move: 1}, fsm.ActivateSlot{At: 1, Move: 1},
	} {
		if o := applyTo(t, store, 2, 1000, c)[0]; o != fsm.Outcome(fsm.FormatNotReached{Needs: fsm.FormatResize, Has: fsm.FormatBulk}) {
			t.Errorf("%T: %T%+v", c, o, o)
		}
	}
	if after, err := fsm.ContentDigest(store); err != nil || after != before {
		t.Error("it has changed something")
	}
}

// What a cluster that has lost history says of a slot's place ends its move, wherever that is; without a word a frozen slot comes into the new
// generation when it is thawed.
func TestGenerationSettlesMoves(t *testing.T) {
	for name, at := range map[string]func(fsm.Command) bool{"exporting": is[fsm.ImportSlotPage], "frozen": is[fsm.ActivateSlot]} {
		for shard := range 2 {
			for _, here := range []bool{true, false} {
				t.Run(fmt.Sprint(name, " shard ", shard+1, " here ", here), func(t *testing.T) {
					m := newMovingClub(t, 400)
					m.begin(clubSlot, 1)
					m.deliver(slotStep{shard: 1, command: m.until(is[fsm.ImportSlotPage])})
					next := m.until(at)
					whose := []fsm.ShardID{1, 2}
					if !here {
						slices.Reverse(whose)
					}
					s := m.shards[shard]
					ruled := fsm.BeginGeneration{Generation: 2, Slots: []fsm.SlotRuling{{Slot: clubSlot, Shard: whose[shard], Generation: 7}}}
					entry := fsm.EncodeEntry(fsm.Entry{StampMillis: m.now, Commands: []fsm.Command{ruled}})
					result, err := fsm.Apply(s.store, s.index+1, entry)
					check(t, err)
					outcomeOf[fsm.Done](t, result.Outcomes[0])
					check(t, fsm.VerifyState(s.store))
					_, there, err := fsm.ReadRoom(s.store, club)
					if check(t, err); there != (here && (shard == 0 || name == "frozen")) {
						t.Errorf("the room is there: %v", there)
					}
					if got, want := slices.Contains(result.Arrived, clubSlot), here; got != want || slices.Contains(result.Gone, clubSlot) == want {
						t.Errorf("arrived %v, gone %v", result.Arrived, result.Gone)
					}
					if serves := m.serves(s, clubSlot); serves != here {
						t.Errorf("the shard serves the slot: %v", serves)
					}
					for _, c := range append(slices.Clone(m.sent), slotStep{command: next}) {
						again, err := fsm.Apply(s.store, s.index+2, fsm.EncodeEntry(fsm.Entry{StampMillis: m.now, Commands: []fsm.Command{c.command}}))
						check(t, err)
						if _, done := again.Outcomes[0].(fsm.Done); done || m.serves(s, clubSlot) != here {
							t.Errorf("%T is taken up again", c.command)
						}
					}
				})
			}
		}
	}
	m := newMovingClub(t, 400)
	m.begin(clubSlot, 1)
	m.until(is[fsm.ActivateSlot])
	outcomeOf[fsm.Done](t, m.one(0, fsm.BeginGeneration{Generation: 2}))
	generation := func() fsm.Generation {
		g, err := fsm.ReadSlotGeneration(m.shards[0].store, clubSlot)
		check(t, err)
		return g
	}
	if g := generation(); g != fsm.FirstGeneration {
		t.Errorf("a frozen slot is in generation %d", g)
	}
	m.place(clubSlot).move.cancelled = true
	m.finish(clubSlot)
	if g := generation(); g != 2 {
		t.Errorf("a thawed slot is in generation %d", g)
	}
	check(t, fsm.VerifyState(m.shards[0].store))
}
