package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// hosting is a shard with inboxes for clients and one room in it, of the clients c1 and c2.
func hosting(t *testing.T, settings fsm.Settings) (*clientsModel, *modelRoom) {
	t.Helper()
	m := &clientsModel{whole: newWholeOf(t, settings), want: map[string]map[mimi.RoomURI][]string{}}
	m.host(club)
	r := m.rooms[0]
	m.apply1(r, change{label: "adding", adds: []string{ours[1]}})
	return m, r
}

func (m *clientsModel) sees(name string, uri mimi.RoomURI, want ...string) []fsm.ClientEvent {
	m.t.Helper()
	events, _ := m.events(name, uri, fsm.EventQuery{})
	if got := m.labels(events); !slices.Equal(got, want) {
		m.t.Errorf("%s sees %q, not %q", name, got, want)
	}
	return events
}

func TestClientInboxesAreOffByDefault(t *testing.T) {
	settings := fourthSettings(hub)
	settings.Bulk.ClientInboxes = fsm.DefaultSettings(hub).Bulk.ClientInboxes
	m, r := hosting(t, settings)
	m.say(r)
	m.sees(ours[0], club)
	m.carry()
	check(t, fsm.VisitMemberRooms(m.store, fsm.MemberName(ours[0]), fsm.RoomHash{}, func(r mimi.RoomURI) (bool, error) { t.Errorf("knows of %s", r); return true, nil }))
}

// Who is in a room when inboxes are switched on is in it from what comes next; switching them off forgets all, and on again begins anew.
func TestClientInboxesAreSwitched(t *testing.T) {
	off := fourthSettings(hub)
	off.Bulk.ClientInboxes = false
	m, r := hosting(t, off)
	switchTo := func(version uint64, on bool) {
		settings := fourthSettings(hub)
		settings.Bulk.ClientInboxes = on
		m.apply(fsm.EnterSettings{Version: version, Settings: settings})
		r.hosted.Settings = version
	}
	m.say(r)
	switchTo(2, true)
	m.say(r)
	second := fmt.Sprint("message ", m.made)
	m.sees(ours[0], club, second)
	m.sees(ours[1], club, second)
	switchTo(3, false)
	m.sees(ours[0], club)
	if kept := fsm.ClientEventsKept(m.store); kept > 0 {
		t.Errorf("%d events are kept", kept)
	}
	m.apply1(r, change{label: "removing", removes: []int{1}})
	switchTo(4, true)
	m.say(r)
	m.sees(ours[0], club, fmt.Sprint("message ", m.made))
	m.sees(ours[1], club)
}

// What waits longer than the retention goes, and each client that has not had it is told, once it comes; one that has had it is not.
func TestClientInboxRetention(t *testing.T) {
	settings := clientSettings()
	settings.Bulk.InboxRetentionMillis = 60_000
	m, r := hosting(t, settings)
	for range 3 {
		m.say(r)
	}
	old := m.made
	events := m.sees(ours[0], club, "adding", fmt.Sprint("message ", old-2), fmt.Sprint("message ", old-1), fmt.Sprint("message ", old))
	m.apply(fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(club), Name: fsm.MemberName(ours[0]), Through: events[2].Position})
	m.apply(fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(club), Name: fsm.MemberName(ours[0]), Positions: []uint64{events[3].Position}})
	m.now += 30_000
	m.say(r)
	young := fmt.Sprint("message ", m.made)
	m.now += 30_100
	m.apply(fsm.Sweep{Max: 100})
	m.sees(ours[0], club, young)
	gap := m.sees(ours[1], club, "fsm.Noticed", young)[0]
	notice, ok := gap.Notes[0].(fsm.Noticed).Notice.(mimi.StreamGap)
	if !ok || notice.Items != 4 || notice.FirstMillis == 0 || notice.LastMillis < notice.FirstMillis { // its Welcome and three messages
		t.Errorf("the gap is %+v", gap.Notes[0])
	}
	if kept := fsm.ClientEventsKept(m.store); kept != 1 {
		t.Errorf("%d events are kept", kept)
	}
	m.apply(fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(club), Name: fsm.MemberName(ours[1]), Positions: []uint64{gap.Position}})
	m.sees(ours[1], club, young)
	m.now += 60_100
	m.apply(fsm.Sweep{Max: 100})
	if kept := fsm.ClientEventsKept(m.store); kept > 0 {
		t.Errorf("%d events are kept", kept)
	}
}

// The end of a room is the last that its clients see of it, and nothing is left of it when they have had that.
func TestClientsOfDestroyedRoom(t *testing.T) {
	m, r := hosting(t, clientSettings())
	outcomeOf[fsm.Accepted](t, m.destroy(club, r.hosted.Propose(r.hosted.Epoch, alice, "farewell").Proposals...))
	events := m.sees(ours[0], club, "adding", "farewell", "fsm.RoomWasDestroyed")
	m.carry()
	for _, name := range ours[:2] {
		m.apply(fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(club), Name: fsm.MemberName(name), Through: events[2].Position})
	}
	m.carry()
	check(t, fsm.VisitMemberRooms(m.store, fsm.MemberName(ours[0]), fsm.RoomHash{}, func(r mimi.RoomURI) (bool, error) { t.Errorf("knows of %s", r); return true, nil }))
	if kept := fsm.ClientEventsKept(m.store); kept > 0 {
		t.Errorf("%d events are kept", kept)
	}
}

// A client that is lost has no inbox any more, in any room, and comes into none.
func TestLostClientsHaveNoInbox(t *testing.T) {
	m, r := hosting(t, clientSettings())
	m.apply(fsm.RecordDeparture{User: alice, Client: client("c2")})
	m.carry()
	m.say(r)
	m.sees(ours[1], club)
	m.host(room("later"))
	m.apply1(m.rooms[1], change{label: "adding again", adds: []string{ours[1]}})
	m.carry()
	m.sees(ours[1], room("later"))
	m.sees(ours[0], club, "adding", fmt.Sprint("message ", m.made-1))
	m.apply(fsm.RecordDeparture{User: alice})
}

// A client that joined a room elsewhere from outside is in it from its Commit on, though nobody here knows the room's tree. Its leaf is
// learnt from its own next Commit, or from the tree that comes with a Welcome; from then on its removal is seen.
func TestUnknownRoster(t *testing.T) {
	for _, learn := range []string{"from its own Commit", "from a Welcome"} {
		t.Run(learn, func(t *testing.T) {
			m := &clientsModel{whole: newWholeOf(t, clientSettings()), want: map[string]map[mimi.RoomURI][]string{}}
			r := &modelRoom{uri: room("there@b.example"), group: "there", epoch: 5, leaves: []string{theirs[0], theirs[1], ""}, begun: true}
			m.rooms = append(m.rooms, r)
			m.apply1(r, change{label: "joining", external: ours[0]})
			m.say(r)
			m.compare()
			if learn == "from a Welcome" {
				m.apply1(r, change{label: "adding", adds: []string{ours[1]}})
			} else {
				m.notify(r, mimi.FanoutCommit{Commit: mls.MLSMessage{Body: r.public("its own", mls.MemberSender{Leaf: 2}, mls.Commit{Path: &mls.UpdatePath{Leaf: leafOf(ours[0])}})}})
				m.see(r, "its own", ours[0])
				r.epoch++
			}
			m.apply1(r, change{label: "removing", removes: []int{2}})
			m.say(r)
			m.compare()
		})
	}
}

// Of a room elsewhere whose Commit names a Proposal that never came, the roster is lost until the next Welcome brings the tree.
func TestLostRoster(t *testing.T) {
	m := &clientsModel{whole: newWholeOf(t, clientSettings()), want: map[string]map[mimi.RoomURI][]string{}}
	r := &modelRoom{uri: room("there@b.example"), group: "there", epoch: 5, leaves: []string{theirs[0]}}
	m.rooms = append(m.rooms, r)
	m.apply1(r, change{label: "adding", adds: []string{ours[0], ours[1]}})
	m.apply1(r, change{label: "removing", byRef: []pendingInModel{{ref: "unseen", removes: 2}}})
	m.now += 6 * 60_000 // the Proposal is waited for no longer
	m.apply(fsm.Sweep{Max: 100})
	m.apply1(r, change{label: "adding again", adds: []string{ours[2], theirs[1]}})
	m.say(r)
	// That c2 is out is not seen before the tree comes, in which its leaf is another's.
	m.want[ours[1]][r.uri] = append(m.want[ours[1]][r.uri], "adding again")
	m.compare()
}

// The newest first: handshakes in their order, then messages from the newest on, those of epochs whose keys are gone last.
func TestNewestFirst(t *testing.T) {
	m, r := hosting(t, clientSettings())
	for i := range 4 {
		m.apply1(r, change{label: fmt.Sprint("commit ", i)})
		outcomeOf[fsm.Accepted](t, m.apply(r.hosted.Message(fmt.Sprint("a", i), r.hosted.Epoch, alice)))
		outcomeOf[fsm.Accepted](t, m.apply(r.hosted.Message(fmt.Sprint("b", i), r.hosted.Epoch, alice)))
	}
	read := func(items int, classes fsm.EventClass) []string {
		events, wholly := m.events(ours[0], club, fsm.EventQuery{Items: items, Classes: classes, Order: fsm.NewestFirst, Epochs: 1})
		if wholly != (len(events) < items) && items < 13 {
			t.Errorf("%d of %d events, whole: %v", len(events), items, wholly)
		}
		return m.labels(events)
	}
	whole := []string{"adding", "commit 0", "commit 1", "commit 2", "commit 3", "b3", "a3", "b2", "a2", "b1", "a1", "b0", "a0"}
	if got := read(100, 0); !slices.Equal(got, whole) {
		t.Errorf("all: %q", got)
	}
	for _, n := range []int{1, 3, 7} {
		if got := read(n, 0); !slices.Equal(got, whole[:n]) {
			t.Errorf("the first %d: %q", n, got)
		}
	}
	if got := read(2, fsm.ClassApplication); !slices.Equal(got, []string{"b3", "a3"}) {
		t.Errorf("messages: %q", got)
	}
	events, _ := m.events(ours[0], club, fsm.EventQuery{Items: 100, Order: fsm.NewestFirst, Epochs: 1})
	for i, e := range events {
		if e.Class == fsm.ClassApplication && e.Readable != (i < 9) {
			t.Errorf("%s: readable %v", labelOf(t, e), e.Readable)
		}
	}
}

// A client that leaves more holes between what it acknowledges than are kept is told to go about it otherwise.
func TestAcknowledgedWithHoles(t *testing.T) {
	m, r := hosting(t, clientSettings())
	for range 600 {
		outcomeOf[fsm.Accepted](t, m.quietly(r.hosted.Message(m.label("message"), r.hosted.Epoch, alice)))
	}
	events, _ := m.events(ours[0], club, fsm.EventQuery{})
	holes := fsm.AcknowledgeEvents{Room: fsm.HashOfRoom(club), Name: fsm.MemberName(ours[0])}
	for i := 1; i < len(events); i += 2 {
		holes.Positions = append(holes.Positions, events[i].Position)
	}
	outcomeOf[fsm.NotAllowed](t, m.apply(holes))
	all := fsm.AcknowledgeEvents{Room: holes.Room, Name: holes.Name, Through: events[len(events)-1].Position}
	outcomeOf[fsm.Acknowledged](t, m.apply(all))
	m.sees(ours[0], club)
}

// quietly applies a command without holding the whole state to anything.
func (w *whole) quietly(c fsm.Command) fsm.Outcome {
	w.index++
	w.now++
	return applyTo(w.t, w.store, w.index, w.now, c)[0]
}

// Of two leaves that name their user alone, the one whose KeyPackage was claimed for a client is that client's.
func TestClientKnownByItsClaim(t *testing.T) {
	m, r := hosting(t, clientSettings())
	label := fmt.Sprint("welcome ", m.made+1)
	m.apply(fsm.RecordKeyPackageRefs{Room: club, Refs: []fsm.KeyPackageRoute{
		{Ref: mls.KeyPackageRef(label), Provider: hub, User: user("plain"), Client: client("plain1"), NotAfter: 9000},
	}})
	m.apply1(r, change{label: "adding by claim", adds: []string{ours[3]}})
	m.sees("mimi://a.example/d/plain1", club, label)
	m.sees(ours[3], club)
}
