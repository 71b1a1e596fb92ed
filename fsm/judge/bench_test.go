package judge

import (
	"testing"

	"parley/fsm"
)

// BenchmarkCommit measures a real Commit's way before and in the log, in a room of four clients: judging it (parsing, three signatures,
// the tree, the transcript) and applying it. Their ratio is what judging once, and not on every replica, saves.
func BenchmarkCommit(b *testing.B) {
	h := newHub(b)
	h.open()
	s := h.recording.Race.Alice
	body, from := h.bundle(s), h.userOf(s.From).Provider()
	judged := func() fsm.Command {
		r, err := NewUpdate(from, h.recording.Room.URI, body)
		if err != nil {
			b.Fatal(err)
		}
		verdict, err := r.Judge(h.store)
		if err != nil {
			b.Fatal(err)
		}
		return verdict.(Propose).Command
	}
	b.Run("judge", func(b *testing.B) {
		for b.Loop() {
			judged()
		}
	})
	entry := fsm.EncodeEntry(fsm.Entry{StampMillis: h.now, Commands: []fsm.Command{judged()}})
	b.Run("apply", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			store := h.store.Clone()
			b.StartTimer()
			if _, err := fsm.Apply(store, h.index+1, entry); err != nil {
				b.Fatal(err)
			}
		}
	})
}
