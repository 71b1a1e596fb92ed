package fsm_test

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// The promises hold over the loss of a part of the history: what was accepted, given and lent in it counts as before, though the state knows
// nothing of it.
func TestPromisesAcrossALoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHistory(t)
		h.fresh = true
		h.steps("before")
		kept, accepted, room := h.store.Clone(), maps.Clone(h.accepted), *h.room
		h.steps("lost")
		numbers := h.numbers(nil)
		h.store, h.accepted = kept, accepted
		h.apply(fsm.BeginGeneration{Generation: 2})
		h.steps("stale")
		h.room.Incarnation = room.Incarnation
		forward := h.room.Forward(2, fsm.EpochSeen{Provider: peer, Answer: fsm.SeenEpoch, Epoch: h.room.Epoch})
		h.now += 1000
		h.apply(forward)
		h.room.Incarnation, h.holder = clubsIncarnation(t, h.store), ""
		h.steps("after")
		h.numbers(numbers)
		if stale, yes, err := fsm.ReadStaleRoom(h.store, club); err != nil || yes {
			t.Fatalf("the room is still stale: %+v, %v", stale, err)
		}
	})
}

// clubsIncarnation is the room's by now.
func clubsIncarnation(t interface{ Fatal(...any) }, r fsm.Reader) uint64 {
	room, found, err := fsm.ReadRoom(r, club)
	if err != nil || !found {
		t.Fatal("the room is not there", err)
	}
	return room.Incarnation
}

func (h *history) steps(part string) {
	for range rapid.IntRange(0, 12).Draw(h.t, part) {
		h.step()
	}
}

// numbers collects what the items of the outboxes are by their numbers, and holds it to what they were in the part that was lost.
func (h *history) numbers(lost map[string]string) map[string]string {
	items := make(map[string]string)
	for _, slot := range []fsm.SlotID{fsm.SlotOfRoom(club), fsm.SlotOfUser(bob)} {
		for _, destination := range []mimi.Provider{hub, peer} {
			err := fsm.ReadOutbox(h.store, slot, destination, 0, func(item fsm.OutboxItem) (bool, error) {
				var w mls.Writer
				name := fmt.Sprint(slot, " ", destination, " ", item.Sequence)
				item.AppendTo(&w, fsm.ItemVersion)
				items[name] = string(w.Bytes())
				if before, was := lost[name]; was && before != items[name] {
					h.t.Fatalf("item %d of slot %d for %s is another than the one that was lost", item.Sequence, slot, destination)
				}
				return true, nil
			})
			if err != nil {
				h.t.Fatal(err)
			}
		}
	}
	return items
}

// generationWorld is a store in which every slot is here, and a room.
type generationWorld struct {
	t     *testing.T
	store *fsmtest.Store
	room  *fsmtest.Room
	index uint64
	now   uint64
}

func newGenerationWorld(t *testing.T) *generationWorld {
	settings := fsm.DefaultSettings(hub)
	settings.Claims = fsm.ClaimRules{ConsentDefault: fsm.ConsentAllow}
	w := &generationWorld{
		t: t, store: fsmtest.NewStore(), now: 5_000_000,
		room: fsmtest.NewRoom(club, 3, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer}),
	}
	w.apply(fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: settings})
	w.apply(w.room.Create())
	w.room.Incarnation = w.index
	return w
}

func (w *generationWorld) apply(commands ...fsm.Command) []fsm.Outcome {
	w.t.Helper()
	w.index++
	w.now += 10
	outcomes := applyTo(w.t, w.store, w.index, w.now, commands...)
	check(w.t, fsm.VerifyState(w.store))
	return outcomes
}

// wants applies a command and looks at its outcome.
func (w *generationWorld) wants(what string, c fsm.Command, want fsm.OutcomeKind) fsm.Outcome {
	w.t.Helper()
	outcome := w.apply(c)[0]
	if got := fsm.KindOfOutcome(outcome); got != want {
		w.t.Errorf("%s got %#v", what, outcome)
	}
	return outcome
}

func (w *generationWorld) begin(g fsm.Generation) {
	w.t.Helper()
	w.now += 2000
	w.apply(fsm.BeginGeneration{Generation: g})
	w.now += 2000
}

// A stale room refuses, with an answer of its own, whatever would rest on where its group is. What it accepted before it still knows.
func TestStaleRoomRefuses(t *testing.T) {
	w := newGenerationWorld(t)
	won := w.room.Commit(fsmtest.Next{Label: "won"})
	w.wants("the Commit", won, fsm.OutcomeAccepted)
	w.room.Advance(won)
	sent := w.room.Message("sent", w.room.Epoch, bob)
	w.wants("the message", sent, fsm.OutcomeAccepted)
	code := fsm.CreateJoiningCode{Room: club, Creator: alice, ID: fsm.CodeIDOf([]byte("code")), GroupContextHash: w.room.ContextHash()}
	w.begin(2)
	for what, c := range map[string]fsm.Command{
		"a Commit":       w.room.Commit(fsmtest.Next{Label: "second"}),
		"a Proposal":     w.room.Propose(w.room.Epoch, bob, "p"),
		"a message":      w.room.Message("new", w.room.Epoch, bob),
		"a lease":        fsm.TakeLease{Room: club, Requester: bob, Client: "one"},
		"a joining code": code,
	} {
		w.wants(what, c, fsm.OutcomeRoomStale)
	}
	batch := w.room.Message("batched", w.room.Epoch, bob)
	decided := w.apply(fsm.SubmitBatch{Room: club, Messages: []fsm.BatchMessage{
		{GroupID: batch.GroupID, Epoch: batch.Epoch, Sender: bob, Hash: batch.Hash, Message: batch.Message},
	}})[0].(fsm.BatchDecided)
	if got := decided.Verdicts[0].Code; got != mimi.VerdictRoomStale {
		t.Errorf("a message in bulk got %s", got)
	}
	w.wants("the Commit again", won, fsm.OutcomeAccepted)
	w.wants("the message again", sent, fsm.OutcomeAccepted)
	if room, _, err := fsm.ReadRoom(w.store, club); err != nil || room.Status != fsm.RoomStale {
		t.Errorf("the room's status is %d: %v", room.Status, err)
	}
	w.wants("its end", fsm.DestroyRoom{Room: club, Incarnation: w.room.Incarnation, GroupContextHash: w.room.ContextHash()}, fsm.OutcomeAccepted)
}

// A room goes forward to no epoch that anybody has seen end, and only once all were asked.
func TestFastForwardIsHeldToWhatOthersSaw(t *testing.T) {
	w := newGenerationWorld(t)
	old := *w.room
	var lost []fsm.AcceptCommit
	for _, label := range []string{"one", "two", "three"} {
		c := w.room.Commit(fsmtest.Next{Label: label})
		lost = append(lost, c)
		w.room.Advance(c)
	}
	at := func(answer fsm.SeenAnswer, epoch mls.Epoch) fsm.EpochSeen {
		return fsm.EpochSeen{Provider: peer, Answer: answer, Epoch: epoch}
	}
	seen := at(fsm.SeenEpoch, w.room.Epoch)
	w.wants("a room that is not stale", w.room.Forward(1, seen), fsm.OutcomeNotAllowed)
	w.begin(2)
	w.wants("without having asked", w.room.Forward(2), fsm.OutcomeNotAllowed)
	w.wants("below what the peer saw", old.Forward(2, seen), fsm.OutcomeNotAllowed)
	w.wants("of another generation", w.room.Forward(3, seen), fsm.OutcomeReadSetChanged)
	other := w.room.Forward(2, seen)
	other.GroupID = "another"
	w.wants("of another group", other, fsm.OutcomeNotAllowed)
	fork := fsmtest.NewRoom(club, old.Epoch-1, []mimi.UserURI{alice, bob}, old.Destinations)
	fork.Advance(fork.Commit(fsmtest.Next{Label: "fork"}))
	fork.Incarnation = old.Incarnation
	forked := fork.Forward(2, at(fsm.SeenNothing, 0))
	w.wants("with another context", forked, fsm.OutcomeNotAllowed)

	forward := w.room.Forward(2, seen)
	first := w.wants("the GroupInfo of now", forward, fsm.OutcomeAccepted)
	if again := w.apply(forward)[0]; again != first {
		t.Errorf("again it gets %+v instead of %+v", again, first)
	}
	w.room.Incarnation = clubsIncarnation(t, w.store)
	for i, c := range lost { // they were accepted in the part that is lost, and are not a second time
		c.Reads.Incarnation = w.room.Incarnation
		if got := fsm.KindOfOutcome(w.apply(c)[0]); got != fsm.OutcomeWrongEpoch {
			t.Errorf("lost Commit %d got outcome %d", i, got)
		}
	}
	next := w.room.Commit(fsmtest.Next{Label: "next"})
	w.wants("the next Commit", next, fsm.OutcomeAccepted)
	w.room.Advance(next)
	w.wants("a message of before", w.room.Message("old", old.Epoch, bob), fsm.OutcomeEpochTooOld)
	w.wants("a message of now", w.room.Message("new", w.room.Epoch, bob), fsm.OutcomeAccepted)
}

// A stale room that nobody can bring forward is begun anew with another group, or waived to where it was.
func TestStaleRoomBeginsAnew(t *testing.T) {
	w := newGenerationWorld(t)
	w.begin(2)
	next := w.room.Successor("another group")
	create := next.Create()
	continued := func(g fsm.Generation) fsm.ContinueRoom {
		create.Generation = g
		return fsm.ContinueRoom{Ended: w.room.GroupID, Create: create}
	}
	w.wants("a group for no generation", continued(0), fsm.OutcomeOtherGeneration)
	same := w.room.Create()
	same.Generation, same.RequestHash = 2, hashOf("other")
	w.wants("the same group", fsm.ContinueRoom{Ended: w.room.GroupID, Create: same}, fsm.OutcomeNotAllowed)
	w.wants("another group", continued(2), fsm.OutcomeAccepted)
	next.Incarnation = clubsIncarnation(t, w.store)
	w.wants("a Commit in it", next.Commit(fsmtest.Next{Label: "first"}), fsm.OutcomeAccepted)
}

// What was created in the part that is lost is not created again by its request.
func TestCreationSaysItsGeneration(t *testing.T) {
	w := newGenerationWorld(t)
	w.begin(2)
	lost := fsmtest.NewRoom(room("lost"), 0, []mimi.UserURI{alice}, []mimi.Provider{hub}).Create()
	if got := w.wants("the request of before", lost, fsm.OutcomeOtherGeneration); got != (fsm.OtherGeneration{Current: 2}) {
		t.Errorf("it got %+v", got)
	}
	w.wants("the room that is here", w.room.Create(), fsm.OutcomeAccepted)
	lost.Generation = 2
	w.wants("one that knows of it", lost, fsm.OutcomeAccepted)
	if stale, yes, err := fsm.ReadStaleRoom(w.store, lost.Room); err != nil || yes {
		t.Errorf("a new room is stale: %+v, %v", stale, err)
	}
	w.begin(3)
	if _, yes, err := fsm.ReadStaleRoom(w.store, lost.Room); err != nil || !yes {
		t.Errorf("a room of generation 2 is not stale in 3: %v", err)
	}
}

// Single-use KeyPackages of before are given to nobody and not taken in again, nor are those that may have been given in the lost part. Those of last
// resort stay. Whoever touches a user first, a claim or the pass, finds the same.
func TestKeyPackagesOfBefore(t *testing.T) {
	for _, swept := range []bool{false, true} {
		w := newGenerationWorld(t)
		phone := client("bob1@b.example")
		validFrom := func(label string, millis uint64) fsm.KeyPackageFacts {
			return fsm.KeyPackageFacts{Ref: ref(label), Suite: 1, NotBefore: millis / 1000, NotAfter: w.now/1000 + 1000, Message: []byte(label)}
		}
		upload := func(packages ...fsm.KeyPackageFacts) fsm.Uploaded {
			return w.apply(fsm.UploadKeyPackages{User: bob, Client: phone, Packages: packages})[0].(fsm.Uploaded)
		}
		claims := 0
		claim := func(requester mimi.UserURI) fsm.ClaimedClient {
			claims++
			claimed := w.apply(fsm.ClaimKeyPackages{
				User: bob, Requester: requester, Provider: requester.Provider(), Suites: []mls.CipherSuite{1}, ReplayKey: hashOf(string(rune(claims))), ReplayMillis: 60_000,
			})[0].(fsm.Claimed)
			return claimed.Clients[0]
		}
		resort := validFrom("resort", w.now)
		resort.LastResort = true
		kept, given := validFrom("kept", w.now), validFrom("given", w.now)
		lost := validFrom("lost", w.now+500) // it is uploaded after the backup
		upload(given, kept, resort)
		if got := claim(alice); got.Ref != given.Ref {
			t.Fatalf("the claim of before got %+v", got)
		}
		w.begin(2)
		if swept {
			w.apply(fsm.Sweep{Max: 1_000_000})
		}
		if stock, _, err := fsm.ReadInventory(w.store, bob); err != nil || stock[0].SingleUse != 0 || stock[0].LastResort != 1 {
			t.Errorf("the inventory is %+v: %v", stock, err)
		}
		if got := claim(alice); got.Code != mimi.KeyMaterialClientExhausted {
			t.Errorf("swept %t: a claim got %+v", swept, got)
		}
		again := upload(kept, given, lost, resort)
		if again.Stored != 0 || again.Known != 3 || len(again.Refused) != 1 {
			t.Errorf("swept %t: an upload of what there was got %+v", swept, again)
		}
		fresh := validFrom("fresh", w.now)
		if got := upload(fresh); got.Stored != 1 {
			t.Errorf("an upload of a new one got %+v", got)
		}
		if got := claim(alice); got.Ref != fresh.Ref {
			t.Errorf("then a claim got %+v", got)
		}
		if low := w.notes(fsm.SlotOfUser(bob), func(n fsm.Note) bool { _, yes := n.(fsm.KeyPackagesLow); return yes }); low == 0 {
			t.Errorf("swept %t: the owner was not told", swept)
		}
	}
}

// notes counts notes in the local inbox.
func (w *generationWorld) notes(slot fsm.SlotID, which func(fsm.Note) bool) (n int) {
	check(w.t, fsm.ReadOutbox(w.store, slot, hub, 0, func(item fsm.OutboxItem) (bool, error) {
		for _, note := range item.Notes {
			if which(note) {
				n++
			}
		}
		return true, nil
	}))
	return n
}

// The pass goes on with each sweep, by no more than that may do, tells each stale room once and comes to an end.
func TestPassTellsOfStaleRooms(t *testing.T) {
	w := newGenerationWorld(t)
	const others = 30
	for i := range others {
		r := fsmtest.NewRoom(room(fmt.Sprint("other", i)), 0, []mimi.UserURI{alice}, []mimi.Provider{hub})
		w.apply(r.Create())
	}
	w.begin(2)
	list := func() (rooms int, whole bool) {
		whole = true
		for slot := range fsm.SlotID(fsm.SlotCount) {
			all, err := fsm.StaleRooms(w.store, slot, mimi.RoomURI{}, func(mimi.RoomURI, fsm.StaleRoom) (bool, error) { rooms++; return true, nil })
			check(t, err)
			whole = whole && all
		}
		return rooms, whole
	}
	if rooms, whole := list(); rooms != 0 || whole {
		t.Errorf("before any sweep %d rooms are listed, and all: %t", rooms, whole)
	}
	for sweeps := 0; ; sweeps++ {
		overdue, err := fsm.Overdue(w.store)
		check(t, err)
		if !overdue {
			break
		}
		if sweeps > 3*fsm.SlotCount/50 {
			t.Fatal("the pass comes to no end")
		}
		w.apply(fsm.Sweep{Max: 100})
	}
	if rooms, whole := list(); rooms != others+1 || !whole {
		t.Errorf("%d rooms are listed, and all: %t", rooms, whole)
	}
	isStale := func(n fsm.Note) bool { _, yes := n.(fsm.RoomIsStale); return yes }
	if told := w.notes(fsm.SlotOfRoom(club), isStale); told == 0 {
		t.Error("the provider was not told of its room")
	}
	w.wants("the room", w.room.Forward(2, fsm.EpochSeen{Provider: peer, Answer: fsm.SeenWaived}), fsm.OutcomeAccepted)
	if rooms, _ := list(); rooms != others {
		t.Errorf("then %d rooms are listed", rooms)
	}
}

// Of effects that were on their way those of before the generation are taken, whatever is missing between them, none twice, and those of the
// generation behind them without a hole.
func TestEffectsAcrossALoss(t *testing.T) {
	w := newGenerationWorld(t)
	at, from := fsm.SlotOfUser(bob), fsm.SlotOfRoom(club)
	effect := fsm.RoomJoined{User: bob, Room: club}
	receive := func(first uint64, want uint64) {
		t.Helper()
		got := w.apply(fsm.ReceiveInternal{At: at, From: from, First: first, Effects: []fsm.Effect{effect}})[0]
		if got != (fsm.Received{Next: want}) {
			t.Errorf("effect %d got %+v", first, got)
		}
	}
	const second = 1 << 40
	receive(3, 1) // a hole, in the first generation
	receive(1, 2)
	w.begin(2)
	receive(1, 2)
	receive(5, 6)                  // 2 to 4 are lost
	receive(second+2, 6)           // a hole in the second
	receive(second+1, second+2)    // all that was before has come
	receive(7, second+2)           // late
	receive(second+3, second+2)    // a hole
	receive(second+2, second+3)    // the next
	receive(second<<1+1, second+3) // a generation that has not begun here
}

// A slot that comes alive in a shard of a later generation begins it; one that has it goes on in it.
func TestSlotEntersGeneration(t *testing.T) {
	w := newGenerationWorld(t)
	slot := fsm.SlotOfRoom(club)
	w.begin(2)
	seen := fsm.EpochSeen{Provider: peer, Answer: fsm.SeenWaived}
	w.wants("the room", w.room.Forward(2, seen), fsm.OutcomeAccepted)
	fsm.EnterGeneration(w.store, slot, w.index, w.now)
	if _, stale, err := fsm.ReadStaleRoom(w.store, club); err != nil || stale {
		t.Errorf("a slot of the shard's generation began it again: %v", err)
	}
	check(t, w.store.Delete([]byte{byte(slot >> 8), byte(slot), 0x65})) // as of a backup of the first
	fsm.EnterGeneration(w.store, slot, w.index, w.now)
	if g, err := fsm.ReadSlotGeneration(w.store, slot); err != nil || g != 2 {
		t.Errorf("the slot is in generation %d: %v", g, err)
	}
}

// What is salvaged is taken into the epoch that a stale room has, and nothing exclusive is among it.
func TestSalvage(t *testing.T) {
	w := newGenerationWorld(t)
	message := w.room.Message("tail", w.room.Epoch, bob)
	commit := w.room.Commit(fsmtest.Next{Label: "tail"})
	tail := fsm.Salvaged(fsm.Entry{Commands: []fsm.Command{commit, message, fsm.TakeLease{Room: club, Requester: bob, Client: "one"}}})
	if len(tail) != 1 {
		t.Fatalf("%d commands are salvaged", len(tail))
	}
	w.begin(2)
	w.wants("the tail", fsm.Salvage{Commands: tail}, fsm.OutcomeDone)
	if accepted, found, err := fsm.ReadKnownMessage(w.store, club, message.GroupID, message.Epoch, message.Hash); err != nil || !found {
		t.Errorf("the message is not accepted: %+v, %v", accepted, err)
	}
	if _, err := fsm.DecodeCommand(fsm.EncodeCommand(fsm.Salvage{Commands: []fsm.Command{commit}})); err == nil {
		t.Error("a Commit can be salvaged")
	}
}

// A slot goes to the shard that a generation's beginning says, with nothing left where it is not.
func TestGenerationRulesSlots(t *testing.T) {
	w := newGenerationWorld(t)
	slot := fsm.SlotOfRoom(club)
	w.apply(fsm.BeginGeneration{Generation: 2, Slots: []fsm.SlotRuling{{Slot: slot, Shard: 2, Generation: 9}}})
	if got := w.apply(w.room.Commit(fsmtest.Next{Label: "one"}))[0]; got != (fsm.MovedTo{Shard: 2, Generation: 9}) {
		t.Errorf("it answers %+v", got)
	}
	if _, found, err := fsm.ReadRoom(w.store, club); err != nil || found {
		t.Errorf("the room is still here: %v", err)
	}
	if got := w.apply(fsm.BeginGeneration{Generation: 2})[0]; got != (fsm.Done{}) {
		t.Errorf("the same again got %+v", got)
	}
}
