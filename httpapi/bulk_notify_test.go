package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// exceptionRead is a NotifyException as docs/extensions.md has it.
type exceptionRead struct {
	index  uint32
	code   uint8
	wait   uint32
	reason string
}

func readBulkNotifyAnswer(t testing.TB, body []byte) (taken uint32, exceptions []exceptionRead) {
	t.Helper()
	o := &octets{t, body}
	if format := o.uint8(); format != 1 {
		t.Fatalf("format %d", format)
	}
	taken = o.uint32()
	for list := o.inside(); len(list.rest) > 0; {
		exceptions = append(exceptions, exceptionRead{list.uint32(), list.uint8(), list.uint32(), list.text()})
	}
	o.end()
	return taken, exceptions
}

// oneMessage is a notify body of one application message.
func oneMessage(group mls.GroupID, epoch mls.Epoch, label string) []byte {
	return mimi.FanoutMessage{Millis: 5, Event: mimi.FanoutApplication{Message: &mls.PrivateMessage{
		GroupID: group, Epoch: epoch, ContentType: mls.ContentApplication, Ciphertext: []byte(label),
	}}}.Marshal()
}

// commitBody is a notify body of one Commit.
func commitBody(group mls.GroupID, epoch mls.Epoch, label string) []byte {
	return mimi.FanoutMessage{Millis: 5, Event: mimi.FanoutCommit{Commit: mls.MLSMessage{Body: &mls.PublicMessage{
		Content: mls.FramedContent{GroupID: group, Epoch: epoch, Sender: mls.MemberSender{}, AuthenticatedData: []byte(label), Body: mls.Commit{}},
		Auth:    mls.AuthData{Signature: []byte("signature"), ConfirmationTag: []byte("tag")}, MembershipTag: []byte("tag"),
	}}}}.Marshal()
}

// inboxLabels lists what a provider's inbox has of a room.
func inboxLabels(t testing.TB, s *station, room mimi.RoomURI) (labels []string) {
	t.Helper()
	page, err := s.hub.ReadInbox(context.Background(), fsm.InboxQuery{Items: 1000, Classes: fsm.AllClasses})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range page.Items {
		if item.Room != room {
			continue
		}
		for _, n := range item.Notes {
			labels = append(labels, fmt.Sprintf("%T", n.(fsm.Noticed).Notice))
		}
		if len(item.Body) == 0 {
			continue
		}
		messages, err := mimi.ParseFanout(item.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			switch e := m.Event.(type) {
			case mimi.FanoutApplication:
				labels = append(labels, string(e.Message.Ciphertext))
			case mimi.FanoutCommit:
				labels = append(labels, string(e.Commit.Body.(*mls.PublicMessage).Content.AuthenticatedData))
			}
		}
	}
	return labels
}

func deliverBulk(t testing.TB, from, to *station, items ...mimi.NotifyItem) (exceptions []exceptionRead) {
	t.Helper()
	a := from.post(to, bulkNotifyPath, mimi.BulkNotifyRequest{Items: items}.Marshal())
	if a.status != http.StatusOK || a.header.Get("Content-Type") != mimi.MediaType {
		t.Fatalf("%d %s", a.status, a.body)
	}
	taken, exceptions := readBulkNotifyAnswer(t, a.body)
	if int(taken) != len(items) {
		t.Fatalf("%d of %d items were looked at", taken, len(items))
	}
	return exceptions
}

// Each item has its own answer: one that is refused holds up its room and no other.
func TestBulkNotifyAnswers(t *testing.T) {
	w := newWorld(t, hubDomain, peerDomain)
	a, b := w.providers[hubDomain], w.providers[peerDomain]
	den, attic, hall := theirRoom, room("mimi://b.example/r/attic"), room("mimi://b.example/r/hall")
	item := func(r mimi.RoomURI, body []byte, notices ...mimi.Notice) mimi.NotifyItem {
		return mimi.NewNotifyItem(r, body, notices)
	}
	if got := deliverBulk(t, b, a, item(attic, oneMessage("attic", 1, "a0"))); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	broken := item(den, nil)
	broken.Notices = []byte{byte(mimi.NoticeRoomDestroyed), 1, 0}
	failing := map[fsm.SlotID]error{
		fsm.SlotOfRoom(room("mimi://b.example/r/leaderless")): fsm.ErrNotProposed,
		fsm.SlotOfRoom(room("mimi://b.example/r/full")):       fsm.ErrOverloaded,
		fsm.SlotOfRoom(room("mimi://b.example/r/cut")):        fsm.ErrUnknownOutcome,
		fsm.SlotOfRoom(room("mimi://b.example/r/faulty")):     errors.New("the disk is on fire"),
	}
	a.hub.lead(func(slot fsm.SlotID) error { return failing[slot] })
	items := []mimi.NotifyItem{
		item(den, commitBody("den", 7, "d1")),
		item(den, oneMessage("den", 8, "d2"), mimi.PolicyChanged{Epoch: 8, Changes: mimi.RolesChanged}),
		item(den, []byte("no FanoutMessage")),                       // 2: malformed
		item(den, oneMessage("den", 8, "d3")),                       // 3: behind
		item(hall, oneMessage("attic", 1, "another's")),             // 4: of the group of attic
		item(attic, oneMessage("attic", 1, "a1")),                   //
		item(ourRoom, oneMessage("ours", 1, "x")),                   // 6: hosted here
		item(room("mimi://c.example/r/x"), oneMessage("x", 1, "x")), // 7: a third provider's
		item(room("mimi://b.example/r/leaderless"), oneMessage("g1", 1, "x")),
		item(room("mimi://b.example/r/full"), oneMessage("g2", 1, "x")),
		item(room("mimi://b.example/r/cut"), oneMessage("g3", 1, "x")),
		item(mimi.RoomURI{}, nil, mimi.UserDeleted{User: bob, Millis: 4}),   //
		item(mimi.RoomURI{}, nil, mimi.UserDeleted{User: alice, Millis: 4}), // 12: not theirs
		item(room("mimi://b.example/r/faulty"), oneMessage("g4", 1, "x")),   // 13
		item(room("mimi://b.example/r/void"), nil),                          // 14: nothing in it
	}
	got := deliverBulk(t, b, a, items...)
	want := []exceptionRead{{index: 2, code: 1}, {3, 0x83, 1, ""}, {index: 4, code: 4}, {index: 6, code: 2}, {index: 7, code: 2},
		{8, 0x81, 1, ""}, {9, 0x80, 1, ""}, {10, 0x82, 1, ""}, {index: 12, code: 2}, {13, 0x82, 1, ""}, {index: 14, code: 1}}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, e := range got {
		if e.index != want[i].index || e.code != want[i].code || e.wait != want[i].wait {
			t.Errorf("exception %+v, not %+v", e, want[i])
		}
		if strings.Contains(e.reason, "fire") || e.code < 0x80 && e.reason == "" {
			t.Errorf("exception %d says %q", e.index, e.reason)
		}
	}
	if got := inboxLabels(t, a, den); !slices.Equal(got, []string{"mimi.PolicyChanged", "d1", "d2"}) {
		t.Errorf("den: %q", got)
	}
	if got := inboxLabels(t, a, attic); !slices.Equal(got, []string{"a0", "a1"}) {
		t.Errorf("attic: %q", got)
	}
	if got := inboxLabels(t, a, hall); len(got) != 0 {
		t.Errorf("hall: %q", got)
	}
	if got := inboxLabels(t, a, mimi.RoomURI{}); !slices.Equal(got, []string{"mimi.UserDeleted"}) {
		t.Errorf("of no room: %q", got)
	}
	for user, want := range map[mimi.UserURI]bool{bob: true, alice: false} {
		if _, gone, err := fsm.ReadDeparted(a.hub.store, fsm.Departing{User: user}); err != nil || gone != want {
			t.Errorf("%s has departed: %v %v", user, gone, err)
		}
	}
	// Sent again, mended: what was taken is not taken twice, by whichever way.
	a.hub.lead(nil)
	items[2] = item(den, oneMessage("den", 8, "mended"))
	if got := deliverBulk(t, b, a, items[:4]...); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := b.post(a, path("notify", den), oneMessage("den", 8, "d3")); got.status != http.StatusCreated {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := inboxLabels(t, a, den); !slices.Equal(got, []string{"mimi.PolicyChanged", "d1", "d2", "mended", "d3"}) {
		t.Errorf("den: %q", got)
	}
}

// A body under another room's name is refused, and says which field is wrong.
func TestNotifyOfAnotherRoomsGroup(t *testing.T) {
	w := newWorld(t, hubDomain, peerDomain)
	a, b := w.providers[hubDomain], w.providers[peerDomain]
	attic := room("mimi://b.example/r/attic")
	if got := b.post(a, path("notify", theirRoom), oneMessage("den", 1, "d1")); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got := b.post(a, path("notify", attic), oneMessage("den", 1, "d2"))
	if p := problemIn(t, got); got.status != http.StatusForbidden || p.Field != "group_id" || p.Type != "urn:parley:problem:group-of-another-room" {
		t.Errorf("%d %+v", got.status, p)
	}
	// In one command with what is the room's own, only what stands before it is taken.
	exceptions := deliverBulk(t, b, a, mimi.NewNotifyItem(attic, oneMessage("attic", 1, "a1"), nil),
		mimi.NewNotifyItem(attic, oneMessage("den", 1, "d2"), nil), mimi.NewNotifyItem(attic, oneMessage("attic", 1, "a2"), nil))
	if len(exceptions) != 2 || exceptions[0].index != 1 || exceptions[0].code != 4 || exceptions[1].code != 0x83 {
		t.Errorf("%+v", exceptions)
	}
	if got := inboxLabels(t, a, attic); !slices.Equal(got, []string{"a1"}) {
		t.Errorf("attic: %q", got)
	}
	// A room that is followed goes on with its own group, and no look-up is needed any more.
	a.hub.lead(func(slot fsm.SlotID) error {
		if slot != fsm.SlotOfRoom(attic) {
			return fsm.ErrNotProposed
		}
		return nil
	})
	if got := b.post(a, path("notify", attic), oneMessage("attic", 1, "a3")); got.status != http.StatusCreated {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// Commits that arrive in another order than they happened are put in order, and over the bound the hub is told to come again.
func TestNotifyPutsCommitsInOrder(t *testing.T) {
	w := newWorld(t, hubDomain, peerDomain)
	a, b := w.providers[hubDomain], w.providers[peerDomain]
	for _, body := range [][]byte{commitBody("den", 1, "c1"), commitBody("den", 3, "c3"), oneMessage("den", 4, "m4"), commitBody("den", 2, "c2")} {
		if got := b.post(a, path("notify", theirRoom), body); got.status != http.StatusCreated {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if got := inboxLabels(t, a, theirRoom); !slices.Equal(got, []string{"c1", "c2", "c3", "m4"}) {
		t.Errorf("%q", got)
	}
	large := strings.Repeat("x", 3<<20)
	if got := b.post(a, path("notify", theirRoom), oneMessage("den", 9, large)); got.status != http.StatusCreated {
		t.Fatalf("%d %s", got.status, got.body)
	}
	got := b.post(a, path("notify", theirRoom), oneMessage("den", 9, large+"y"))
	if p := problemIn(t, got); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") != "1" || p.Type != "urn:parley:problem:out-of-order" {
		t.Errorf("%d %+v", got.status, p)
	}
	if got := deliverBulk(t, b, a, mimi.NewNotifyItem(theirRoom, oneMessage("den", 9, large+"y"), nil)); len(got) != 1 || got[0].code != 0x84 {
		t.Errorf("%+v", got)
	}
}

// What can be read as no delivery is refused whole; so is one that comes before every node knows what it is.
func TestBulkNotifyRefusals(t *testing.T) {
	d := openPeerDoor(t, nil)
	a := d.post(t, bulkNotifyPath, []byte{1, 0})
	if p := problemIn(t, a); a.status != http.StatusBadRequest || p.Field != "BulkNotifyRequest.items" {
		t.Errorf("%d %+v", a.status, p)
	}
	if len(d.hub.asked()) != 0 {
		t.Error("the hub was asked")
	}
	older := &fakeConfig{fsm.DefaultSettings(hubDomain)}
	older.settings.Format = fsm.FormatExclusive
	if NewDesk(d.hub, older, d.cluster, d.outbound).takesBulk() {
		t.Error("a cluster of an older format takes bulk deliveries")
	}
}

type fakeConfig struct{ settings fsm.Settings }

func (c *fakeConfig) Settings() fsm.Settings { return c.settings }

// A room's items go in few commands, in order, and many rooms in one request.
func TestBulkNotifyOfManyRooms(t *testing.T) {
	w := newWorld(t, hubDomain, peerDomain)
	a, b := w.providers[hubDomain], w.providers[peerDomain]
	var items []mimi.NotifyItem
	for n := range mimi.NotifyItemsMax {
		r := room(fmt.Sprintf("mimi://b.example/r/%d", n%20))
		items = append(items, mimi.NewNotifyItem(r, oneMessage(mls.GroupID(r.String()), 1, fmt.Sprint(n)), nil))
	}
	if got := deliverBulk(t, b, a, items[:20]...); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	before := a.hub.entries()
	if got := deliverBulk(t, b, a, items...); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	if n := a.hub.entries() - before; n > 40 {
		t.Errorf("%d commands for 20 rooms", n)
	}
	for n := range 20 {
		var want []string
		for i := n; i < mimi.NotifyItemsMax; i += 20 {
			want = append(want, fmt.Sprint(i))
		}
		if got := inboxLabels(t, a, room(fmt.Sprintf("mimi://b.example/r/%d", n))); !slices.Equal(got, want) {
			t.Errorf("room %d: %q", n, got)
		}
	}
}
