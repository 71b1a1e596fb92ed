package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

func inboxItemAt(slot fsm.SlotID, sequence uint64) fsm.OutboxItem {
	return fsm.OutboxItem{Slot: slot, Destination: hubDomain, Sequence: sequence, Room: theirRoom, Hub: peerDomain, Millis: sequence, Body: applicationBody()}
}

func applicationBody() []byte {
	var w mls.Writer
	mimi.FanoutMessage{Millis: 1001, Event: mimi.FanoutApplication{Message: &mls.PrivateMessage{
		GroupID: "group", Epoch: 7, ContentType: mls.ContentApplication, Ciphertext: []byte{5},
	}}}.AppendTo(&w)
	return w.Bytes()
}

func TestInboxCursor(t *testing.T) {
	c := inboxCursor{classes: fsm.AllClasses}.behind([]fsm.OutboxItem{inboxItemAt(7, 2), inboxItemAt(0xabc, 9), inboxItemAt(7, 3)})
	read, err := parseInboxCursor("after", c.String())
	if err != nil || read.classes != c.classes || read.places.Of(7) != 3 || read.places.Of(0xabc) != 9 || read.places.Of(8) != 0 {
		t.Errorf("%+v: %v", read, err)
	}
	for _, text := range []string{"", "x", "!!", c.String() + "AA", "AgE", inboxCursor{}.String(), inboxCursor{classes: 0x80}.String()} {
		if _, err := parseInboxCursor("after", text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
	unordered := inboxCursor{classes: 1, places: fsm.InboxPlaces{{Slot: 2, Sequence: 1}, {Slot: 1, Sequence: 1}}}
	if _, err := parseInboxCursor("after", unordered.String()); err == nil {
		t.Error("slots out of order were taken")
	}
}

func TestLocalInboxCursor(t *testing.T) {
	d := openLocalDoor(t)
	handshake := inboxItemAt(2, 1)
	handshake.Body = fanoutBody()
	d.inbox.put(inboxItemAt(1, 1), inboxItemAt(1, 2), handshake)
	read := func(query string) (batch inboxBatch) {
		t.Helper()
		a := d.json(t, http.MethodGet, "/v1/inbox"+query, nil)
		if err := json.Unmarshal(a.body, &batch); err != nil || a.status != 200 {
			t.Fatalf("%s: %d %s", query, a.status, a.body)
		}
		return batch
	}
	first := read("?max=1")
	if len(first.Items) != 1 || first.Items[0].ID != "001-1" {
		t.Fatalf("first: %+v", first)
	}
	second := read("?after=" + first.Cursor)
	if len(second.Items) != 2 || second.Items[0].ID != "001-2" {
		t.Fatalf("second: %+v", second)
	}
	if third := read("?after=" + second.Cursor); len(third.Items) != 0 || third.Cursor != second.Cursor {
		t.Errorf("third: %+v", third)
	}
	proposals := read("?classes=commit,proposal")
	if len(proposals.Items) != 1 || proposals.Items[0].ID != "002-1" {
		t.Errorf("handshakes: %+v", proposals)
	}
	for query, field := range map[string]string{
		"?after=x": "after", "?classes=post": "classes", "?after=" + proposals.Cursor: "after", "?classes=welcome&after=" + first.Cursor: "after",
	} {
		if a := d.json(t, http.MethodGet, "/v1/inbox"+query, nil); a.status != 400 || problemIn(t, a).Field != field {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}

	t.Run("acknowledge", func(t *testing.T) {
		d.hub.set(fsm.Acknowledged{Items: 2}, nil)
		a := d.json(t, http.MethodPost, "/v1/inbox/acknowledge", acknowledgeRequest{Cursor: second.Cursor})
		if a.status != 200 || strings.TrimSpace(string(a.body)) != `{"acknowledged":4}` { // the hub says two of each slot
			t.Errorf("got %d %s", a.status, a.body)
		}
		through := map[fsm.SlotID]uint64{}
		for _, r := range d.hub.asked() {
			verdict, err := r.Judge(nil)
			if err != nil {
				t.Fatal(err)
			}
			if command, ok := verdict.(judge.Propose).Command.(fsm.AcknowledgeThrough); ok && command.Destination == hubDomain {
				through[command.At] = command.Through
			}
		}
		if len(through) != 2 || through[1] != 2 || through[2] != 1 {
			t.Errorf("acknowledged %v", through)
		}
		for _, cursor := range []string{"x", proposals.Cursor} {
			if a := d.json(t, http.MethodPost, "/v1/inbox/acknowledge", acknowledgeRequest{Cursor: cursor}); a.status != 400 || problemIn(t, a).Field != "cursor" {
				t.Errorf("%s: %d %s", cursor, a.status, a.body)
			}
		}
		d.hub.set(fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: 4}, nil)
		if a := d.json(t, http.MethodPost, "/v1/inbox/acknowledge", acknowledgeRequest{Cursor: second.Cursor}); a.status != 409 {
			t.Errorf("older format: %d", a.status)
		}
	})
}

// sseEvent is one event as a browser would see it.
type sseEvent struct{ id, name, data string }

// events reads server-sent events as WHATWG HTML has it: the last ID stays until another comes.
type events struct {
	t      *testing.T
	lines  *bufio.Scanner
	lastID string
}

func (e *events) next() sseEvent {
	e.t.Helper()
	var event sseEvent
	for e.lines.Scan() {
		line := e.lines.Text()
		if line == "" {
			if event.data == "" {
				event = sseEvent{}
				continue
			}
			event.id = e.lastID
			return event
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.lastID = value
		case "event":
			event.name = value
		case "data":
			event.data += value
		}
	}
	e.t.Fatalf("the stream has ended: %v", e.lines.Err())
	return sseEvent{}
}

func (d *localDoor) events(t *testing.T, path, lastID string) (*events, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer reader")
	r.Header.Set("Accept", "text/event-stream")
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := d.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	if media := response.Header.Get("Content-Type"); response.StatusCode != 200 || media != "text/event-stream" {
		t.Fatalf("%d %s", response.StatusCode, media)
	}
	return &events{t: t, lines: bufio.NewScanner(response.Body)}, cancel
}

func itemIn(t *testing.T, e sseEvent) (item inboxItem) {
	t.Helper()
	if err := json.Unmarshal([]byte(e.data), &item); err != nil || e.name != "item" {
		t.Fatalf("%+v: %v", e, err)
	}
	return item
}

func TestLocalInboxEvents(t *testing.T) {
	d := openLocalDoor(t)
	stream, cancel := d.events(t, "/v1/inbox", "")
	d.inbox.put(inboxItemAt(1, 1), inboxItemAt(2, 1))
	first, second := stream.next(), stream.next()
	if itemIn(t, first).ID != "001-1" || itemIn(t, second).ID != "002-1" || first.id != "" || second.id == "" {
		t.Fatalf("%+v %+v", first, second)
	}
	d.inbox.put(inboxItemAt(1, 1), inboxItemAt(2, 1), inboxItemAt(2, 2))
	third := stream.next()
	if itemIn(t, third).ID != "002-2" {
		t.Fatalf("%+v", third)
	}
	cancel()
	// Cut off after the second event, it goes on with the third, though nothing is acknowledged.
	again, cancel := d.events(t, "/v1/inbox", second.id)
	if got := again.next(); itemIn(t, got).ID != "002-2" {
		t.Fatalf("after the cut: %+v", got)
	}
	cancel()
	// Where slots were acknowledged, the cursor does not keep them.
	d.inbox.put(inboxItemAt(2, 3))
	slim, cancel := d.events(t, "/v1/inbox", "")
	defer cancel()
	cursor, err := parseInboxCursor("", slim.next().id)
	if err != nil || len(cursor.places) != 1 {
		t.Errorf("the cursor keeps %+v: %v", cursor, err)
	}
	if a := d.json(t, http.MethodGet, "/v1/inbox?after="+url.QueryEscape(third.id), nil); a.status != 200 || !bytes.Contains(a.body, []byte("002-3")) {
		t.Errorf("an event's ID as a cursor: %d %s", a.status, a.body)
	}
}

// A stream holds back about max unacknowledged items, however many wait.
func TestLocalInboxEventsAreHeldBack(t *testing.T) {
	d := openLocalDoor(t)
	var all []fsm.OutboxItem
	for i := range uint64(50) {
		all = append(all, inboxItemAt(1, i+1))
	}
	stream, _ := d.events(t, "/v1/inbox?max=10", "")
	d.inbox.put(all...)
	for i := range 10 {
		if got := itemIn(t, stream.next()).ID; got != fmt.Sprintf("001-%d", i+1) {
			t.Fatalf("%s as the %dth", got, i)
		}
	}
	for len(d.inbox.reads) > 0 {
		<-d.inbox.reads
	}
	d.inbox.put(all[1:]...) // one is acknowledged, so one comes
	if got := itemIn(t, stream.next()).ID; got != "001-11" {
		t.Errorf("then %s", got)
	}
}
