package fsm_test

import (
	"crypto/sha256"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// whole is one shard that has all slots, of the newest format, whose internal queues are carried when a test says so.
type whole struct {
	t         *testing.T
	store     *fsmtest.Store
	index     uint64
	now       uint64
	departing []mimi.RoomURI // told since the test last took them
	log       [][]byte       // the entries
}

func newWhole(t *testing.T, domains ...mimi.Provider) *whole {
	t.Helper()
	return newWholeOf(t, thirdSettings(append([]mimi.Provider{hub}, domains...)...))
}

func newWholeOf(t *testing.T, settings fsm.Settings) *whole {
	t.Helper()
	w := &whole{t: t, store: fsmtest.NewStore(), now: 1000}
	w.apply(fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1})
	settings.Claims.ConsentDefault = fsm.ConsentAllow
	w.apply(fsm.EnterSettings{Version: 1, Settings: settings})
	return w
}

// apply applies one command in an entry of its own, and holds the state to what must hold of any.
func (w *whole) apply(c fsm.Command) fsm.Outcome {
	w.t.Helper()
	w.index++
	w.now++
	entry := fsm.EncodeEntry(fsm.Entry{StampMillis: w.now, Commands: []fsm.Command{c}})
	w.log = append(w.log, entry)
	result, err := fsm.Apply(w.store, w.index, entry)
	check(w.t, err)
	check(w.t, fsm.VerifyState(w.store))
	w.departing = append(w.departing, result.Departing...)
	return result.Outcomes[0]
}

// carry brings over what waits in all queues, until nothing does. Each batch comes twice.
func (w *whole) carry() {
	w.t.Helper()
	for moved := true; moved; {
		moved = false
		for slot := range fsm.SlotID(fsm.SlotCount) {
			var batches []fsm.ReceiveInternal
			check(w.t, fsm.InternalQueues(w.store, slot, func(q fsm.InternalQueue) (bool, error) {
				batch := fsm.ReceiveInternal{At: q.To, From: q.From, First: q.Next - q.Waiting}
				err := fsm.ReadInternal(w.store, q.From, q.To, func(item fsm.InternalItem) (bool, error) {
					batch.Effects = append(batch.Effects, item.Effect)
					return true, nil
				})
				if len(batch.Effects) > 0 {
					batches = append(batches, batch)
				}
				return true, err
			}))
			for _, batch := range batches {
				moved = true
				w.apply(batch)
				next := w.apply(batch).(fsm.Received).Next
				w.apply(fsm.DropInternal{At: slot, To: batch.At, Next: next})
			}
		}
	}
}

func (w *whole) create(r *fsmtest.Room) {
	w.t.Helper()
	outcomeOf[fsm.Accepted](w.t, w.apply(r.Create()))
	r.Incarnation = w.index
}

func (w *whole) commit(r *fsmtest.Room, c fsm.AcceptCommit) {
	w.t.Helper()
	outcomeOf[fsm.Accepted](w.t, w.apply(c))
	r.Advance(c)
}

func (w *whole) room(uri mimi.RoomURI) fsm.Room {
	w.t.Helper()
	r, found, err := fsm.ReadRoom(w.store, uri)
	check(w.t, err)
	if !found {
		w.t.Fatalf("there is no room %s", uri)
	}
	return r
}

func (w *whole) rooms(user mimi.UserURI) []mimi.RoomURI {
	w.t.Helper()
	rooms, err := fsm.ReadRoomsOf(w.store, user)
	check(w.t, err)
	return rooms
}

func (w *whole) departures(uri mimi.RoomURI) (list []fsm.Departing) {
	w.t.Helper()
	all, err := fsm.ReadDepartures(w.store, uri)
	check(w.t, err)
	for _, d := range all {
		list = append(list, d.Who)
	}
	return list
}

// items are those that wait for a destination, in all slots.
func (w *whole) items(destination mimi.Provider) (items []fsm.OutboxItem) {
	w.t.Helper()
	for slot := range fsm.SlotID(fsm.SlotCount) {
		check(w.t, fsm.ReadOutbox(w.store, slot, destination, 0, func(item fsm.OutboxItem) (bool, error) {
			items = append(items, item)
			return true, nil
		}))
	}
	return items
}

func outcomeOf[T fsm.Outcome](t *testing.T, o fsm.Outcome) T {
	t.Helper()
	want, ok := o.(T)
	if !ok {
		t.Fatalf("%T%+v", o, o)
	}
	return want
}

func refused(t *testing.T, o fsm.Outcome, reason string) {
	t.Helper()
	if no := outcomeOf[fsm.NotAllowed](t, o); no.Reason != reason {
		t.Errorf("refused for %q, not %q", no.Reason, reason)
	}
}

// A user's slot knows the user's rooms, whoever's user it is, as they come and go.
func TestRoomsOfUsers(t *testing.T) {
	w := newWhole(t)
	first := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub})
	second := fsmtest.NewRoom(room("second"), 0, []mimi.UserURI{bob}, []mimi.Provider{hub})
	w.create(first)
	w.create(second)
	w.carry()
	if got := w.rooms(bob); len(got) != 2 || !slices.Contains(got, club) || !slices.Contains(got, second.URI) {
		t.Errorf("bob is in %v", got)
	}
	w.commit(first, first.Commit(fsmtest.Next{Label: "same"}))
	queued := uint64(0)
	check(t, fsm.InternalQueues(w.store, fsm.SlotOfRoom(club), func(q fsm.InternalQueue) (bool, error) {
		queued += q.Waiting
		return true, nil
	}))
	if queued != 0 {
		t.Errorf("a Commit that changes no list told %d users", queued)
	}
	w.commit(first, first.Commit(fsmtest.Next{Label: "without", Participants: fsmtest.ParticipantsOf([]mimi.UserURI{alice})}))
	w.carry()
	if got := w.rooms(bob); !slices.Equal(got, []mimi.RoomURI{second.URI}) {
		t.Errorf("bob is in %v after he has left", got)
	}
	if got := w.rooms(alice); !slices.Equal(got, []mimi.RoomURI{club}) {
		t.Errorf("alice is in %v", got)
	}
}

// A room that is older than the format tells of all its users with its next Commit.
func TestRoomsOfUsersBefore(t *testing.T) {
	w := newWhole(t)
	w.store = fsmtest.NewStore()
	w.apply(fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1})
	w.apply(fsm.EnterSettings{Version: 1, Settings: secondSettings(hub)})
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub})
	w.create(r)
	w.apply(fsm.EnterSettings{Version: 2, Settings: thirdSettings(hub)})
	r.Settings = 2
	w.carry()
	if got := w.rooms(bob); len(got) != 0 {
		t.Fatalf("the room told of its users in a format that has no such effect: %v", got)
	}
	w.commit(r, r.Commit(fsmtest.Next{Label: "next"}))
	w.carry()
	if got := w.rooms(bob); !slices.Equal(got, []mimi.RoomURI{club}) {
		t.Errorf("bob is in %v", got)
	}
}

func upload(user mimi.UserURI, client mimi.ClientURI, labels ...string) fsm.UploadKeyPackages {
	c := fsm.UploadKeyPackages{User: user, Client: client}
	for i, label := range labels {
		c.Packages = append(c.Packages, fsm.KeyPackageFacts{Ref: ref(label), Suite: 1, NotAfter: 5000, LastResort: i == 2, Message: []byte(label)})
	}
	return c
}

func claimOf(user mimi.UserURI, key string) fsm.ClaimKeyPackages {
	return fsm.ClaimKeyPackages{
		User: user, Requester: alice, Provider: hub, Room: club, Suites: []mls.CipherSuite{1}, ReplayKey: hashOf(key), ReplayMillis: 1000,
	}
}

// Of a deleted user nothing can be claimed any more, nor uploaded, and that stays so; the same again gets the same answer.
func TestDeletedUser(t *testing.T) {
	w := newWhole(t)
	carol := user("carol")
	w.apply(upload(carol, client("carol1"), "a", "b", "c"))
	w.apply(upload(carol, client("carol2"), "d"))
	deleted := outcomeOf[fsm.Accepted](t, w.apply(fsm.RecordDeparture{User: carol}))
	if again := w.apply(fsm.RecordDeparture{User: carol}); again != fsm.Outcome(deleted) {
		t.Errorf("deleted again: %+v, first %+v", again, deleted)
	}
	claimed := outcomeOf[fsm.Claimed](t, w.apply(claimOf(carol, "one")))
	if claimed.Code != mimi.KeyMaterialUserDeleted || len(claimed.Clients) != 0 {
		t.Errorf("claimed %+v", claimed)
	}
	refused(t, w.apply(upload(carol, client("carol1"), "e")), "the user was deleted")
	if left, _, err := fsm.ReadInventory(w.store, carol); err != nil || len(left) != 0 {
		t.Errorf("left: %+v, %v", left, err)
	}
	w.now = 6_000_000 // the KeyPackages have expired, and a sweep meets their references
	w.apply(fsm.Sweep{Max: 100})
}

// A lost client gives nothing any more and stands in no claim's way; the user's others do as before.
func TestLostClient(t *testing.T) {
	w := newWhole(t)
	carol := user("carol")
	w.apply(upload(carol, client("carol1"), "a", "b", "c"))
	w.apply(upload(carol, client("carol2"), "d"))
	outcomeOf[fsm.Accepted](t, w.apply(fsm.RecordDeparture{User: carol, Client: client("carol1")}))
	claimed := outcomeOf[fsm.Claimed](t, w.apply(claimOf(carol, "one")))
	if claimed.Code != mimi.KeyMaterialSuccess || len(claimed.Clients) != 1 || claimed.Clients[0].Client != client("carol2") {
		t.Errorf("claimed %+v", claimed)
	}
	refused(t, w.apply(upload(carol, client("carol1"), "e")), "the client was removed; a new one needs another URI")
	outcomeOf[fsm.Uploaded](t, w.apply(upload(carol, client("carol3"), "f")))
	w.now = 6_000_000
	w.apply(fsm.Sweep{Max: 100})
}

// The rooms of a deleted user hear of it, once; from then on it may do nothing there, until whoever looks finds nothing of it.
func TestDepartureReachesRooms(t *testing.T) {
	w := newWhole(t)
	first := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub})
	other := fsmtest.NewRoom(room("other"), 0, []mimi.UserURI{alice}, []mimi.Provider{hub})
	w.create(first)
	w.create(other)
	w.carry()
	message := first.Message("before", 0, bob)
	outcomeOf[fsm.Accepted](t, w.apply(message))

	w.apply(fsm.RecordDeparture{User: bob})
	w.carry()
	if got := w.departures(club); !slices.Equal(got, []fsm.Departing{{User: bob}}) {
		t.Fatalf("%v have to leave", got)
	}
	if rooms, err := fsm.DepartingRooms(w.store, fsm.SlotOfRoom(club)); err != nil || !slices.Equal(rooms, []mimi.RoomURI{club}) {
		t.Errorf("%v have somebody who has to leave: %v", rooms, err)
	}
	if len(w.departures(other.URI)) != 0 || !slices.Equal(w.departing, []mimi.RoomURI{club}) {
		t.Errorf("told to look at %v; from the other room %v have to leave", w.departing, w.departures(other.URI))
	}
	outcomeOf[fsm.Accepted](t, w.apply(message)) // its retry
	refused(t, w.apply(first.Message("after", 0, bob)), "the user was deleted")
	refused(t, w.apply(first.Propose(0, bob, "p")), "the user was deleted")
	refused(t, w.apply(fsm.TakeLease{Room: club, Requester: bob, Client: "bob1"}), "the user was deleted")
	outcomeOf[fsm.Accepted](t, w.apply(first.Message("of alice", 0, alice)))

	w.departing = nil
	commit := first.Commit(fsmtest.Next{Label: "without", Participants: fsmtest.ParticipantsOf([]mimi.UserURI{alice})})
	outcomeOf[fsm.ReadSetChanged](t, w.apply(commit)) // judged before the room heard
	commit.Reads.Departures = w.room(club).Departures
	w.commit(first, commit)
	if !slices.Equal(w.departing, []mimi.RoomURI{club}) {
		t.Errorf("after a Commit, told to look at %v", w.departing)
	}
	gone := fsm.SettleDepartures{Room: club, GroupContextHash: sha256.Sum256([]byte("another")), Gone: []fsm.Departing{{User: bob}}}
	outcomeOf[fsm.ReadSetChanged](t, w.apply(gone))
	gone.GroupContextHash = w.room(club).GroupContextHash
	w.apply(gone)
	w.apply(gone)
	if r := w.room(club); r.Departing != 0 || r.Departures != 1 {
		t.Errorf("%d have to leave, of %d ever", r.Departing, r.Departures)
	}
	d, known, err := fsm.ReadDeparture(w.store, club, fsm.Departing{User: bob})
	if err != nil || !known || !d.Settled {
		t.Errorf("the room knows %+v, %v, %v", d, known, err)
	}
	if rooms, err := fsm.DepartingRooms(w.store, fsm.SlotOfRoom(club)); err != nil || len(rooms) != 0 {
		t.Errorf("%v have somebody who has to leave: %v", rooms, err)
	}
	w.now += 93 * 24 * 60 * 60 * 1000
	w.apply(fsm.Sweep{Max: 100})
	if _, known, err := fsm.ReadDeparture(w.store, club, fsm.Departing{User: bob}); err != nil || known {
		t.Errorf("the departure is remembered longer than any KeyPackage lasts: %v", err)
	}
}

// Who comes into a room's list after it was deleted has to leave it at once, and so has, while its KeyPackages may last, a lost client.
func TestDepartureBeforeJoining(t *testing.T) {
	w := newWhole(t)
	w.apply(fsm.RecordDeparture{User: bob})
	w.apply(fsm.RecordDeparture{User: alice, Client: client("alice1")})
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub})
	w.create(r)
	w.carry()
	if got := w.departures(club); len(got) != 2 || !slices.Contains(got, fsm.Departing{User: bob}) ||
		!slices.Contains(got, fsm.Departing{User: alice, Client: client("alice1")}) {
		t.Errorf("%v have to leave", got)
	}
	w.now += 93 * 24 * 60 * 60 * 1000
	late := fsmtest.NewRoom(room("late"), 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub})
	w.create(late)
	w.carry()
	if got := w.departures(late.URI); !slices.Equal(got, []fsm.Departing{{User: bob}}) {
		t.Errorf("%v have to leave the late room", got)
	}
}

// The hub's Proposals of the new epoch wait from an external Commit on and go out with it.
func TestRenewedProposals(t *testing.T) {
	w := newWhole(t)
	r := fsmtest.NewRoom(club, 0, []mimi.UserURI{alice, bob}, []mimi.Provider{hub, peer})
	w.create(r)
	outcomeOf[fsm.Accepted](t, w.apply(r.Propose(0, alice, "old")))
	commit := r.Commit(fsmtest.Next{Label: "c"})
	next := *r
	next.Advance(commit)
	commit.Renewed = next.Propose(1, alice, "new").Proposals
	w.commit(r, commit)
	pending, err := fsm.ReadAllPending(w.store, club)
	check(t, err)
	if len(pending) != 1 || pending[0].Ref != "new" || pending[0].AcceptedMillis != w.now {
		t.Errorf("pending: %+v", pending)
	}
	if record, known, err := fsm.ReadProposalRecord(w.store, club, r.GroupID, 1, "new"); err != nil || !known || record.Fate != fsm.ProposalPending {
		t.Errorf("recorded: %+v, %v, %v", record, known, err)
	}
	items := w.items(peer)
	messages, err := mimi.ParseFanout(items[len(items)-1].Body)
	check(t, err)
	if sent, ok := messages[0].Event.(mimi.FanoutCommit); !ok || len(sent.ExternalProposals) != 1 {
		t.Errorf("fanned out: %+v", messages[0].Event)
	}
	outcomeOf[fsm.Accepted](t, w.apply(next.Propose(1, alice, "new"))) // whoever makes it again is told that it waits
	w.commit(r, r.Commit(fsmtest.Next{Label: "d", Proposals: []mls.ProposalRef{"new"}}))
}
