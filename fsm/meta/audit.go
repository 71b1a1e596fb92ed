package meta

import (
	"bytes"
	"encoding/binary"

	"parley/fsm"
	"parley/mls"
)

// Limits of the audit log. They are protocol constants.
const (
	AuditEntriesMax   = 10_000 // the last so many are kept
	AuditVerbBytesMax = 64
	AuditWhatBytesMax = 1024
	AuditCameBytesMax = 1024
)

// AuditEntry says what an operator did.
type AuditEntry struct {
	Sequence uint64 // counted from 1, without gaps
	By       string // as he called himself; at most HoldTextBytesMax
	Verb     string // what he asked for, such as "peer add"; at most AuditVerbBytesMax
	What     string // with what, without any secret; at most AuditWhatBytesMax
	Done     bool   // it was taken
	Came     string // what came of it, where there is more to say: why it was refused; at most AuditCameBytesMax
	Millis   uint64 // the meta group's time, since 1970
}

// Audited is a change that an operator asked for: it is applied, and what came of it is put into the audit log in the same entry, refusals
// too. Without a command it records what was done outside the map. It is of fsm.FormatResize.
//
// A repetition, known by its key, is applied again as any is, and the entry says what came of the last.
type Audited struct {
	Key     [16]byte // random, of one request; not zero
	By      string
	Verb    string
	What    string
	Failed  string  // without a command: why nothing came of it; empty where it was done
	Command Command // nil: none. None that is Audited itself
	Stamp   uint64
}

func (Audited) kind() commandKind { return kindAudited }

// WithStamp implements Stamped.
func (c Audited) WithStamp(millis uint64) Command {
	c.Stamp = millis
	if timely, judged := c.Command.(Stamped); judged {
		c.Command = timely.WithStamp(millis)
	}
	return c
}

func (c Audited) apply(t *tx) Outcome {
	if fault := t.resizeFault(); fault != nil {
		return fault
	}
	switch {
	case c.Key == [16]byte{}:
		return refuse("what is audited has no key")
	case len(c.By) > HoldTextBytesMax || c.Verb == "" || len(c.Verb) > AuditVerbBytesMax ||
		len(c.What) > AuditWhatBytesMax || len(c.Failed) > AuditCameBytesMax:
		return refuse("what the audit log is to say is too long, or empty")
	}
	entry := AuditEntry{By: c.By, Verb: c.Verb, What: c.What, Done: c.Failed == "", Came: c.Failed, Millis: t.now(c.Stamp)}
	outcome := t.besideMap()
	if c.Command != nil {
		outcome = c.Command.apply(t)
		refused, no := outcome.(Refused)
		entry.Done, entry.Came = !no, refused.Reason[:min(len(refused.Reason), AuditCameBytesMax)]
	}
	t.audit(c.Key, entry)
	t.keepTime(c.Stamp)
	return outcome
}

// audit records an entry, as the next one or in the place that its key has, and forgets the oldest that is too much.
func (t *tx) audit(key [16]byte, entry AuditEntry) {
	if t.err != nil {
		return
	}
	bounds, begun, err := readOne(t.store, newKey(keyAuditBounds), "bounds of the audit log", readAuditBounds)
	if !begun {
		bounds.first = 1
	}
	place, known := uint64(0), false
	if err == nil {
		place, known, err = readOne(t.store, auditPlaceKey(key), "place in the audit log", func(r *mls.Reader) uint64 { return r.Uint64("") })
	}
	if err != nil {
		t.err = err
		return
	}
	if !known {
		bounds.last++
		place = bounds.last
		t.set(auditPlaceKey(key), func(w *mls.Writer) { w.Uint64(place) })
		t.trimAudit(&bounds)
		t.set(newKey(keyAuditBounds), bounds.appendTo)
	}
	entry.Sequence = place
	t.set(auditKey(place), auditRecord{key, entry}.appendTo)
}

func (t *tx) trimAudit(bounds *auditBounds) {
	for bounds.last-bounds.first >= AuditEntriesMax {
		old, found, err := readOne(t.store, auditKey(bounds.first), "audit log", readAuditRecord)
		if err != nil && t.err == nil {
			t.err = err
		}
		if found {
			t.delete(auditPlaceKey(old.key))
			t.delete(auditKey(bounds.first))
		}
		bounds.first++
	}
}

// ReadAudit reads the newest entries with a sequence below before, the newest first, as many as max at most; before 0 means all.
func ReadAudit(r fsm.Reader, before uint64, max int) ([]AuditEntry, error) {
	bounds, found, err := readOne(r, newKey(keyAuditBounds), "bounds of the audit log", readAuditBounds)
	if err != nil || !found {
		return nil, err
	}
	var entries []AuditEntry
	at := bounds.last
	if before != 0 && before <= at {
		at = before - 1
	}
	for ; at >= bounds.first && len(entries) < max; at-- {
		record, found, err := readOne(r, auditKey(at), "audit log", readAuditRecord)
		if err != nil {
			return nil, err
		}
		if found {
			entries = append(entries, record.entry)
		}
	}
	return entries, nil
}

func auditKey(sequence uint64) []byte {
	return newKey(keyAudit, binary.BigEndian.AppendUint64(nil, sequence)...)
}

func auditPlaceKey(key [16]byte) []byte { return newKey(keyAuditPlace, key[:]...) }

// auditBounds are the sequences of the first entry that is kept and of the last.
//
//	struct { uint64 first; uint64 last; } AuditBounds;
type auditBounds struct{ first, last uint64 }

func (b auditBounds) appendTo(w *mls.Writer) {
	w.Uint64(b.first)
	w.Uint64(b.last)
}

func readAuditBounds(r *mls.Reader) auditBounds {
	return auditBounds{first: r.Uint64("first"), last: r.Uint64("last")}
}

//	struct {
//	    opaque key[16];
//	    uint64 sequence;
//	    opaque by<V>;
//	    opaque verb<V>;
//	    opaque what<V>;
//	    uint8 done;
//	    opaque came<V>;
//	    uint64 millis;
//	} AuditRecord;
type auditRecord struct {
	key   [16]byte
	entry AuditEntry
}

func (a auditRecord) appendTo(w *mls.Writer) {
	w.Fixed(a.key[:])
	e := a.entry
	w.Uint64(e.Sequence)
	appendText(w, e.By)
	appendText(w, e.Verb)
	appendText(w, e.What)
	w.Bool(e.Done)
	appendText(w, e.Came)
	w.Uint64(e.Millis)
}

func readAuditRecord(r *mls.Reader) (a auditRecord) {
	copy(a.key[:], r.Fixed("key", len(a.key)))
	a.entry = AuditEntry{
		Sequence: r.Uint64("sequence"), By: string(r.Opaque("by")), Verb: string(r.Opaque("verb")), What: string(r.Opaque("what")),
		Done: r.Bool("done"), Came: string(r.Opaque("came")), Millis: r.Uint64("millis"),
	}
	return a
}

//	struct {
//	    opaque key[16];
//	    opaque by<V>;
//	    opaque verb<V>;
//	    opaque what<V>;
//	    opaque failed<V>;
//	    uint64 stamp;
//	    opaque command<V>; // a Command; empty: none
//	} Audited;
func (c Audited) appendTo(w *mls.Writer) {
	w.Fixed(c.Key[:])
	appendText(w, c.By)
	appendText(w, c.Verb)
	appendText(w, c.What)
	appendText(w, c.Failed)
	w.Uint64(c.Stamp)
	var command []byte
	if c.Command != nil {
		command = EncodeCommand(c.Command)
	}
	w.Opaque(command)
}

// readAudited is nil where the command inside is not known to this program, as readCommand is.
func readAudited(r *mls.Reader) Command {
	var c Audited
	copy(c.Key[:], r.Fixed("key", len(c.Key)))
	c.By, c.Verb, c.What = string(r.Opaque("by")), string(r.Opaque("verb")), string(r.Opaque("what"))
	c.Failed, c.Stamp = string(r.Opaque("failed")), r.Uint64("stamp")
	command := bytes.Clone(r.Opaque("command"))
	if r.Failed() || len(command) == 0 {
		return c
	}
	inner := mls.NewReader("Command", command)
	readVersion(inner)
	kind := commandKind(inner.Uint16("kind"))
	if inner.Failed() || kind == kindAudited {
		r.Fail("command", "it is none that is audited")
		return c
	}
	if c.Command = readCommand(inner, kind); c.Command == nil {
		return nil
	}
	if err := inner.Close(); err != nil {
		r.Fail("command", err.Error())
	}
	return c
}
