package fsm

import (
	"crypto/subtle"

	"parley/mimi"
	"parley/mls"
)

// JoinAuthorization says that a user has presented a joining code and may join a room by it. It outlives the lease under which the
// user saw the GroupInfo, so that a joiner that crashed may try again; it does not outlive its code.
//
// A use of the code is not reserved for who was authorized: whoever could make it so might hold a single-use code as long as it
// likes. Several users may be authorized by one code, and of those the first whose Commit is accepted joins. The others are refused
// then, since ReadJoinAuthorization looks at the code.
type JoinAuthorization struct {
	User mimi.UserURI
	Code CodeID
	Role uint32 // that the code gives
}

const (
	// JoinAuthorizationsMax bounds the users of a room who may join by a code and have not.
	JoinAuthorizationsMax = 10_000
	// joinAuthorizationMillis is for how long a user may join without presenting the code again.
	joinAuthorizationMillis = 24 * 60 * 60 * 1000
)

// refusedCode is the one answer to every code that does not admit: what is the matter with it is nobody's business who has only
// guessed it.
const refusedCode = "the joining code does not admit to the room, or not any more: it may be mistyped, used up, revoked or expired"

// refusedJoin is for the user who was authorized, and comes too late.
const refusedJoin = "the joining code was used up or revoked, or has expired, since it was presented: ask for another one"

//	struct {
//	    uint64 forget_millis;
//	    opaque user<V>;
//	    opaque code[16];
//	    uint32 role;
//	} JoinAuthorizationRecord;
type authorizationRecord struct {
	forgetMillis uint64
	JoinAuthorization
}

func (a authorizationRecord) appendTo(w *mls.Writer) {
	w.Uint64(a.forgetMillis)
	a.User.AppendTo(w)
	w.Fixed(a.Code[:])
	w.Uint32(a.Role)
}

func readAuthorizationRecord(r *mls.Reader) authorizationRecord {
	return authorizationRecord{r.Uint64("forget_millis"), JoinAuthorization{
		User: mimi.ReadUserURI(r, "user"), Code: readCodeID(r, "code"), Role: r.Uint32("role"),
	}}
}

func authorizationKey(room mimi.RoomURI, user mimi.UserURI) key {
	return roomKey(keyJoinAuthorization, room).user(user)
}

// ReadJoinAuthorization returns by which code a user may join a room as of the hub clock; false where it may by none.
func ReadJoinAuthorization(r Reader, room mimi.RoomURI, user mimi.UserURI) (JoinAuthorization, bool, error) {
	now, err := ReadClock(r)
	if err != nil {
		return JoinAuthorization{}, false, err
	}
	return readAuthorizationAt(r, room, user, now)
}

func readAuthorizationAt(r Reader, room mimi.RoomURI, user mimi.UserURI, now uint64) (JoinAuthorization, bool, error) {
	none := JoinAuthorization{}
	stored, found, err := readRecord(r, authorizationKey(room, user), "join authorization", readAuthorizationRecord)
	if err != nil || !found || stored.forgetMillis <= now {
		return none, false, err
	}
	code, known, err := ReadJoiningCode(r, room, stored.Code)
	if err != nil || !known || !code.usable(now) {
		return none, false, err
	}
	return stored.JoinAuthorization, true, nil
}

func (t *tx) joinAuthorization(room mimi.RoomURI, user mimi.UserURI) (JoinAuthorization, bool) {
	return get(t, func(r Reader) (JoinAuthorization, bool, error) { return readAuthorizationAt(r, room, user, t.now) })
}

// admitByCode lets a user ask for the GroupInfo by the code that it presents, or by one that it presented before; nil where it may.
func (t *tx) admitByCode(c TakeLease) Outcome {
	if c.Code.ID.IsZero() {
		if _, authorized := t.joinAuthorization(c.Room, c.Requester); !authorized {
			return ReadSetChanged{Index: t.index} // it was when this was judged
		}
		return nil
	}
	if wait := t.guessWait(c); wait != nil {
		return wait
	}
	stored, found := t.code(c.Room, c.Code.ID)
	if found && !c.Code.Known {
		return ReadSetChanged{Index: t.index}
	}
	if !found || !stored.code.usable(t.now) || subtle.ConstantTimeCompare(stored.code.Lock.Key, c.Code.Key) != 1 {
		t.countGuess(c)
		return NotAllowed{Reason: refusedCode}
	}
	return t.authorize(c, stored.code)
}

// authorize records that the user may join by a code. Presenting it again renews that.
func (t *tx) authorize(c TakeLease, code JoiningCode) Outcome {
	k := authorizationKey(c.Room, c.Requester)
	if !t.has(k) && !t.changeJoinLoad(c.Room, func(l *joinLoad) { l.authorizations++ }) {
		return NotAllowed{Reason: "more users than may have presented joining codes of the room and have not joined; try again tomorrow"}
	}
	a := authorizationRecord{addUpTo(t.now, joinAuthorizationMillis), JoinAuthorization{User: c.Requester, Code: code.ID, Role: code.Role}}
	t.set(k, record(a.appendTo))
	t.expireAt(k, a.forgetMillis)
	return nil
}

// checkJoin refuses a Commit that rests on a code which no longer admits its sender.
func (t *tx) checkJoin(c AcceptCommit) Outcome {
	if c.JoiningCode.IsZero() {
		return nil
	}
	if a, authorized := t.joinAuthorization(c.Room, c.Sender); !authorized || a.Code != c.JoiningCode {
		return NotAllowed{Reason: refusedJoin}
	}
	return nil
}

// countJoin counts a use of the code that an accepted Commit rests on, and ends the code with its last one.
func (t *tx) countJoin(c AcceptCommit) {
	if c.JoiningCode.IsZero() {
		return
	}
	k := authorizationKey(c.Room, c.Sender)
	t.delete(k)
	t.relieveJoins(k, func(l *joinLoad) { l.authorizations-- })
	stored, _ := t.code(c.Room, c.JoiningCode) // checkJoin has seen it
	stored.code.Used++
	if stored.code.Uses > 0 && stored.code.Used >= stored.code.Uses {
		t.endCode(c.Room, stored, CodeUsedUp)
		return
	}
	t.set(codeKey(c.Room, c.JoiningCode), record(stored.appendTo))
}

// expireAuthorization forgets that a user might have joined.
func (t *tx) expireAuthorization(target key) {
	stored, found := get(t, func(r Reader) (authorizationRecord, bool, error) {
		return readRecord(r, target, "join authorization", readAuthorizationRecord)
	})
	if found && stored.forgetMillis <= t.now {
		t.delete(target)
		t.relieveJoins(target, func(l *joinLoad) { l.authorizations-- })
	}
}

// joinLoad counts a room's codes and authorizations.
//
//	struct {
//	    uint32 codes;
//	    uint32 authorizations;
//	} JoinLoad;
type joinLoad struct{ codes, authorizations uint32 }

func (l joinLoad) appendTo(w *mls.Writer) {
	w.Uint32(l.codes)
	w.Uint32(l.authorizations)
}

func readJoinLoad(r *mls.Reader) joinLoad {
	return joinLoad{codes: r.Uint32("codes"), authorizations: r.Uint32("authorizations")}
}

// changeJoinLoad counts what is about to be written; false where a bound would be passed, and then nothing changes.
func (t *tx) changeJoinLoad(room mimi.RoomURI, change func(*joinLoad)) (within bool) {
	k := roomKey(keyJoinLoad, room)
	load, _ := get(t, func(r Reader) (joinLoad, bool, error) { return readRecord(r, k, "join load", readJoinLoad) })
	change(&load)
	if load.codes > JoiningCodesMax || load.authorizations > JoinAuthorizationsMax {
		return false
	}
	t.set(k, record(load.appendTo))
	return true
}

// relieveJoins takes off the load of a room what has gone. at is the key of the record that went.
func (t *tx) relieveJoins(at key, change func(*joinLoad)) {
	k := append(key{at[0], at[1], byte(keyJoinLoad)}, at[keyPrefixBytes:keyPrefixBytes+hashBytes]...)
	load, counted := get(t, func(r Reader) (joinLoad, bool, error) { return readRecord(r, k, "join load", readJoinLoad) })
	if !counted {
		panic("fsm: a joining code or authorization was never counted")
	}
	change(&load)
	if load == (joinLoad{}) {
		t.delete(k)
		return
	}
	t.set(k, record(load.appendTo))
}
