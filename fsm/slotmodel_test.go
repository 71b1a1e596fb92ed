package fsm_test

import (
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
)

// playedLog is a log that was made for one shard with all slots.
type playedLog struct {
	name    string
	entries []fsm.Entry
}

// playedLogs are those of the transcripts, and of rooms and clients at random. Objects in pieces are known by a hash that an incarnation
// goes into, so the transcript of pieces stays out.
func playedLogs(t *testing.T) (logs []playedLog) {
	for _, path := range transcripts(t) {
		if filepath.Base(path) == "pieces.txt" {
			continue
		}
		_, entries := play(t, readTranscript(t, path))
		logs = append(logs, decodedLog(t, filepath.Base(path), entries))
	}
	for seed := range uint64(4) {
		m := newClientsModel(t, seed)
		for range 60 {
			m.step()
		}
		logs = append(logs, decodedLog(t, "clients", m.log))
	}
	return logs
}

func decodedLog(t *testing.T, name string, entries [][]byte) playedLog {
	l := playedLog{name: name}
	for _, b := range entries {
		e, err := fsm.DecodeEntry(b)
		check(t, err)
		l.entries = append(l.entries, e)
	}
	return l
}

// Slots move between shards while their rooms and users go on, by drivers that stop, come late, do everything twice and in another order,
// and moves are called off: no two shards ever serve a slot, what came is what was there, and all comes to the same as in a shard that
// keeps its slots.
func TestSlotsMove(t *testing.T) {
	logs := playedLogs(t)
	rapid.Check(t, func(t *rapid.T) {
		l := logs[rapid.IntRange(0, len(logs)-1).Draw(t, "log")]
		m := &slotsModel{
			slotsWorld: newSlotsWorld(t, rapid.IntRange(2, 3).Draw(t, "shards"), rapid.SampledFrom([]int{250, 1000, 5000, fsm.SlotPageBytes}).Draw(t, "page")),
			t:          t,
		}
		for i, e := range l.entries {
			m.now = max(m.now, e.StampMillis)
			for range rapid.IntRange(0, 6).Draw(t, "steps") {
				m.step()
			}
			m.play(uint64(i+1), e)
		}
		m.close()
	})
}

// slotsModel draws what happens to a slotsWorld.
type slotsModel struct {
	*slotsWorld
	t      *rapid.T
	flying []slotStep
	sent   []slotStep
	known  []slotMoving // as drivers have read them from the map
	sights []knownSight
}

type knownSight struct {
	number uint64
	seen   slotSight
}

// play plays an entry of the log: what is for the shard alone in all shards, what is for slots where they are. A slot that nobody serves
// has its move finished first.
func (m *slotsModel) play(index uint64, e fsm.Entry) {
	var slots []fsm.SlotID
	of := map[fsm.SlotID][]fsm.Command{}
	for _, c := range e.Commands {
		switch c := c.(type) {
		case fsm.OwnSlots, fsm.Fence:
		case fsm.EnterSettings:
			m.enter(c)
		case fsm.Sweep:
			m.thawAll()
			m.sweep()
		default:
			if c.Slot() >= fsm.SlotCount {
				continue // it is of no shard
			}
			if !slices.Contains(slots, c.Slot()) {
				slots = append(slots, c.Slot())
			}
			of[c.Slot()] = append(of[c.Slot()], c)
		}
	}
	for _, slot := range slots {
		m.place(slot)
		if m.serving(slot) == nil {
			m.askOthers(nil, of[slot])
			m.finish(slot)
		}
		m.ask(of[slot]...)
		m.learn(index, of[slot])
	}
}

// learn notes which incarnation here stands for one of the log.
func (m *slotsModel) learn(index uint64, commands []fsm.Command) {
	for _, c := range commands {
		if uri, creates := madeBy(c); creates && m.lastOf[uri] != 0 {
			k := incarnationOf{room: uri, inLog: index}
			if _, known := m.incarnation[k]; !known {
				m.incarnation[k] = m.lastOf[uri]
			}
		}
	}
}

// thawAll ends the moves of slots that nobody serves.
func (m *slotsModel) thawAll() {
	for _, slot := range m.touched {
		if m.serving(slot) == nil {
			m.finish(slot)
		}
	}
}

func (m *slotsModel) step() {
	if m.version == 0 || len(m.touched) == 0 {
		return
	}
	switch rapid.SampledFrom([]string{"begin", "drive", "drive", "drive", "deliver", "deliver", "deliver", "again", "cancel", "look"}).Draw(m.t, "step") {
	case "begin":
		slot := rapid.SampledFrom(m.touched).Draw(m.t, "slot")
		if h := m.place(slot); h.move == nil {
			to := (h.shard + rapid.IntRange(1, len(m.shards)-1).Draw(m.t, "to")) % len(m.shards)
			m.known = append(m.known, *m.begin(slot, to))
		}
	case "drive":
		m.driveOne()
	case "deliver":
		if len(m.flying) > 0 {
			i := rapid.IntRange(0, len(m.flying)-1).Draw(m.t, "which")
			step := m.flying[i]
			m.flying = slices.Delete(m.flying, i, i+1)
			m.deliver(step)
			m.sent = append(m.sent, step)
		}
	case "again":
		if len(m.sent) > 0 {
			m.deliver(rapid.SampledFrom(m.sent).Draw(m.t, "which"))
		}
	case "cancel":
		var moving []*slotMoving
		for _, slot := range m.touched {
			if h := m.place(slot); h.move != nil {
				moving = append(moving, h.move)
			}
		}
		if len(moving) > 0 {
			moving[rapid.IntRange(0, len(moving)-1).Draw(m.t, "move")].cancelled = true
		}
	case "look":
		m.sweepsPassBy()
	}
}

// driveOne lets a driver take a step: of a move as it is in the map or as it once was, and of states as they are or once were.
func (m *slotsModel) driveOne() {
	if len(m.known) == 0 {
		return
	}
	moving := m.known[len(m.known)-1-rapid.IntRange(0, min(5, len(m.known)-1)).Draw(m.t, "move")]
	if now := m.place(moving.slot).move; now != nil && now.number == moving.number && rapid.Bool().Draw(m.t, "map") {
		moving = *now
	}
	seen := m.sight(moving)
	var old []slotSight
	for _, k := range m.sights {
		if k.number == moving.number {
			old = append(old, k.seen)
		}
	}
	if len(old) > 0 && rapid.IntRange(0, 3).Draw(m.t, "late") == 0 {
		seen = rapid.SampledFrom(old).Draw(m.t, "sight")
	} else if rapid.IntRange(0, 2).Draw(m.t, "remember") == 0 {
		m.sights = append(m.sights, knownSight{moving.number, seen.kept()})
		if len(m.sights) > 20 {
			m.sights = m.sights[1:]
		}
	}
	m.drive(moving, seen, rapid.Bool().Draw(m.t, "freeze"), func(s slotStep) { m.flying = append(m.flying, s) })
}

// sweepsPassBy: a sweep, however late, changes nothing of a slot that is frozen or comes, and has nothing to do there.
func (m *slotsModel) sweepsPassBy() {
	for _, s := range m.shards {
		swept := &shardInTest{id: s.id, store: s.store.Clone(), index: s.index}
		_, err := fsm.Apply(swept.store, s.index+1, fsm.EncodeEntry(fsm.Entry{StampMillis: 1 << 50, Commands: []fsm.Command{fsm.Sweep{Max: 1 << 20}}}))
		m.check(err)
		for _, slot := range m.touched {
			if !m.serves(s, slot) && slotDigest(m.slotsWorld, swept, slot) != slotDigest(m.slotsWorld, s, slot) {
				m.t.Fatalf("a sweep of shard %d has changed slot %d, which it does not serve", s.id, slot)
			}
		}
	}
}

// close lets all that is on its way come in, all moves end, and looks at what is left.
func (m *slotsModel) close() {
	for _, step := range m.flying {
		m.deliver(step)
	}
	for _, slot := range m.touched {
		m.finish(slot)
	}
	if m.version > 0 {
		m.sweep()
	}
	m.verify()
	m.replay(rapid.IntRange(0, 1000).Draw(m.t, "cut"))
}
