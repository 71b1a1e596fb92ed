package fsm_test

import (
	"fmt"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// bornRoom is a store with one room in it, made by entry 1.
func bornRoom(tb testing.TB) (*fsmtest.Store, *fsmtest.Room) {
	tb.Helper()
	return bornRoomOf(tb, firstSettings(hub))
}

// bornRoomOf is bornRoom under given settings.
func bornRoomOf(tb testing.TB, settings fsm.Settings) (*fsmtest.Store, *fsmtest.Room) {
	tb.Helper()
	store := fsmtest.NewStore()
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	slot := fsm.SlotOfRoom(club)
	applyTo(tb, store, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, First: slot, Last: slot},
		fsm.EnterSettings{Version: 1, Settings: settings}, r.Create())
	r.Incarnation = 1
	return store, r
}

func applyTo(tb testing.TB, store fsm.Store, index, stamp uint64, commands ...fsm.Command) []fsm.Outcome {
	tb.Helper()
	result, err := fsm.Apply(store, index, fsm.EncodeEntry(fsm.Entry{StampMillis: stamp, Commands: commands}))
	if err != nil {
		tb.Fatal(err)
	}
	return result.Outcomes
}

// A Commit is known for 64 epochs after the one that it ended, and the records do not grow beyond that.
func TestWinnersAreKept(t *testing.T) {
	for _, settings := range []fsm.Settings{firstSettings(hub), secondSettings(hub)} {
		t.Run(fmt.Sprint("format ", settings.Format), func(t *testing.T) { winnersAreKept(t, settings) })
	}
}

func winnersAreKept(t *testing.T, settings fsm.Settings) {
	store, r := bornRoomOf(t, settings)
	var commits []fsm.AcceptCommit
	var size int
	for i := range 140 {
		c := r.Commit(fsmtest.Next{Label: fmt.Sprint(i)})
		applyTo(t, store, uint64(i+2), uint64(2000+i), r.Propose(r.Epoch, alice, fmt.Sprint("p", i)), r.Message(fmt.Sprint(i), r.Epoch, bob), c)
		r.Advance(c)
		commits = append(commits, c)
		if i == 100 {
			size = store.Len()
		}
	}
	// Each entry leaves one item in each of two outboxes; all else has to be as many as 39 epochs ago.
	if grown := store.Len() - size; grown != 39*2 {
		t.Errorf("39 epochs left %d records, and %d outbox items", grown, 39*2)
	}
	check(t, fsm.VerifyState(store))
	const oldest = 140 - 64
	if got := applyTo(t, store, 200, 9000, commits[oldest])[0]; got != (fsm.Accepted{Millis: 2000 + oldest, Epoch: oldest + 1}) {
		t.Errorf("the oldest Commit that is known got %+v", got)
	}
	if got := applyTo(t, store, 201, 9000, commits[oldest-1])[0]; got != (fsm.WrongEpoch{Current: 140}) {
		t.Errorf("a Commit that is forgotten got %+v", got)
	}
}

// Who was removed and is back may send to the epochs since then, not to those in between.
func TestReturnedParticipant(t *testing.T) {
	store, r := bornRoom(t)
	for i, users := range [][]mimi.UserURI{{alice}, {alice, bob}} {
		c := r.Commit(fsmtest.Next{Label: fmt.Sprint(i), Participants: fsmtest.ParticipantsOf(users)})
		applyTo(t, store, uint64(i+2), 2000, c)
		r.Advance(c)
	}
	if _, refused := applyTo(t, store, 9, 3000, r.Message("m", 1, bob))[0].(fsm.NotAllowed); !refused {
		t.Error("a message of an epoch without its sender was taken")
	}
	if _, ok := applyTo(t, store, 10, 3000, r.Message("m", 2, bob))[0].(fsm.Accepted); !ok {
		t.Error("a participant that is back was refused")
	}
}

// The tree that is read is what the changes made of it, also when it shrinks.
func TestTreeFollowsChanges(t *testing.T) {
	store, r := bornRoom(t)
	grow := r.Commit(fsmtest.Next{Label: "grow"})
	grow.Facts.TreeWidth = 7
	grow.Facts.TreeChanges = []fsm.TreeChange{{Index: 0}, {Index: 1, Node: []byte("one")}, {Index: 6, Node: []byte("six")}}
	applyTo(t, store, 2, 2000, grow)
	r.Advance(grow)
	wantTree(t, store, "", "one", "", "", "", "", "six")
	shrink := r.Commit(fsmtest.Next{Label: "shrink"})
	shrink.Facts.TreeChanges = []fsm.TreeChange{{Index: 2, Node: []byte("two")}}
	applyTo(t, store, 3, 2000, shrink)
	wantTree(t, store, "", "one", "two")
}

func wantTree(t *testing.T, r fsm.Reader, want ...string) {
	t.Helper()
	nodes, found, err := fsm.ReadTree(r, club)
	if err != nil || !found || len(nodes) != len(want) {
		t.Fatalf("%q, %v, %v", nodes, found, err)
	}
	for i, node := range nodes {
		if string(node) != want[i] || (node == nil) != (want[i] == "") {
			t.Errorf("node %d is %q, not %q", i, node, want[i])
		}
	}
}

// BenchmarkMessages applies entries of 100 messages to one room that two destinations follow.
func BenchmarkMessages(b *testing.B) {
	store, r := bornRoom(b)
	body := string(make([]byte, 1024))
	index := uint64(1)
	for b.Loop() {
		index++
		commands := make([]fsm.Command, 100)
		for i := range commands {
			commands[i] = r.Message(fmt.Sprint(index, i, body), 0, alice)
		}
		applyTo(b, store, index, 2000, commands...)
	}
	b.ReportMetric(float64(b.N*100)/b.Elapsed().Seconds(), "messages/s")
}

// What is kept for a time is gone after it: sweeps leave nothing of a kind that ends by hub time, and a sweep does no more than it
// was told to.
func TestWindowsEnd(t *testing.T) {
	store := fsmtest.NewStore()
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	applyTo(t, store, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1},
		fsm.EnterSettings{Version: 1, Settings: secondSettings(hub)}, r.Create())
	r.Incarnation = 1
	upload := fsm.UploadKeyPackages{User: alice, Client: client("alice1")}
	for i := range 20 {
		upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{Ref: refNumber(i), Suite: 1, NotAfter: 90_000})
	}
	applyTo(t, store, 2, 2000, upload,
		fsm.ClaimKeyPackages{User: alice, Requester: bob, Provider: peer, Suites: []mls.CipherSuite{1}, ReplayMillis: 1 << 60},
		fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{{Ref: "for ever", Provider: peer, NotAfter: 1 << 60}}},
		fsm.TakeLease{Room: club, Requester: bob, Client: "bob1"},
		fsm.ReceiveFanout{Room: room("far@b.example"), Hub: peer, BodyHash: hashOf("body"), Messages: []fsm.FanoutItem{{Hash: hashOf("m"), Bytes: fanoutOf("m")}}},
		fsm.PutPiece{At: fsm.SlotOfRoom(club), Object: hashOf("object"), Bytes: []byte("piece")})
	if kinds, err := fsm.Timed(store); err != nil || !kinds[0] {
		t.Fatalf("only the kinds %v are there, %v", kinds, err)
	}
	const later = 93 * 24 * 60 * 60 * 1000
	before := store.Len()
	applyTo(t, store, 3, later, fsm.Sweep{Max: 5})
	if after := store.Len(); before-after > 3*5 {
		t.Errorf("a sweep of 5 records removed %d keys", before-after)
	}
	for i := range 10 {
		applyTo(t, store, uint64(4+i), later, fsm.Sweep{Max: 5})
	}
	if kinds, err := fsm.Timed(store); err != nil || len(kinds) > 0 {
		t.Errorf("the kinds %v are left, %v", kinds, err)
	}
	check(t, fsm.VerifyState(store))
}
