package fsm

import (
	"crypto/sha256"
	"encoding/hex"
	"math"

	"parley/mimi"
	"parley/mls"
)

// A joining code lets whoever knows it ask for a room's GroupInfo and join with the role that the code gives (mimi-protocol-06
// §5.6). The code itself is made before the log, shown once, and never comes here: the state has its CodeID. How often it was used
// is counted when an external Commit is accepted that rests on it, not when it is presented, see JoinAuthorization.
//
// A code that is revoked or used up keeps its record for another day: so its maker sees what became of it, and a creation that
// comes twice does not bring it back.

const (
	// JoiningCodesMax bounds the codes of a room, those that ended within the last day included.
	JoiningCodesMax = 500

	endedCodeMillis = 24 * 60 * 60 * 1000
)

// CodeID names a joining code: half of the SHA-256 of its text. Codes have at least 128 random bits, so that it does not give them
// away.
type CodeID [16]byte

// CodeIDOf is the name of a code, without a passphrase that may follow it.
func CodeIDOf(code []byte) (id CodeID) {
	sum := sha256.Sum256(append([]byte("parley joining code\x00"), code...))
	copy(id[:], sum[:])
	return id
}

// ParseCodeID reads what String wrote; false where it is no name of a code.
func ParseCodeID(text string) (id CodeID, ok bool) {
	if hex.DecodedLen(len(text)) != len(id) {
		return CodeID{}, false
	}
	n, err := hex.Decode(id[:], []byte(text))
	return id, err == nil && n == len(id)
}

func (id CodeID) String() string { return hex.EncodeToString(id[:]) }
func (id CodeID) IsZero() bool   { return id == CodeID{} }

func readCodeID(r *mls.Reader, field string) (id CodeID) {
	copy(id[:], r.Fixed(field, len(id)))
	return id
}

// CodeState is what has become of a joining code.
type CodeState uint8

const (
	CodeOpen    CodeState = 0
	CodeUsedUp  CodeState = 1
	CodeRevoked CodeState = 2
)

// JoiningCode is what a shard holds of a joining code.
type JoiningCode struct {
	ID            CodeID
	Creator       mimi.UserURI
	Role          uint32    // that whoever joins by it gets
	Uses          uint32    // how many users may join by it; 0: any number
	Used          uint32    // how many have
	CreatedMillis uint64    // hub time
	ExpiresMillis uint64    // hub time; 0: when the room ends
	State         CodeState // whether it expired is told by ExpiresMillis alone
	Lock          PassphraseLock
}

// PassphraseLock is what a passphrase is checked against: the key that PBKDF2 derives from it. Without a Salt there is none.
type PassphraseLock struct {
	Salt   []byte
	Rounds uint32
	Key    []byte
}

// usable reports whether the code admits anybody as of a hub time.
func (c JoiningCode) usable(now uint64) bool {
	return c.State == CodeOpen && (c.ExpiresMillis == 0 || now < c.ExpiresMillis)
}

//	struct {
//	    uint64 forget_millis; // all ones: never
//	    opaque id[16];
//	    opaque creator<V>;
//	    uint32 role;
//	    uint32 uses;
//	    uint32 used;
//	    uint64 created_millis;
//	    uint64 expires_millis;
//	    uint8 state;
//	    PassphraseLock lock;
//	} JoiningCodeRecord;
//
//	struct {
//	    opaque salt<V>;
//	    uint32 rounds;
//	    opaque key<V>;
//	} PassphraseLock;
type codeRecord struct {
	forgetMillis uint64
	code         JoiningCode
}

func (c codeRecord) appendTo(w *mls.Writer) {
	w.Uint64(c.forgetMillis)
	c.code.appendTo(w)
}

func readCodeRecord(r *mls.Reader) codeRecord {
	return codeRecord{forgetMillis: r.Uint64("forget_millis"), code: readJoiningCode(r)}
}

func (c JoiningCode) appendTo(w *mls.Writer) {
	w.Fixed(c.ID[:])
	c.Creator.AppendTo(w)
	w.Uint32(c.Role)
	w.Uint32(c.Uses)
	w.Uint32(c.Used)
	w.Uint64(c.CreatedMillis)
	w.Uint64(c.ExpiresMillis)
	w.Uint8(uint8(c.State))
	c.Lock.appendTo(w)
}

func readJoiningCode(r *mls.Reader) JoiningCode {
	return JoiningCode{
		ID:            readCodeID(r, "id"),
		Creator:       mimi.ReadUserURI(r, "creator"),
		Role:          r.Uint32("role"),
		Uses:          r.Uint32("uses"),
		Used:          r.Uint32("used"),
		CreatedMillis: r.Uint64("created_millis"),
		ExpiresMillis: r.Uint64("expires_millis"),
		State:         CodeState(r.Uint8("state")),
		Lock:          readPassphraseLock(r),
	}
}

func (l PassphraseLock) appendTo(w *mls.Writer) {
	w.Opaque(l.Salt)
	w.Uint32(l.Rounds)
	w.Opaque(l.Key)
}

func readPassphraseLock(r *mls.Reader) PassphraseLock {
	return PassphraseLock{Salt: r.Opaque("salt"), Rounds: r.Uint32("rounds"), Key: r.Opaque("key")}
}

func codeKey(room mimi.RoomURI, id CodeID) key { return roomKey(keyJoiningCode, room).raw(id[:]) }

// ReadJoiningCode returns a code of a room in whatever state; false where the room has never had it, or has forgotten it.
func ReadJoiningCode(r Reader, room mimi.RoomURI, id CodeID) (JoiningCode, bool, error) {
	stored, found, err := readRecord(r, codeKey(room, id), "joining code", readCodeRecord)
	return stored.code, found, err
}

// ReadJoiningCodes returns all codes of a room, in a stable order.
func ReadJoiningCodes(r Reader, room mimi.RoomURI) (codes []JoiningCode, err error) {
	err = scanRecords(r, roomKey(keyJoiningCode, room), "joining code", readCodeRecord, func(_ []byte, c codeRecord) (bool, error) {
		codes = append(codes, c.code)
		return true, nil
	})
	return codes, err
}

func (t *tx) code(room mimi.RoomURI, id CodeID) (codeRecord, bool) {
	return get(t, func(r Reader) (codeRecord, bool, error) {
		return readRecord(r, codeKey(room, id), "joining code", readCodeRecord)
	})
}

// setCode writes a code, and when it is to be looked at again.
func (t *tx) setCode(room mimi.RoomURI, c codeRecord) {
	k := codeKey(room, c.code.ID)
	t.set(k, record(c.appendTo))
	if c.forgetMillis != math.MaxUint64 {
		t.expireAt(k, c.forgetMillis)
	}
}

// endCode closes a code. Its record goes after a day, or when it would have expired.
func (t *tx) endCode(room mimi.RoomURI, c codeRecord, state CodeState) {
	c.code.State = state
	c.forgetMillis = min(c.forgetMillis, addUpTo(t.now, endedCodeMillis))
	t.setCode(room, c)
}

// createJoiningCode opens a code. The same creation again gets the code as it is by then.
func (t *tx) createJoiningCode(c CreateJoiningCode) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	if refusal := t.refuseEnded(head); refusal != nil {
		return refusal
	}
	if known, made := t.code(c.Room, c.ID); made {
		return JoiningCodeMade{Code: known.code}
	}
	if head.contextHash != c.GroupContextHash {
		return ReadSetChanged{Index: t.index}
	}
	made := codeRecord{forgetMillis: math.MaxUint64, code: JoiningCode{
		ID: c.ID, Creator: c.Creator, Role: c.Role, Uses: c.Uses, CreatedMillis: t.now, Lock: c.Lock,
	}}
	if c.LifetimeMillis > 0 {
		made.code.ExpiresMillis = addUpTo(t.now, c.LifetimeMillis)
		made.forgetMillis = made.code.ExpiresMillis
	}
	if !t.changeJoinLoad(c.Room, func(l *joinLoad) { l.codes++ }) {
		return NotAllowed{Reason: "the room has as many joining codes as it may; revoked and used-up codes count for a day"}
	}
	t.setCode(c.Room, made)
	return JoiningCodeMade{Code: made.code}
}

// revokeJoiningCode ends a code, and with it the right of everybody who has not joined yet. A lease that somebody has by it runs to its
// end, and discloses nothing more: its holder was told how long it has the GroupInfo alone. What is revoked, used up or unknown stays as it is, so that a retry finds what it wanted.
func (t *tx) revokeJoiningCode(c RevokeJoiningCode) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	if refusal := t.refuseEnded(head); refusal != nil {
		return refusal
	}
	if head.contextHash != c.GroupContextHash {
		return ReadSetChanged{Index: t.index}
	}
	stored, known := t.code(c.Room, c.ID)
	if !known || stored.code.State != CodeOpen {
		return Done{}
	}
	t.endCode(c.Room, stored, CodeRevoked)
	return Done{}
}

// expireCode forgets a code whose time has come.
func (t *tx) expireCode(target key) {
	stored, found := get(t, func(r Reader) (codeRecord, bool, error) {
		return readRecord(r, target, "joining code", readCodeRecord)
	})
	if found && stored.forgetMillis <= t.now {
		t.delete(target)
		t.relieveJoins(target, func(l *joinLoad) { l.codes-- })
	}
}
