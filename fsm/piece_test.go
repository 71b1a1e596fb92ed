package fsm_test

import (
	"errors"
	"fmt"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mls"
)

// A command that was cut and put together is the command, to the byte: the state is as if it had come whole.
func TestPiecesMakeTheCommand(t *testing.T) {
	whole, r := bornRoomOf(t, secondSettings(hub))
	cut := whole.Clone()
	commit := fsmtest.Grown(r.Commit(fsmtest.Next{Label: "large"}), 4096, 300)
	pieces, named, err := fsm.Cut(commit)
	check(t, err)
	if len(pieces) < 10 || named.Lane() != commit.Lane() {
		t.Fatalf("%d pieces in lane %d", len(pieces), named.Lane())
	}
	const stamp = 5000
	if got := applyTo(t, whole, 2, stamp, commit)[0]; got != (fsm.Accepted{Millis: stamp, Epoch: 1}) {
		t.Fatalf("whole, it got %+v", got)
	}
	before, err := fsm.ContentDigest(cut)
	check(t, err)
	if missing, ok := applyTo(t, cut, 2, stamp, named)[0].(fsm.MissingPieces); !ok || len(missing.Indexes) != len(pieces) {
		t.Fatalf("without pieces it got %+v", missing)
	}
	if after, err := fsm.ContentDigest(cut); err != nil || after != before {
		t.Errorf("a command without its pieces changed something: %v", err)
	}
	for i, p := range pieces {
		if size := len(fsm.EncodeCommand(p)); size > 256<<10 {
			t.Errorf("piece %d takes %d bytes of the log", i, size)
		}
		applyTo(t, cut, uint64(3+i), stamp, p)
	}
	if got := applyTo(t, cut, 99, stamp, named)[0]; got != (fsm.Accepted{Millis: stamp, Epoch: 1}) {
		t.Fatalf("in pieces, it got %+v", got)
	}
	check(t, fsm.VerifyState(cut))
	applyTo(t, cut, 100, stamp+600_000, fsm.Sweep{Max: 1000}) // only the notes of the pieces are left
	applyTo(t, whole, 100, stamp+600_000, fsm.Sweep{Max: 1000})
	if digest(t, cut) != digest(t, whole) {
		t.Error("the states differ")
	}
}

// Only what is one object may come in pieces, and only up to a bound; a follower takes in what a hub lets out.
func TestCutBounds(t *testing.T) {
	_, r := bornRoom(t)
	malformed := (*mls.MalformedError)(nil)
	for name, c := range map[string]fsm.Command{
		"a message":       r.Message(string(make([]byte, 1<<20)), 0, alice),
		"too much of one": fsm.AcceptCommit{Room: club, Commit: make([]byte, fsm.ObjectBytesMax)},
		"a large fanout":  fsm.ReceiveFanout{Room: club, Hub: peer, Messages: []fsm.FanoutItem{{Bytes: make([]byte, fsm.FanoutBytesMax)}}},
	} {
		if _, _, err := fsm.Cut(c); !errors.As(err, &malformed) {
			t.Errorf("%s was cut: %v", name, err)
		}
	}
	fanout := fsm.ReceiveFanout{Room: club, Hub: peer, Messages: []fsm.FanoutItem{{Bytes: make([]byte, fsm.ObjectBytesMax)}}}
	pieces, named, err := fsm.Cut(fanout)
	if err != nil || len(pieces) > fsm.PiecesMax || int(named.Bytes) < fsm.ObjectBytesMax {
		t.Errorf("a fanout of what a hub lets out: %d pieces, %v", len(pieces), err)
	}
}

// Pieces that nobody names cannot fill a slot, and those that are not pieces are refused.
func TestPiecesAreBounded(t *testing.T) {
	store, _ := bornRoomOf(t, secondSettings(hub))
	slot := fsm.SlotOfRoom(club)
	put := func(index uint64, object string, at uint16, size int) fsm.Outcome {
		return applyTo(t, store, index, 2000, fsm.PutPiece{At: slot, Object: hashOf(object), Index: at, Bytes: make([]byte, size)})[0]
	}
	for _, got := range []fsm.Outcome{put(2, "o", 0, 0), put(3, "o", 0, fsm.PieceBytesMax+1), put(4, "o", fsm.PiecesMax, 1)} {
		if _, refused := got.(fsm.NotAllowed); !refused {
			t.Errorf("what is no piece got %+v", got)
		}
	}
	full := 0
	for i := range 300 {
		switch got := put(uint64(5+i), fmt.Sprint(i), 0, fsm.PieceBytesMax); got {
		case fsm.Done{}:
			if full > 0 {
				t.Fatalf("piece %d was taken into a full slot", i)
			}
		case fsm.SlotFull{}:
			full++
		}
	}
	if held, err := fsm.ReadPieceBytes(store, slot); err != nil || full == 0 || held != 64<<20 {
		t.Errorf("%d were refused, %d bytes are held, %v", full, held, err)
	}
	check(t, fsm.VerifyState(store))
	applyTo(t, store, 400, 700_000, fsm.Sweep{Max: 1000})
	if held, err := fsm.ReadPieceBytes(store, slot); err != nil || held != 0 {
		t.Errorf("%d bytes are left, %v", held, err)
	}
	if got := put(401, "again", 0, 1); got != (fsm.Done{}) {
		t.Errorf("after they are gone: %+v", got)
	}
}

// What was put together has to be the command that was named, in its slot.
func TestNamedCommandIsChecked(t *testing.T) {
	store, r := bornRoomOf(t, secondSettings(hub))
	pieces, named, err := fsm.Cut(r.Commit(fsmtest.Next{Label: "one"}))
	check(t, err)
	for name, spoil := range map[string]func(*fsm.ApplyPieces){
		"kind": func(c *fsm.ApplyPieces) { c.Kind = fsm.KindCreateRoom },
		"size": func(c *fsm.ApplyPieces) { c.Bytes++ },
	} {
		wrong := named
		spoil(&wrong)
		if _, refused := applyTo(t, store, 2, 2000, pieces[0], wrong)[1].(fsm.NotAllowed); !refused {
			t.Errorf("a wrong %s was taken", name)
		}
	}
	other := pieces[0]
	other.At = fsm.SlotOfUser(bob)
	elsewhere := named
	elsewhere.At = other.At
	applyTo(t, store, 3, 2000, fsm.EnterSettings{Version: 2, Settings: secondSettings(hub)})
	if _, moved := applyTo(t, store, 4, 2000, elsewhere)[0].(fsm.MovedTo); !moved {
		t.Error("pieces were taken in a slot that is not here")
	}
	whole := fsmtest.NewStore()
	applyTo(t, whole, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: secondSettings(hub)})
	if _, refused := applyTo(t, whole, 2, 2000, other, elsewhere)[1].(fsm.NotAllowed); !refused {
		t.Error("a command was taken in a slot that is not its own")
	}
}
