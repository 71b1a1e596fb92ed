package fsm

import (
	"encoding/binary"

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
// again gets the same answer, and of another body only the messages that no body before it had go in.
func (t *tx) receiveFanout(c ReceiveFanout) Outcome {
	known, found := get(t, func(r Reader) (Accepted, bool, error) { return ReadKnownFanout(r, c.Room, c.Hub, c.BodyHash) })
	if found {
		return known
	}
	taken := takenRecord{forgetMillis: addUpTo(t.now, t.settings.RetentionMillis), accepted: Accepted{Millis: t.now}}
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
