package mimi

import (
	"fmt"

	"parley/mls"
)

// Notice is what one provider tells another beside the FanoutMessages of the draft, which have no place for it. Notices travel with the
// bulk delivery alone (docs/extensions.md): a provider that does not offer it is told nothing of the kind, and loses nothing that the
// draft promises it. The set may grow: one of an unknown kind is an UnknownNotice, to be skipped.
type Notice interface {
	NoticeKind() NoticeKind
	appendNotice(w *mls.Writer)
}

// NoticeKind is a notice's number on the wire.
type NoticeKind uint8

const (
	NoticeVerdict       NoticeKind = 1
	NoticeProposalFate  NoticeKind = 2
	NoticeRoomDestroyed NoticeKind = 3
	NoticePolicyChanged NoticeKind = 4
	NoticeVoiceChanged  NoticeKind = 5
	NoticeUserDeleted   NoticeKind = 6
	NoticeStreamGap     NoticeKind = 7
)

// noticeBytesMax bounds one notice.
const noticeBytesMax = 256 << 10

// Receipt names something that was submitted in bulk: the SHA-256 of its MLSMessage, of a bundle of Proposals that of the first. So
// whoever submits knows it beforehand, and can ask for it although no answer came.
type Receipt [32]byte

// VerdictCode says what became of something that was submitted. Codes are for ever: submitters' programs branch on them.
type VerdictCode uint8

const (
	VerdictAccepted       VerdictCode = 1  // it is in the room's order, and will be delivered to all who follow the room
	VerdictNotAllowed     VerdictCode = 2  // the sender may not send in the room as things stand; the reason says why
	VerdictEpochTooOld    VerdictCode = 3  // its epoch has left the window; it can be sent again in the current one
	VerdictFutureEpoch    VerdictCode = 4  // its epoch has not begun at the hub
	VerdictNotParticipant VerdictCode = 5  // the sender is no participant, or was none in the message's epoch
	VerdictNoSuchRoom     VerdictCode = 6  // the hub has no such room
	VerdictRoomEnded      VerdictCode = 7  // the room was destroyed, or its group has ended
	VerdictWrongGroup     VerdictCode = 8  // it is of another group than the room's
	VerdictMalformed      VerdictCode = 9  // it cannot be read; the reason names the field
	VerdictTooLarge       VerdictCode = 10 // it is larger than a message may be
	VerdictInvalid        VerdictCode = 11 // a Proposal that the room cannot take: signature, sender, or what it would change
	VerdictWrongEpoch     VerdictCode = 12 // a Proposal that is not of the current epoch
	VerdictNotYours       VerdictCode = 13 // the sender does not belong to the provider that submitted it
	VerdictExpired        VerdictCode = 14 // it waited too long to be brought to its hub, and was given up
	VerdictRoomStale      VerdictCode = 15 // the hub has lost a part of the room's history, and takes nothing before it knows where the group is; it can be sent again then
)

var verdictNames = map[VerdictCode]string{
	VerdictAccepted: "accepted", VerdictNotAllowed: "notAllowed", VerdictEpochTooOld: "epochTooOld", VerdictFutureEpoch: "futureEpoch",
	VerdictNotParticipant: "notParticipant", VerdictNoSuchRoom: "noSuchRoom", VerdictRoomEnded: "roomEnded", VerdictWrongGroup: "wrongGroup",
	VerdictMalformed: "malformed", VerdictTooLarge: "tooLarge", VerdictInvalid: "invalid", VerdictWrongEpoch: "wrongEpoch",
	VerdictNotYours: "notYours", VerdictExpired: "expired", VerdictRoomStale: "roomStale",
}

func (c VerdictCode) String() string {
	if name, known := verdictNames[c]; known {
		return name
	}
	return fmt.Sprintf("verdict %d", uint8(c))
}

// Verdict tells a submitter what became of what it submitted.
//
//	struct {
//	    opaque receipt[32];
//	    VerdictCode code;
//	    uint64 accepted_millis; // hub time; 0 unless accepted
//	    uint64 current_epoch;   // of the room as the hub decided; 0 where there is no such room
//	    opaque reason<V>;       // UTF-8, for people
//	} Verdict;
type Verdict struct {
	Receipt        Receipt
	Code           VerdictCode
	AcceptedMillis uint64
	Current        mls.Epoch
	Reason         string
}

// ProposalEnd is what became of a pending Proposal when its epoch ended.
type ProposalEnd uint8

const (
	ProposalCommitted ProposalEnd = 1 // the Commit that ended the epoch included it
	ProposalDropped   ProposalEnd = 2 // it did not, and the Proposal is void
)

// ProposalFate tells the provider of a Proposal's sender what became of it.
//
//	struct {
//	    opaque proposal_ref<V>;
//	    uint8 end;     // ProposalEnd
//	    uint64 epoch;  // in which it was pending
//	} ProposalFate;
type ProposalFate struct {
	Ref   mls.ProposalRef
	End   ProposalEnd
	Epoch mls.Epoch
}

// RoomDestroyed says that nothing comes of the room any more.
//
//	struct {} RoomDestroyed;
type RoomDestroyed struct{}

// PolicyChange says which kinds of a room's policy a Commit has changed.
type PolicyChange uint8

const (
	CharacteristicsChanged  PolicyChange = 1 << iota // any component but those below
	PreauthorizationChanged                          // who is preauthorized for which role
	RolesChanged                                     // who has which role, or what a role may do
)

// PolicyChanged tells that the Commit in the same item has changed the room's policy. What it is now stands in the Commit.
//
//	struct {
//	    uint64 epoch; // which the Commit began
//	    uint8 changes; // PolicyChange, together
//	} PolicyChanged;
type PolicyChanged struct {
	Epoch   mls.Epoch
	Changes PolicyChange
}

// VoiceChanged lists participants who may from now on send messages in the room and could not before, or the other way round.
//
//	struct {
//	    uint64 epoch;
//	    IdentifierUri gained<V>;
//	    IdentifierUri lost<V>;
//	} VoiceChanged;
type VoiceChanged struct {
	Epoch  mls.Epoch
	Gained []UserURI
	Lost   []UserURI
}

// UserDeleted tells that a user of the sending provider is gone for good.
//
//	struct {
//	    IdentifierUri user;
//	    uint64 millis; // hub time
//	} UserDeleted;
type UserDeleted struct {
	User   UserURI
	Millis uint64
}

// StreamGap tells that events of the room could not be kept until they were taken, and are lost to the receiver.
//
//	struct {
//	    uint64 items;         // bodies that were dropped
//	    uint64 first_millis;  // hub time of the first
//	    uint64 last_millis;   // of the last
//	} StreamGap;
type StreamGap struct {
	Items       uint64
	FirstMillis uint64
	LastMillis  uint64
}

// UnknownNotice is of a kind that this program does not know.
type UnknownNotice struct {
	Kind  NoticeKind
	Bytes []byte
}

func (Verdict) NoticeKind() NoticeKind         { return NoticeVerdict }
func (ProposalFate) NoticeKind() NoticeKind    { return NoticeProposalFate }
func (RoomDestroyed) NoticeKind() NoticeKind   { return NoticeRoomDestroyed }
func (PolicyChanged) NoticeKind() NoticeKind   { return NoticePolicyChanged }
func (VoiceChanged) NoticeKind() NoticeKind    { return NoticeVoiceChanged }
func (UserDeleted) NoticeKind() NoticeKind     { return NoticeUserDeleted }
func (StreamGap) NoticeKind() NoticeKind       { return NoticeStreamGap }
func (n UnknownNotice) NoticeKind() NoticeKind { return n.Kind }

// AppendNotice writes a notice.
//
//	struct {
//	    uint8 kind;
//	    opaque notice<V>; // as its kind has it
//	} Notice;
func AppendNotice(w *mls.Writer, n Notice) {
	w.Uint8(uint8(n.NoticeKind()))
	w.Vector(n.appendNotice)
}

// ReadNotice reads a notice; of an unknown kind it is an UnknownNotice.
func ReadNotice(r *mls.Reader) Notice {
	kind := NoticeKind(r.Uint8("kind"))
	body := r.Opaque("notice")
	switch {
	case r.Failed():
		return nil
	case len(body) > noticeBytesMax:
		r.Fail("notice", fmt.Sprintf("it is larger than %d octets", noticeBytesMax))
		return nil
	}
	read := noticeReader(kind)
	if read == nil {
		return UnknownNotice{Kind: kind, Bytes: body}
	}
	notice, err := mls.Parse("Notice", body, read)
	if err != nil {
		r.Fail("notice", err.Error())
		return nil
	}
	return notice
}

// ParseNotice reads a notice that is the whole input.
func ParseNotice(b []byte) (Notice, error) { return mls.Parse("Notice", b, ReadNotice) }

// MarshalNotice is AppendNotice's output alone.
func MarshalNotice(n Notice) []byte {
	var w mls.Writer
	AppendNotice(&w, n)
	return w.Bytes()
}

func noticeReader(kind NoticeKind) func(*mls.Reader) Notice {
	switch kind {
	case NoticeVerdict:
		return func(r *mls.Reader) Notice { return ReadVerdict(r) }
	case NoticeProposalFate:
		return readProposalFate
	case NoticeRoomDestroyed:
		return func(*mls.Reader) Notice { return RoomDestroyed{} }
	case NoticePolicyChanged:
		return func(r *mls.Reader) Notice {
			return PolicyChanged{Epoch: mls.Epoch(r.Uint64("epoch")), Changes: PolicyChange(r.Uint8("changes"))}
		}
	case NoticeVoiceChanged:
		return func(r *mls.Reader) Notice {
			return VoiceChanged{Epoch: mls.Epoch(r.Uint64("epoch")), Gained: readUsers(r, "gained"), Lost: readUsers(r, "lost")}
		}
	case NoticeUserDeleted:
		return func(r *mls.Reader) Notice {
			return UserDeleted{User: ReadUserURI(r, "user"), Millis: r.Uint64("millis")}
		}
	case NoticeStreamGap:
		return func(r *mls.Reader) Notice {
			return StreamGap{Items: r.Uint64("items"), FirstMillis: r.Uint64("first_millis"), LastMillis: r.Uint64("last_millis")}
		}
	default:
		return nil
	}
}

func readUsers(r *mls.Reader, field string) []UserURI {
	return mls.ReadList(r, field, func(r *mls.Reader) UserURI { return ReadUserURI(r, "") })
}

func appendUsers(w *mls.Writer, users []UserURI) {
	w.Vector(func(w *mls.Writer) {
		for _, u := range users {
			u.AppendTo(w)
		}
	})
}

// ReadVerdict reads a Verdict, which stands in answers as well.
func ReadVerdict(r *mls.Reader) Verdict {
	var v Verdict
	copy(v.Receipt[:], r.Fixed("receipt", len(v.Receipt)))
	v.Code = VerdictCode(r.Uint8("code"))
	if !r.Failed() && v.Code == 0 {
		r.Fail("code", "0 is no verdict")
	}
	v.AcceptedMillis = r.Uint64("accepted_millis")
	v.Current = mls.Epoch(r.Uint64("current_epoch"))
	v.Reason = readText(r, "reason")
	return v
}

// AppendTo writes what ReadVerdict reads.
func (v Verdict) AppendTo(w *mls.Writer) {
	w.Fixed(v.Receipt[:])
	w.Uint8(uint8(v.Code))
	w.Uint64(v.AcceptedMillis)
	w.Uint64(uint64(v.Current))
	appendText(w, v.Reason)
}

func readProposalFate(r *mls.Reader) Notice {
	f := ProposalFate{Ref: mls.ProposalRef(r.Opaque("proposal_ref")), End: ProposalEnd(r.Uint8("end")), Epoch: mls.Epoch(r.Uint64("epoch"))}
	if !r.Failed() && f.End != ProposalCommitted && f.End != ProposalDropped {
		failEnum(r, "end", uint8(f.End))
	}
	return f
}

func (v Verdict) appendNotice(w *mls.Writer) { v.AppendTo(w) }

func (n ProposalFate) appendNotice(w *mls.Writer) {
	w.Opaque([]byte(n.Ref))
	w.Uint8(uint8(n.End))
	w.Uint64(uint64(n.Epoch))
}

func (RoomDestroyed) appendNotice(*mls.Writer) {}

func (n PolicyChanged) appendNotice(w *mls.Writer) {
	w.Uint64(uint64(n.Epoch))
	w.Uint8(uint8(n.Changes))
}

func (n VoiceChanged) appendNotice(w *mls.Writer) {
	w.Uint64(uint64(n.Epoch))
	appendUsers(w, n.Gained)
	appendUsers(w, n.Lost)
}

func (n UserDeleted) appendNotice(w *mls.Writer) {
	n.User.AppendTo(w)
	w.Uint64(n.Millis)
}

func (n StreamGap) appendNotice(w *mls.Writer) {
	w.Uint64(n.Items)
	w.Uint64(n.FirstMillis)
	w.Uint64(n.LastMillis)
}

func (n UnknownNotice) appendNotice(w *mls.Writer) { w.Fixed(n.Bytes) }
