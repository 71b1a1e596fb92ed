package cluster

import (
	"bytes"
	"fmt"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

// What it costs a busy slot that it is on its way out, on the state engine: entries of 100 messages of one room, while nothing moves, while another
// slot does, and while this one does.
func BenchmarkSlotMarks(b *testing.B) {
	club := room(b, "club")
	slot := fsm.SlotOfRoom(club)
	for _, run := range []struct {
		name   string
		export fsm.SlotID
	}{{"nothing moves", fsm.SlotCount}, {"another slot moves", slot ^ 1}, {"the slot moves", slot}} {
		b.Run(run.name, func(b *testing.B) {
			s := newClaimCost(b, 0, 1)
			r := fsmtest.NewRoom(club, 0, []mimi.UserURI{user(b, "alice"), user(b, "bob")}, []mimi.Provider{provider(b, "a.example"), provider(b, "b.example")})
			s.apply(r.Create())
			s.apply(fsm.BeginSlotExport{At: run.export, Move: 1, To: 2})
			made := 0
			for b.Loop() {
				b.StopTimer()
				batch := fsm.SubmitBatch{Room: club}
				for range 100 {
					made++
					m := r.Message(fmt.Sprintf("%200d", made), 0, user(b, "bob"))
					batch.Messages = append(batch.Messages, fsm.BatchMessage{GroupID: m.GroupID, Epoch: m.Epoch, Sender: m.Sender, Hash: m.Hash, Message: m.Message})
				}
				b.StartTimer()
				s.apply(batch)
			}
		})
	}
}

// How fast the pages of a slot are made from one state engine and taken into another.
func BenchmarkSlotPages(b *testing.B) {
	slot := fsm.SlotOfRoom(room(b, "club"))
	for _, shape := range []struct{ count, bytes int }{{50_000, 200}, {10_000, 2000}, {5, 4 << 20}} {
		b.Run(fmt.Sprintf("values of %d bytes", shape.bytes), func(b *testing.B) {
			source := newClaimCost(b, 0, 1)
			source.apply(fsm.BeginSlotExport{At: slot, Move: 1, To: 2})
			batch := source.group.NewBatch()
			for i := range shape.count {
				if err := batch.Set(fmt.Appendf([]byte{byte(slot >> 8), byte(slot & 0xff), 0x18}, "%040d", i), bytes.Repeat([]byte{7}, shape.bytes)); err != nil {
					b.Fatal(err)
				}
			}
			if err := batch.Commit(); err != nil {
				b.Fatal(err)
			}
			view, err := source.group.View()
			if err != nil {
				b.Fatal(err)
			}
			defer view.Close()
			for b.Loop() {
				b.StopTimer()
				target := newEmptyShard(b)
				b.StartTimer()
				b.SetBytes(target.takeSlot(view, slot))
			}
		})
	}
}

// newEmptyShard is a shard without slots.
func newEmptyShard(tb testing.TB) *claimCost {
	s := newClaimCost(tb, 0, 1)
	s.group = s.engine.Group(2)
	settings := fsm.DefaultSettings(provider(tb, "a.example"))
	s.apply(fsm.EnterSettings{Version: 1, Settings: settings}, fsm.OwnSlots{Shard: 2, Generation: 1, First: 1})
	return s
}

// takeSlot takes a slot in, page by page, and tells how many bytes came.
func (s *claimCost) takeSlot(source fsm.Reader, slot fsm.SlotID) int64 {
	s.tb.Helper()
	var came fsm.SlotImport
	for !came.Whole {
		p, err := fsm.NextSlotPage(source, 2, slot, came, fsm.SlotPageBytes)
		if err != nil {
			s.tb.Fatal(err)
		}
		if o := s.apply(p.Page)[0]; o != fsm.Outcome(fsm.PageTaken{Sequence: p.Page.Sequence}) {
			s.tb.Fatalf("%+v", o)
		}
		view, err := s.group.View()
		if err != nil {
			s.tb.Fatal(err)
		}
		came, _, err = fsm.ReadSlotImport(view, slot)
		if err := view.Close(); err != nil {
			s.tb.Fatal(err)
		}
		if err != nil {
			s.tb.Fatal(err)
		}
	}
	return int64(came.Bytes)
}
