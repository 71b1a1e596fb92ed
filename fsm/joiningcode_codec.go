package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// The commands and outcomes on joining codes, and their encodings.

const (
	KindCreateJoiningCode CommandKind = 35
	KindRevokeJoiningCode CommandKind = 36

	OutcomeJoiningCodeMade OutcomeKind = 35
	OutcomeJoiningCodes    OutcomeKind = 36
	OutcomeDamped          OutcomeKind = 37
)

// CreateJoiningCode opens a code of a room. GroupContextHash is that of the GroupContext in which its creator may do so.
type CreateJoiningCode struct {
	Room             mimi.RoomURI
	ID               CodeID
	Creator          mimi.UserURI
	Role             uint32
	Uses             uint32 // 0: any number
	LifetimeMillis   uint64 // 0: as long as the room
	Lock             PassphraseLock
	GroupContextHash [32]byte
}

// RevokeJoiningCode ends a code. GroupContextHash is that of the GroupContext in which whoever asks may do so.
type RevokeJoiningCode struct {
	Room             mimi.RoomURI
	ID               CodeID
	GroupContextHash [32]byte
}

// JoiningCodeMade tells of a new code, or of the same creation's from before.
type JoiningCodeMade struct{ Code JoiningCode }

// JoiningCodes are all codes of a room. It is read from a replica, never stored.
type JoiningCodes struct{ Codes []JoiningCode }

// Damped: the requester has to wait, because of what it has asked for before.
type Damped struct {
	UntilMillis uint64 // hub time
	NowMillis   uint64 // hub time of this answer
	Reason      string // shown to the requester
}

func (c CreateJoiningCode) Slot() SlotID { return SlotOfRoom(c.Room) }
func (c RevokeJoiningCode) Slot() SlotID { return SlotOfRoom(c.Room) }

func (CreateJoiningCode) Lane() Lane { return Exclusive }
func (RevokeJoiningCode) Lane() Lane { return Exclusive }

func (CreateJoiningCode) kind() CommandKind { return KindCreateJoiningCode }
func (RevokeJoiningCode) kind() CommandKind { return KindRevokeJoiningCode }

func (JoiningCodeMade) outcomeKind() OutcomeKind { return OutcomeJoiningCodeMade }
func (JoiningCodes) outcomeKind() OutcomeKind    { return OutcomeJoiningCodes }
func (Damped) outcomeKind() OutcomeKind          { return OutcomeDamped }

//	struct {
//	    opaque room<V>;
//	    opaque id[16];
//	    opaque creator<V>;
//	    uint32 role;
//	    uint32 uses;
//	    uint64 lifetime_millis;
//	    PassphraseLock lock;
//	    opaque group_context_hash[32];
//	} CreateJoiningCode;
func (c CreateJoiningCode) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	w.Fixed(c.ID[:])
	c.Creator.AppendTo(w)
	w.Uint32(c.Role)
	w.Uint32(c.Uses)
	w.Uint64(c.LifetimeMillis)
	c.Lock.appendTo(w)
	w.Fixed(c.GroupContextHash[:])
}

func readCreateJoiningCode(r *mls.Reader) CreateJoiningCode {
	return CreateJoiningCode{
		Room:             mimi.ReadRoomURI(r, "room"),
		ID:               readCodeID(r, "id"),
		Creator:          mimi.ReadUserURI(r, "creator"),
		Role:             r.Uint32("role"),
		Uses:             r.Uint32("uses"),
		LifetimeMillis:   r.Uint64("lifetime_millis"),
		Lock:             readPassphraseLock(r),
		GroupContextHash: readHash(r, "group_context_hash"),
	}
}

//	struct {
//	    opaque room<V>;
//	    opaque id[16];
//	    opaque group_context_hash[32];
//	} RevokeJoiningCode;
func (c RevokeJoiningCode) appendTo(w *mls.Writer) {
	c.Room.AppendTo(w)
	w.Fixed(c.ID[:])
	w.Fixed(c.GroupContextHash[:])
}

func readRevokeJoiningCode(r *mls.Reader) RevokeJoiningCode {
	return RevokeJoiningCode{
		Room: mimi.ReadRoomURI(r, "room"), ID: readCodeID(r, "id"), GroupContextHash: readHash(r, "group_context_hash"),
	}
}

// struct { JoiningCode code; } JoiningCodeMade;
func (o JoiningCodeMade) appendTo(w *mls.Writer) { o.Code.appendTo(w) }

// struct { JoiningCode codes<V>; } JoiningCodes;
func (o JoiningCodes) appendTo(w *mls.Writer) {
	appendList(w, o.Codes, func(w *mls.Writer, c JoiningCode) { c.appendTo(w) })
}

func readJoiningCodes(r *mls.Reader) JoiningCodes {
	return JoiningCodes{Codes: readList(r, "codes", readJoiningCode)}
}

//	struct {
//	    uint64 until_millis;
//	    uint64 now_millis;
//	    opaque reason<V>;
//	} Damped;
func (o Damped) appendTo(w *mls.Writer) {
	w.Uint64(o.UntilMillis)
	w.Uint64(o.NowMillis)
	appendText(w, o.Reason)
}

func readDamped(r *mls.Reader) Damped {
	return Damped{UntilMillis: r.Uint64("until_millis"), NowMillis: r.Uint64("now_millis"), Reason: readText[string](r, "reason")}
}
