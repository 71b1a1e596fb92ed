package fsm

import (
	"encoding/binary"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// takenRecord is the answer to a notify body that came before; for a message, only that it came.
//
//	struct {
//	    uint64 forget_millis;
//	    Accepted accepted;
//	} TakenRecord;
type takenRecord struct {
	forgetMillis uint64
	accepted     Accepted
}

func (a takenRecord) appendTo(w *mls.Writer) {
	w.Uint64(a.forgetMillis)
	a.accepted.appendTo(w)
}

func readTakenRecord(r *mls.Reader) takenRecord {
	return takenRecord{forgetMillis: r.Uint64("forget_millis"), accepted: readAccepted(r)}
}

// ReadKnownFanout returns the answer that a notify body got; false where it was not taken, or so long ago that it is forgotten.
// bodyHash is the SHA-256 of the body.
func ReadKnownFanout(r Reader, room mimi.RoomURI, hub mimi.Provider, bodyHash [32]byte) (Accepted, bool, error) {
	known, found, err := readRecord(r, fanoutKey(keyFanoutBody, room, hub, bodyHash), "notify body", readTakenRecord)
	return known.accepted, found, err
}

// receiveFanout takes a notify body of another provider's room into the local inbox (mimi-protocol-06 §5.5). The same body
// again gets the same answer, and of another body only the messages that no body before it had go in. From FormatBulk on the room's order
// counts as it does for ReceiveBodies.
func (t *tx) receiveFanout(c ReceiveFanout) Outcome {
	known, found := get(t, func(r Reader) (Accepted, bool, error) { return ReadKnownFanout(r, c.Room, c.Hub, c.BodyHash) })
	if found {
		return known
	}
	if t.format >= FormatBulk {
		return t.receiveInOrder(c)
	}
	taken := t.takenNow()
	t.remember(fanoutKey(keyFanoutBody, c.Room, c.Hub, c.BodyHash), taken)
	for _, m := range c.Messages {
		k := fanoutKey(keyFanoutMessage, c.Room, c.Hub, m.Hash)
		if t.has(k) {
			continue
		}
		t.remember(k, taken)
		t.collect(c.Room, c.Hub, t.settings.Domains[0], m.Bytes)
		if t.format >= FormatExclusive {
			t.useRoutes(c.Room, c.Hub, welcomedIn(m.Bytes))
		}
	}
	return taken.accepted
}

// receiveInOrder takes a body that a node has proposed which did not know yet that the shard was raised.
func (t *tx) receiveInOrder(c ReceiveFanout) Outcome {
	body := HubBody{Hash: c.BodyHash}
	var groups []mls.GroupID
	for _, m := range c.Messages {
		message := HubMessage{Hash: m.Hash, Bytes: m.Bytes}
		if parsed, err := mimi.ParseFanoutMessage(m.Bytes); err == nil {
			message.HubMessageFacts = FactsOf(parsed, t.settings.Domains)
		}
		groups = append(groups, message.Group)
		body.Messages = append(body.Messages, message)
	}
	s := t.hubStream(c.Room, c.Hub)
	s.roomy = true
	t.receiveBody(s, body, groups)
	t.setHubStream(s)
	return Accepted{Millis: t.now}
}

// takenNow is the record of what this entry takes.
func (t *tx) takenNow() takenRecord {
	return takenRecord{forgetMillis: addUpTo(t.now, t.settings.RetentionMillis), accepted: Accepted{Millis: t.now}}
}

// receiveBodies takes what another hub has brought, as far as it may be taken. What was taken before is not taken again.
func (t *tx) receiveBodies(c ReceiveBodies) BodiesReceived {
	var received BodiesReceived
	if c.Room.IsZero() {
		for _, b := range c.Bodies {
			t.receiveNotices(c.Hub, b)
		}
		received.Taken = uint32(len(c.Bodies))
		return received
	}
	s := t.hubStream(c.Room, c.Hub)
	changed := false
	for _, b := range c.Bodies {
		if t.has(fanoutKey(keyFanoutBody, c.Room, c.Hub, b.Hash)) {
			received.Taken++
			continue
		}
		changed = true
		if received.Stop, received.Groups = t.receiveBody(s, b, c.Groups); received.Stop != StopNone {
			break
		}
		received.Taken++
	}
	if changed {
		t.setHubStream(s)
	}
	return received
}

// receiveNotices takes what a hub tells of its users.
func (t *tx) receiveNotices(hub mimi.Provider, b HubBody) {
	k := fanoutKey(keyFanoutBody, mimi.RoomURI{}, hub, b.Hash)
	if t.has(k) {
		return
	}
	t.remember(k, t.takenNow())
	t.enterNotices(&hubStream{hub: hub}, b.Notices)
}

// receiveBody takes one body, or says why not. Where it is not taken, a part of it may have been, which then counts as known.
func (t *tx) receiveBody(s *hubStream, b HubBody, groups []mls.GroupID) (BodyStop, []mls.GroupID) {
	fresh := t.fresh(s, b.Messages)
	if unknown := s.unknownGroups(fresh, groups); len(unknown) > 0 {
		return StopGroups, unknown
	}
	before := *s
	t.begin(s, fresh)
	t.restart(s, fresh)
	rest := t.takeReady(s, fresh)
	if len(rest) > 0 || s.held > 0 && ends(b.Notices) {
		waits := heldBody{messages: rest, notices: b.Notices}
		if !s.fits(waits) {
			return StopFull, nil
		}
		for _, m := range rest {
			t.remember(fanoutKey(keyFanoutMessage, s.room, s.hub, m.Hash), t.takenNow())
		}
		t.hold(s, waits)
	} else {
		t.enterNotices(s, b.Notices)
	}
	t.remember(fanoutKey(keyFanoutBody, s.room, s.hub, b.Hash), t.takenNow())
	offered := slices.ContainsFunc(fresh[:len(fresh)-len(rest)], func(m HubMessage) bool { return len(m.Offers) > 0 })
	if s.held > 0 && (offered || s.begun != before.begun || s.group != before.group || s.epoch != before.epoch) {
		t.release(s)
	}
	if tellsOfGap(b.Notices) {
		t.expectGap(s)
	}
	return StopNone, nil
}

// fresh are the messages that have not come before, each once.
func (t *tx) fresh(s *hubStream, messages []HubMessage) (fresh []HubMessage) {
	for _, m := range messages {
		same := func(other HubMessage) bool { return other.Hash == m.Hash }
		if !t.has(fanoutKey(keyFanoutMessage, s.room, s.hub, m.Hash)) && !slices.ContainsFunc(fresh, same) {
			fresh = append(fresh, m)
		}
	}
	return fresh
}

// unknownGroups lists the groups of messages that are neither the room's so far nor among those that were looked up.
func (s *hubStream) unknownGroups(messages []HubMessage, lookedUp []mls.GroupID) (unknown []mls.GroupID) {
	for _, m := range messages {
		if m.Group != "" && !s.has(m.Group) && !slices.Contains(lookedUp, m.Group) && !slices.Contains(unknown, m.Group) {
			unknown = append(unknown, m.Group)
		}
	}
	return unknown
}

// takeReady takes messages in their order, up to the first that is not ready, and returns the rest.
func (t *tx) takeReady(s *hubStream, messages []HubMessage) (rest []HubMessage) {
	for i, m := range messages {
		if !t.ready(s, m) {
			return messages[i:]
		}
		t.remember(fanoutKey(keyFanoutMessage, s.room, s.hub, m.Hash), t.takenNow())
		t.letIn(s, m)
	}
	return nil
}

// enter puts a message into the local inbox.
func (t *tx) enter(s *hubStream, m HubMessage) {
	t.collect(s.room, s.hub, t.settings.Domains[0], m.Bytes)
	t.useRoutes(s.room, s.hub, m.Welcomed)
	t.seenFromHub(s.room, m.Bytes)
}

// enterNotices puts notices into the local inbox, but for verdicts that it has had before.
func (t *tx) enterNotices(s *hubStream, notices []mimi.Notice) {
	for _, n := range notices {
		if v, ok := n.(mimi.Verdict); ok && !s.room.IsZero() && !t.verdictOfHub(s.room, v) {
			continue
		}
		body := t.body(outboxBodyName{SlotOfRoom(s.room), s.room, s.hub, t.settings.Domains[0]})
		body.notes = append(body.notes, Noticed{n})
	}
}

// ends reports whether notices say that nothing comes any more.
func ends(notices []mimi.Notice) bool {
	return slices.ContainsFunc(notices, func(n mimi.Notice) bool { return n.NoticeKind() == mimi.NoticeRoomDestroyed })
}

// welcomedIn lists the KeyPackages that a FanoutMessage welcomes; none where it is no Welcome. It was read before the log.
func welcomedIn(message []byte) []mls.KeyPackageRef {
	const wireFormat = 8 + 2 // behind the timestamp and the version of the MLSMessage
	if len(message) < wireFormat+2 || mls.WireFormat(binary.BigEndian.Uint16(message[wireFormat:])) != mls.WireWelcome {
		return nil
	}
	m, err := mimi.ParseFanoutMessage(message)
	if err != nil {
		return nil
	}
	welcome, ok := m.Event.(mimi.FanoutWelcome)
	if !ok {
		return nil
	}
	return welcome.Welcome.Refs()
}

func (t *tx) remember(k key, taken takenRecord) {
	t.set(k, record(taken.appendTo))
	t.expireAt(k, taken.forgetMillis)
}
