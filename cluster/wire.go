package cluster

import (
	"errors"
	"fmt"

	"parley/fsm"
	"parley/mls"
)

// The methods of the cluster's RPC. Names are for ever: nodes of two versions talk to each other during an upgrade.
const (
	methodPropose     = "propose"      // a command for a shard's leader
	methodProposeMany = "propose-many" // runs of commands for a shard's leader
	methodDo          = "do"           // a whole request for a node with a replica
	methodInbox       = "inbox"        // a page of the local inbox from one shard
	methodEvents      = "events"       // rooms and events of a client's inbox from one shard
	methodMeta        = "meta"         // a command for the meta group's leader
	methodJoin        = "join"         // a node asks to become a member
	methodStatus      = "status"       // a node's own view
	methodDigest      = "digest"       // a replica's digest at an index
	methodState       = "state"        // a stream of one group's state, less what the other end has
	methodLead        = "lead"         // whom a replica takes for its group's leader, and in which term
	methodGone        = "gone"         // whether a node's port refuses a dial of the node that is asked
	methodTransfer    = "transfer"     // a shard's leader is to hand over
	methodRenew       = "renew"        // another certificate for the node that asks
	methodClock       = "clock"        // a node's wall clock
	methodEvict       = "evict"        // a group's leader is to take out the replica of the node that asks, which lost what it had
	methodAppoint     = "appoint"      // what a node is to deliver of the shards that the node which asks leads
	methodSlotLoads   = "slot-loads"   // what a node has proposed of late, by slot
	methodReplay      = "replay"       // a peer is to be tried again at once
	methodArchive     = "archive"      // how far a backup is that the node makes, or brings back
	methodRestoreLook = "restore-look" // how far a replica has come with slots out of a backup
	methodCopy        = "copy"         // a stream of what one shard's slots hold
	methodDeliveries  = "deliveries"   // how a node's deliveries stand
	methodLook        = "look"         // a replica is to keep a view of its state at an index
	methodSum         = "sum"          // what it holds there, section by section
	methodExam        = "exam"         // a node is to look at itself
	methodHoldBack    = "hold-back"    // a replica is to be kept from running, and rebuilt
	methodSlotLook    = "slot-look"    // how a shard stands with slots, at its leader
	methodSlotPage    = "slot-page"    // what is to be carried next of a slot, from its source's leader
	methodSlotWeights = "slot-weights" // what each slot of a shard has, at its leader
)

// answerCode begins the answer to propose and do.
type answerCode uint8

const (
	answerOutcome     answerCode = iota + 1 // then the index and the outcome
	answerNotLeader                         // then the ID of the node that leads, or nothing
	answerNotProposed                       // nothing was written
	answerUnknown                           // the command may be in the log
	answerOverloaded                        // nothing was written
	answerMalformed                         // then the field and the reason
	answerNoReplica                         // this node cannot judge for the shard
	answerFault                             // the node's own fault; nothing more is told
)

// answer is what propose and do return between nodes:
//
//	struct {
//	    uint8 version = 1;
//	    uint8 code;
//	    select (code) {
//	        case outcome:    uint64 index; opaque outcome<V>;
//	        case not_leader: opaque leader<V>;
//	        case malformed:  opaque field<V>; opaque reason<V>;
//	        default:         struct {};
//	    };
//	} Answer;
type answer struct {
	code    answerCode
	index   uint64
	outcome fsm.Outcome
	leader  string
	fault   mls.MalformedError
}

const answerVersion = 1

func (a answer) encode() []byte {
	var w mls.Writer
	w.Uint8(answerVersion)
	w.Uint8(uint8(a.code))
	switch a.code {
	case answerOutcome:
		w.Uint64(a.index)
		w.Opaque(fsm.EncodeOutcome(a.outcome))
	case answerNotLeader:
		w.Opaque([]byte(a.leader))
	case answerMalformed:
		w.Opaque([]byte(a.fault.Field))
		w.Opaque([]byte(a.fault.Reason))
	}
	return w.Bytes()
}

func decodeAnswer(raw []byte) (answer, error) {
	r := mls.NewReader("Answer", raw)
	if version := r.Uint8("version"); version != answerVersion {
		r.Fail("version", fmt.Sprintf("is %d, not %d", version, answerVersion))
	}
	a := answer{code: answerCode(r.Uint8("code"))}
	var outcome []byte
	switch a.code {
	case answerOutcome:
		a.index = r.Uint64("index")
		outcome = r.Opaque("outcome")
	case answerNotLeader:
		a.leader = string(r.Opaque("leader"))
	case answerMalformed:
		a.fault.Field = string(r.Opaque("field"))
		a.fault.Reason = string(r.Opaque("reason"))
	case answerNotProposed, answerUnknown, answerOverloaded, answerNoReplica, answerFault:
	default:
		r.Fail("code", fmt.Sprintf("%d is not known", a.code))
	}
	if err := r.Close(); err != nil {
		return answer{}, err
	}
	if a.code == answerOutcome {
		var err error
		if a.outcome, err = fsm.DecodeOutcome(outcome); err != nil {
			return answer{}, err
		}
	}
	return a, nil
}

// answerOf puts an error of the unavailable family, or a malformed request, into words that another node understands.
func answerOf(err error) answer {
	var malformed *mls.MalformedError
	switch {
	case errors.As(err, &malformed):
		return answer{code: answerMalformed, fault: *malformed}
	case errors.Is(err, fsm.ErrUnknownOutcome):
		return answer{code: answerUnknown}
	case errors.Is(err, fsm.ErrOverloaded):
		return answer{code: answerOverloaded}
	case errors.Is(err, fsm.ErrNotProposed):
		return answer{code: answerNotProposed}
	default:
		return answer{code: answerFault}
	}
}
