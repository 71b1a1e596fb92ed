package cluster

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	randv2 "math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/storage"
)

const (
	// reclaimEnv says how many items are written and acknowledged.
	reclaimEnv   = "PARLEY_OUTBOX_ITEMS"
	reclaimItems = 20_000
	reclaimRooms = 100 // each with an item of an entry
)

// BenchmarkReclaim writes items of 1 KiB into a state engine and acknowledges them: each right away, as for a peer that takes them, or all
// when all are there, as for one that comes back. What it reports is the engine's directory then, beside what is still in the state.
func BenchmarkReclaim(b *testing.B) {
	for _, late := range []bool{false, true} {
		b.Run(map[bool]string{false: "at-once", true: "late"}[late], func(b *testing.B) {
			for range b.N {
				w := newReclaimWorld(b)
				items := int(numberFrom(b, reclaimEnv, reclaimItems))
				for n := 0; n < items; n += reclaimRooms {
					w.write()
					if !late {
						w.acknowledge(1)
					}
				}
				b.ReportMetric(float64(folderBytes(w.dir))/(1<<20), "MiB-written")
				if late {
					for n := 0; n < items; n += 10 * reclaimRooms {
						w.acknowledge(10)
					}
				}
				b.ReportMetric(float64(folderBytes(w.dir))/(1<<20), "MiB-acknowledged")
				time.Sleep(backlogPause)
				b.ReportMetric(float64(folderBytes(w.dir))/(1<<20), "MiB-later")
				b.ReportMetric(float64(w.live())/(1<<20), "MiB-live")
				w.forget()
				time.Sleep(backlogPause)
				b.ReportMetric(float64(folderBytes(w.dir))/(1<<20), "MiB-epochs-later")
				b.ReportMetric(float64(w.live())/(1<<20), "MiB-live-epochs-later")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// reclaimWorld is a shard's state on real files, without a log.
type reclaimWorld struct {
	b     *testing.B
	dir   string
	group *storage.GroupState
	rooms []*fsmtest.Room
	peer  mimi.Provider
	index uint64
	made  uint64
	taken uint64 // sequence, of each slot
	noise *randv2.ChaCha8
}

func newReclaimWorld(b *testing.B) *reclaimWorld {
	w := &reclaimWorld{b: b, dir: filepath.Join(b.TempDir(), "state"), peer: provider(b, "b.example"), noise: randv2.NewChaCha8([32]byte{})}
	engine, err := storage.OpenState(w.dir, storage.StateOptions{OnFatal: func(err error) { b.Error(err) }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := engine.Close(); err != nil {
			b.Error(err)
		}
	})
	w.group = engine.Group(1)
	w.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: 0, Last: fsm.SlotCount - 1},
		fsm.EnterSettings{Version: 1, Settings: fsm.DefaultSettings(provider(b, "a.example"))})
	slots := make(map[fsm.SlotID]bool) // one room each, so that sequences are the same in all
	for n := 0; len(w.rooms) < reclaimRooms; n++ {
		uri := room(b, fmt.Sprint("r", n))
		if slots[fsm.SlotOfRoom(uri)] {
			continue
		}
		slots[fsm.SlotOfRoom(uri)] = true
		r := fsmtest.NewRoom(uri, 0, []mimi.UserURI{user(b, "alice")}, []mimi.Provider{w.peer})
		w.apply(r.Create())
		r.Incarnation = w.index
		w.rooms = append(w.rooms, r)
	}
	return w
}

func (w *reclaimWorld) apply(commands ...fsm.Command) {
	w.b.Helper()
	w.index++
	batch := w.group.NewBatch()
	result, err := fsm.Apply(batch, w.index, fsm.EncodeEntry(fsm.Entry{StampMillis: 1000 + w.index, Commands: commands}))
	if err != nil {
		w.b.Fatal(err)
	}
	for i, o := range result.Outcomes {
		switch o.(type) {
		case fsm.Done, fsm.Accepted:
		default:
			w.b.Fatalf("%T got %#v", commands[i], o)
		}
	}
	if err := batch.SetApplied(w.index); err != nil {
		w.b.Fatal(err)
	}
	if err := batch.Commit(); err != nil {
		w.b.Fatal(err)
	}
	if err := batch.Close(); err != nil {
		w.b.Fatal(err)
	}
}

// write makes one item of each room.
func (w *reclaimWorld) write() {
	var commands []fsm.Command
	for _, r := range w.rooms {
		text := make([]byte, backlogBytes)
		w.noise.Read(text) // never fails
		w.made++
		binary.BigEndian.PutUint64(text, w.made)
		c := r.Message(string(text), r.Epoch, user(w.b, "alice"))
		c.Hash = sha256.Sum256(c.Message)
		commands = append(commands, c)
	}
	w.apply(commands...)
}

// acknowledge takes so many items of each room.
func (w *reclaimWorld) acknowledge(items uint64) {
	w.taken += items
	var commands []fsm.Command
	for _, r := range w.rooms {
		commands = append(commands, fsm.Acknowledge{At: fsm.SlotOfRoom(r.URI), Destination: w.peer, Rooms: []fsm.RoomTaken{{Room: r.URI, Through: w.taken}}})
	}
	w.apply(commands...)
}

// forget lets the epochs of all messages leave the window, and with them what answers retries.
func (w *reclaimWorld) forget() {
	for epoch := range 4 {
		for _, r := range w.rooms {
			c := r.Commit(fsmtest.Next{Label: fmt.Sprint(epoch)})
			w.apply(c)
			r.Advance(c)
		}
		w.acknowledge(1)
	}
}

// live is what is in the state.
func (w *reclaimWorld) live() (bytes uint64) {
	view, err := w.group.View()
	if err != nil {
		w.b.Fatal(err)
	}
	err = fsm.ScanRange(view, nil, nil, func(key, value []byte) error {
		bytes += uint64(len(key) + len(value))
		return nil
	})
	if err != nil {
		w.b.Fatal(err)
	}
	if err := view.Close(); err != nil {
		w.b.Fatal(err)
	}
	return bytes
}
