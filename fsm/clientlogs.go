package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// toClients brings FanoutMessages of a room, one or more on end, to the local clients that are in it. They were read before the log.
func (t *tx) toClients(room mimi.RoomURI, hub mimi.Provider, messages []byte) {
	if !t.clientInboxes() {
		return
	}
	r := mls.NewReader("FanoutMessages", messages)
	for r.More() {
		start := r.Offset()
		message := mimi.ReadFanoutMessage(r)
		if r.Failed() {
			return // an older program let it in
		}
		event := eventOf(message.Event, r.Since(start))
		if t.isLocal(hub) {
			t.hostForClients(room, event)
		} else {
			t.followForClients(room, hub, event, message.Event)
		}
	}
}

// hostForClients brings an event of a room that is hosted here to the local clients in it. What comes with a Commit is kept until it is
// known whom that brings in (turnMembers).
func (t *tx) hostForClients(room mimi.RoomURI, event loggedEvent) {
	l, found := t.memberLog(room)
	if found && (l.open > 0 || event.class == ClassCommit || event.class == ClassWelcome) {
		t.logEvent(&l, event)
		t.setClientLog(l)
	}
}

// eventOf is a FanoutMessage as an event.
func eventOf(e mimi.FanoutEvent, raw []byte) loggedEvent {
	event := loggedEvent{clientEvent: clientEvent{message: raw}, class: ClassOf(e)}
	if application, ok := e.(mimi.FanoutApplication); ok {
		event.epoch = application.Message.Epoch
	} else if content, ok := handshakeIn(e); ok {
		event.epoch = content.Epoch
	}
	return event
}

// handshakeIn is the content of the first handshake of an event.
func handshakeIn(e mimi.FanoutEvent) (mls.FramedContent, bool) {
	public, ok := e.MLSMessages()[0].Body.(*mls.PublicMessage)
	if !ok {
		return mls.FramedContent{}, false
	}
	return public.Content, true
}

// notesToClients brings notices of a room to the local clients that are in it. After the last one nothing comes of the room any more.
func (t *tx) notesToClients(room mimi.RoomURI, hub mimi.Provider, notes []Note) {
	if !t.clientInboxes() || room.IsZero() {
		return
	}
	told, last := toldClients(notes)
	if len(told) == 0 {
		return
	}
	l, found := t.clientLog(HashOfRoom(room))
	if !found && t.isLocal(hub) {
		l, found = t.memberLog(room)
	}
	if !found || l.open == 0 {
		return
	}
	position := t.logEvent(&l, loggedEvent{clientEvent: clientEvent{notes: told}, class: ClassNotice})
	if last {
		t.endAll(&l, position)
	}
	t.keepWhileNeeded(l)
}
