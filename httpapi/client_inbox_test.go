package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

func clientInboxPath(uri string) string { return "/v1/clients/" + url.PathEscape(uri) + "/inbox" }

const aliceClient = "mimi://a.example/d/alice1"

func clientEventAt(position uint64) fsm.ClientEvent {
	return fsm.ClientEvent{
		ClientEventRef: fsm.ClientEventRef{Room: theirRoom, Hub: peerDomain, Position: position, Millis: 9, Class: fsm.ClassApplication, Epoch: 7},
		Message:        applicationBody(),
	}
}

func (i *fakeInbox) putEvents(events ...fsm.ClientEvent) {
	i.mu.Lock()
	i.events = events
	i.mu.Unlock()
	i.wake <- struct{}{}
}

func (i *fakeInbox) lastQuery() fsm.EventQuery {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.queries[len(i.queries)-1]
}

func TestClientInbox(t *testing.T) {
	d := openLocalDoor(t)
	if a := d.json(t, http.MethodGet, clientInboxPath(aliceClient), nil); a.status != 409 {
		t.Fatalf("with inboxes for clients off: %d %s", a.status, a.body)
	}
	d.cluster.clientInboxes = true
	gap := fsm.ClientEvent{ClientEventRef: fsm.ClientEventRef{Room: theirRoom, Hub: peerDomain, Position: 1, Class: fsm.ClassNotice}, Notes: []fsm.Note{fsm.Noticed{Notice: mimi.StreamGap{Items: 3}}}}
	d.inbox.putEvents(gap)
	if a := d.json(t, http.MethodGet, clientInboxPath(aliceClient), nil); a.status != 200 || !strings.Contains(string(a.body), `"kind":"streamGap"`) {
		t.Errorf("a gap: %d %s", a.status, a.body)
	}
	d.inbox.putEvents(clientEventAt(1), clientEventAt(2), clientEventAt(3))
	read := func(query string) (batch clientBatch) {
		t.Helper()
		a := d.json(t, http.MethodGet, clientInboxPath(aliceClient)+query, nil)
		if err := json.Unmarshal(a.body, &batch); err != nil || a.status != 200 {
			t.Fatalf("%s: %d %s", query, a.status, a.body)
		}
		return batch
	}
	all := read("")
	if len(all.Items) != 3 || all.More || all.Items[1].Sequence != 2 || all.Items[1].Room != theirRoom ||
		all.Items[1].Events[0].Kind != "application" {
		t.Fatalf("%+v", all)
	}
	if q := d.inbox.lastQuery(); q.Name != aliceClient || q.Order != fsm.OldestFirst || q.Epochs != 3 || q.Classes != fsm.AllClasses {
		t.Errorf("asked for %+v", q)
	}
	if some := read("?max=1&order=newest&epochs=5&classes=application&form=raw"); len(some.Items) != 1 || !some.More {
		t.Errorf("%+v", some)
	}
	if q := d.inbox.lastQuery(); q.Order != fsm.NewestFirst || q.Epochs != 5 || q.Classes != fsm.ClassApplication || q.Items != 1 {
		t.Errorf("asked for %+v", q)
	}
	for query, field := range map[string]string{"?order=x": "order", "?epochs=1001": "epochs", "?classes=x": "classes", "?max=0": "max", "?form=x": "form"} {
		if a := d.json(t, http.MethodGet, clientInboxPath(aliceClient)+query, nil); a.status != 400 || problemIn(t, a).Field != field {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	for uri, status := range map[string]int{"mimi://b.example/d/bob1": 403, "mimi://a.example/u/alice": 200, "mimi://a.example/r/room": 400, "x": 400} {
		if a := d.json(t, http.MethodGet, clientInboxPath(uri), nil); a.status != status {
			t.Errorf("%s: %d %s", uri, a.status, a.body)
		}
	}

	t.Run("acknowledge", func(t *testing.T) {
		d.hub.set(fsm.Acknowledged{Items: 2}, nil)
		a := d.json(t, http.MethodPost, clientInboxPath(aliceClient)+"/acknowledge", acknowledgeEventsRequest{
			IDs: []string{all.Items[0].ID, all.Items[2].ID}, Through: []roomPlaced{{theirRoom, 2}, {ourRoom, 5}},
		})
		if a.status != 200 || strings.TrimSpace(string(a.body)) != `{"acknowledged":4}` { // the hub says two of each room
			t.Errorf("got %d %s", a.status, a.body)
		}
		commands := map[fsm.RoomHash]fsm.AcknowledgeEvents{}
		for _, r := range d.hub.asked() {
			verdict, err := r.Judge(nil)
			if err != nil {
				t.Fatal(err)
			}
			if command, ok := verdict.(judge.Propose).Command.(fsm.AcknowledgeEvents); ok {
				commands[command.Room] = command
			}
		}
		there, here := commands[fsm.HashOfRoom(theirRoom)], commands[fsm.HashOfRoom(ourRoom)]
		if there.Through != 2 || len(there.Positions) != 2 || there.Positions[1] != 3 || there.Name != aliceClient || here.Through != 5 || there.Slot() != fsm.SlotOfRoom(theirRoom) {
			t.Errorf("acknowledged %+v", commands)
		}
		for _, id := range []string{"", "x", "x.1", all.Items[0].ID + "x", strings.Replace(all.Items[0].ID, ".", "", 1)} {
			if a := d.json(t, http.MethodPost, clientInboxPath(aliceClient)+"/acknowledge", acknowledgeEventsRequest{IDs: []string{id}}); a.status != 400 {
				t.Errorf("%q: %d", id, a.status)
			}
		}
		for outcome, status := range map[fsm.Outcome]int{fsm.NotAllowed{Reason: "holes"}: 409, fsm.FormatNotReached{}: 409} {
			d.hub.set(outcome, nil)
			if a := d.json(t, http.MethodPost, clientInboxPath(aliceClient)+"/acknowledge", acknowledgeEventsRequest{IDs: []string{all.Items[0].ID}}); a.status != status {
				t.Errorf("%T: %d", outcome, a.status)
			}
		}
	})
}

func TestClientInboxWaits(t *testing.T) {
	d := openLocalDoor(t)
	d.cluster.clientInboxes = true
	waited := make(chan answered, 1)
	go func() { waited <- d.json(t, http.MethodGet, clientInboxPath(aliceClient)+"?waitSeconds=60", nil) }()
	<-d.inbox.reads
	d.inbox.putEvents(clientEventAt(2))
	if a := <-waited; a.status != 200 || !strings.Contains(string(a.body), eventID(clientEventAt(2).ClientEventRef)) {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestClientInboxEvents(t *testing.T) {
	d := openLocalDoor(t)
	d.cluster.clientInboxes = true
	stream, _ := d.events(t, clientInboxPath(aliceClient), "")
	next := func(position uint64) {
		t.Helper()
		e := stream.next()
		if item := itemIn(t, e); item.Sequence != position || item.ID != e.id {
			t.Fatalf("%+v instead of %d", e, position)
		}
	}
	d.inbox.putEvents(clientEventAt(1), clientEventAt(2))
	next(1)
	next(2)
	d.inbox.putEvents(clientEventAt(2), clientEventAt(3)) // the second is not acknowledged yet, and does not come again
	next(3)
}

// A token without the inbox's scope sees no client's inbox.
func TestClientInboxNeedsItsScope(t *testing.T) {
	d := openLocalDoor(t)
	d.cluster.clientInboxes = true
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		path := clientInboxPath(aliceClient)
		if method == http.MethodPost {
			path += "/acknowledge"
		}
		for token, status := range map[string]int{"": 401, "writer": 403} {
			if a := d.call(t, method, path, token, "application/json", []byte("{}")); a.status != status {
				t.Errorf("%s with %q: %d", method, token, a.status)
			}
		}
	}
}
