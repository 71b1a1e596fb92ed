package judge

import (
	"bytes"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// samples are requests of every kind, encoded.
func (m *maker) samples() (all [][]byte) {
	m.t.Helper()
	add := func(r Request, err error) {
		m.t.Helper()
		m.ok(err)
		all = append(all, EncodeRequest(r))
	}
	room, alice, bob := m.recording.Room.URI, m.client("alice1"), m.client("bob1")
	s := m.step("create_group")
	add(constructed(NewCreateRoom(room, alice.User, s.GroupInfo, s.RatchetTree)))
	for _, s := range m.recording.Steps[1:] {
		switch s.Kind {
		case "message":
			message, err := mls.ParseMLSMessage(s.Message)
			m.ok(err)
			body := mimi.SubmitMessageRequest{Message: message.Body.(*mls.PrivateMessage), Sender: alice.User}.Marshal()
			add(constructed(NewSubmit(alice.User.Provider(), room, body)))
			add(constructed(NewQueue(room, []mimi.Submission{{Room: room.String(), Kind: mimi.SubmissionMessage, Body: body}})))
		default:
			add(constructed(NewUpdate(m.userOf(s.From).Provider(), room, m.bundle(s))))
		}
	}
	add(m.groupInfoRequest("bob3", "b.example"))
	add(m.claim("a.example", m.claimOf(nil)))
	add(constructed(m.bulkPart("a.example", m.bulkOf(nil), bob.User, "key")))
	add(constructed(NewUpload(bob.User, bob.URI, [][]byte{bob.KeyPackages[0].KeyPackage})))
	add(constructed(NewRecordRoutes(room, []fsm.KeyPackageRoute{{Ref: "ref", Provider: bob.User.Provider(), User: bob.User, Client: bob.URI, NotAfter: 7}})))
	add(constructed(NewAcknowledge(9, bob.User.Provider(), []uint64{1, 5})))
	add(constructed(NewAcknowledgeEvents(fsm.HashOfRoom(room), fsm.NameOfUser(bob.User), 7, []uint64{9, 11})))
	add(constructed(NewAcknowledgeThrough(9, bob.User.Provider(), 5)))
	add(constructed(NewAcknowledge(9, bob.User.Provider(), []uint64{1}, fsm.RoomTaken{Room: room, Through: 7}, fsm.RoomTaken{Through: 2})))
	add(constructed(NewDescribeRoom(room)))
	add(constructed(NewSetConsents(bob.User, []fsm.ConsentEntry{{Requester: alice.User, Room: room, Consent: fsm.ConsentGranted}, {Requester: alice.User}})))
	add(constructed(NewSetConsentPolicy(bob.User, fsm.ConsentAllow)))
	add(constructed(NewDeleteKeyPackages(bob.User, bob.URI, []mls.KeyPackageRef{"ref"})))
	add(constructed(NewDeleteKeyPackages(bob.User, bob.URI, nil)))
	add(constructed(NewReadInventory(bob.User)))
	add(constructed(NewReadConsents(bob.User, alice.User, []byte("from"), 7)))
	add(constructed(NewDepart(bob.User.Provider(), bob.User, bob.URI)))
	add(constructed(NewDepart(bob.User.Provider(), bob.User, mimi.ClientURI{})))
	add(constructed(NewDestroyRoom(room)))
	add(constructed(NewReserveGroup("group", room)))
	body := mimi.SubmitMessageRequest{Message: &mls.PrivateMessage{GroupID: "group", ContentType: mls.ContentApplication}, Sender: alice.User}.Marshal()
	message, err := mimi.ParseSubmittedMessage(room, body)
	m.ok(err)
	batch, err := NewSubmitBatch(alice.User.Provider(), room, []mimi.SubmittedMessage{message}, true)
	add(batch, err)
	add(Repeated(batch), err)
	verdict := mimi.Verdict{Code: mimi.VerdictInvalid, Reason: "no"}
	add(constructed(NewRecordVerdicts(room, bob.User.Provider(), []mimi.Verdict{verdict}, true)))
	add(constructed(NewSubmissions([]mimi.Provider{bob.User.Provider(), alice.User.Provider()}, room, []mimi.Receipt{{1}, {2}})))
	add(constructed(NewFollowGroup(bob.User.Provider(), "group", room)))
	frame := mimi.FanoutMessage{Millis: 1, Event: mimi.FanoutApplication{Message: &mls.PrivateMessage{GroupID: "group", ContentType: mls.ContentApplication}}}.Marshal()
	item, err := ReadDelivered(frame, mimi.MarshalNotice(mimi.RoomDestroyed{}))
	m.ok(err)
	add(constructed(NewReceiveBodies(bob.User.Provider(), room, []Delivered{item, item}, []mls.GroupID{"group"})))
	told, err := ReadDelivered(nil, mimi.MarshalNotice(mimi.UserDeleted{User: bob.User}))
	m.ok(err)
	add(constructed(NewReceiveBodies(bob.User.Provider(), mimi.RoomURI{}, []Delivered{told}, nil)))
	create, err := NewCreateRoom(room, alice.User, s.GroupInfo, s.RatchetTree)
	add(constructed(create.WithMembers(7), err))
	set := fsm.MemberSetOf([]mimi.UserURI{alice.User, bob.User})
	add(constructed(NewReserveMembers(set, room, 7)))
	add(constructed(NewForgoMembers(room, set, 7, alice.User)))
	add(constructed(NewConsiderParent(room, []mimi.UserURI{alice.User, bob.User})))
	id := fsm.CodeIDOf([]byte("code"))
	add(constructed(NewCreateJoiningCode(room, alice.User, id, CodeTerms{Role: 2, Uses: 3, LifetimeMillis: 4, Lock: fsm.PassphraseLock{
		Salt: []byte("salt"), Rounds: 5, Key: []byte("key"),
	}})))
	add(constructed(NewRevokeJoiningCode(room, alice.User, id)))
	add(constructed(NewListJoiningCodes(room)))
	add(constructed(NewSettleQueue(9, bob.User.Provider(), []fsm.SettledSubmission{{Number: 7, Verdict: mimi.Verdict{Receipt: mimi.Receipt{1}, Code: mimi.VerdictInvalid, Reason: "no"}}})))
	add(constructed(NewAskQueue(room, []mimi.Receipt{{1}, {2}})))
	return all
}

func TestRequestsAreCarriedUnchanged(t *testing.T) {
	for i, encoded := range openMaker(t).samples() {
		r, err := DecodeRequest(encoded)
		if err != nil {
			t.Errorf("sample %d: %v", i, err)
			continue
		}
		if again := EncodeRequest(r); !bytes.Equal(again, encoded) {
			t.Errorf("sample %d, a %T, became\n%x from\n%x", i, r, again, encoded)
		}
		for _, hostile := range [][]byte{encoded[:len(encoded)-1], append(bytes.Clone(encoded), 0)} {
			if _, err := DecodeRequest(hostile); err == nil {
				t.Errorf("sample %d of another length was read", i)
			}
		}
	}
}

// What was read can be written, and reads as the same again. The first encoding need not be the shortest spelling of its URIs.
func FuzzDecodeRequest(f *testing.F) {
	for _, encoded := range openMaker(f).samples() {
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		r, err := DecodeRequest(input)
		if err != nil {
			return
		}
		once := EncodeRequest(r)
		r, err = DecodeRequest(once)
		if err != nil {
			t.Fatalf("its own encoding cannot be read: %v", err)
		}
		if twice := EncodeRequest(r); !bytes.Equal(once, twice) {
			t.Fatalf("encoded %x, then %x", once, twice)
		}
	})
}
