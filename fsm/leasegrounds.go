package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// LeaseRight says why a requester may see a room's GroupInfo. Append only.
type LeaseRight uint8

const (
	LeaseByParticipation LeaseRight = 1 // a further client of a participant, or one that starts anew
	LeaseByPolicy        LeaseRight = 2 // the room lets the user join by itself: preauthorized, or open to all
	LeaseByCode          LeaseRight = 3 // a joining code, presented now or before
)

// LeaseGrounds are what a request for the GroupInfo was judged on. Apply lends on them only while they hold.
type LeaseGrounds struct {
	Peer             mimi.Provider // in whose name the request came
	Right            LeaseRight    // 0: there are no grounds but participation, which apply looks up
	GroupContextHash [32]byte      // SHA-256 of the encoded GroupContext that gives the right
	// Member says that the requester has signed with the key of a leaf that bears its credential: nobody else can ask under its name
	// so, and it does not wait for what others have asked for under its user's name, see leaseturns.go.
	Member bool
	Code   PresentedCode // with LeaseByCode; none where the user presented it before
}

// PresentedCode is a joining code that came with a request.
type PresentedCode struct {
	ID CodeID
	// Known says that the code was there when the request was judged, so that its role was looked at, and Key derived as it has to be.
	Known bool
	Key   []byte // of the passphrase that came with it; empty for a code without
}

//	struct {
//	    opaque peer<V>;
//	    uint8 right;
//	    opaque group_context_hash[32];
//	    uint8 member;
//	    PresentedCode code;
//	} LeaseGrounds;
//
//	struct {
//	    opaque id[16]; // zero: none
//	    uint8 known;
//	    opaque key<V>;
//	} PresentedCode;
func (g LeaseGrounds) appendTo(w *mls.Writer) {
	g.Peer.AppendTo(w)
	w.Uint8(uint8(g.Right))
	w.Fixed(g.GroupContextHash[:])
	w.Bool(g.Member)
	w.Fixed(g.Code.ID[:])
	w.Bool(g.Code.Known)
	w.Opaque(g.Code.Key)
}

func readLeaseGrounds(r *mls.Reader) LeaseGrounds {
	g := LeaseGrounds{
		Peer:             mimi.ReadProvider(r, "peer"),
		Right:            LeaseRight(r.Uint8("right")),
		GroupContextHash: readHash(r, "group_context_hash"),
		Member:           r.Bool("member"),
		Code:             PresentedCode{ID: readCodeID(r, "id"), Known: r.Bool("known"), Key: r.Opaque("key")},
	}
	if (g.Right == 0 || g.Right > LeaseByCode) && !r.Failed() {
		r.Fail("right", "it is not known to this program")
	}
	return g
}

const notParticipant = "the requester is not a participant"

// checkGrounds refuses who has no right to the GroupInfo; nil for who has.
func (t *tx) checkGrounds(head roomHead, c TakeLease) Outcome {
	if c.Right != 0 && c.GroupContextHash != head.contextHash {
		return ReadSetChanged{Index: t.index}
	}
	switch c.Right {
	case LeaseByPolicy:
		return nil
	case LeaseByCode:
		return t.admitByCode(c)
	default:
		if _, participant := t.participantSince(c.Room, c.Requester); !participant {
			return NotAllowed{Reason: notParticipant}
		}
		return nil
	}
}
