package cluster

import (
	"bytes"

	"parley/fsm"
	"parley/mls"
)

const (
	stateVersion = 1

	// offerBytesMax bounds the ranges in a request; what does not fit is fetched.
	offerBytesMax = 12 << 20
)

// heldRange says that who asks for a state has records with after < key ≤ through, and what they come to.
type heldRange struct {
	after, through []byte
	digest         [32]byte
}

// stateRequest asks a node for its present state of a group:
//
//	struct {
//	    uint8 version = 1;
//	    uint32 group;
//	    uint64 at_least;    // an older state is of no use
//	    HeldRange held<V>;  // in ascending order, without overlap
//	} StateRequest;
//
//	struct {
//	    opaque after<V>;
//	    opaque through<V>;
//	    opaque digest[32];
//	} HeldRange;
//
// and gets
//
//	struct {
//	    uint8 version = 1;
//	    uint64 applied;        // the index that the whole answer is of
//	    uint64 estimate;       // about how many bytes the state has
//	    StatePart parts[...];  // in ascending order of the keys
//	} StateAnswer;
//
//	struct {
//	    uint32 key_length;
//	    select (key_length) {
//	        case 0:  uint8 kind;
//	                 select (kind) {
//	                     case same: uint32 index;   // the state has in this range what is held
//	                     case end:  uint64 count; uint64 bytes; opaque digest[32]; // of the whole state
//	                 };
//	        default: uint32 value_length; opaque key[key_length]; opaque value[value_length];
//	    };
//	} StatePart;
//
// Between two parts the state has nothing: a held range that is passed over is not what is held, and its records are in the answer.
type stateRequest struct {
	group   uint32
	atLeast uint64
	held    []heldRange
}

const (
	partSame = 1
	partEnd  = 2
)

func (q stateRequest) encode() []byte {
	var w mls.Writer
	w.Uint8(stateVersion)
	w.Uint32(q.group)
	w.Uint64(q.atLeast)
	w.Vector(func(w *mls.Writer) {
		for _, held := range q.held {
			w.Opaque(held.after)
			w.Opaque(held.through)
			w.Fixed(held.digest[:])
		}
	})
	return w.Bytes()
}

func decodeStateRequest(raw []byte) (stateRequest, error) {
	r := mls.NewReader("StateRequest", raw)
	if version := r.Uint8("version"); version != stateVersion {
		r.Fail("version", "is not known")
	}
	q := stateRequest{group: r.Uint32("group"), atLeast: r.Uint64("at_least")}
	var last []byte
	for held := r.Vector("held"); held.More(); {
		one := heldRange{after: held.Opaque("after"), through: held.Opaque("through")}
		copy(one.digest[:], held.Fixed("digest", len(one.digest)))
		if bytes.Compare(last, one.after) > 0 || bytes.Compare(one.after, one.through) >= 0 {
			held.Fail("after", "is out of order")
		}
		last = one.through
		q.held = append(q.held, one)
	}
	return q, r.Close()
}

// offer is a range that this replica has: in a staged chunk, or else in its own state.
type offer struct {
	heldRange
	chunk *chunk // nil: in the replica's own state
}

// offersOf puts the staged chunks and, between them, the ranges of the replica's own state in order, as far as a request holds them.
func offersOf(staged []*chunk, own []heldRange) (offers []offer) {
	size := 0
	take := func(o offer) {
		if size += len(o.after) + len(o.through) + len(o.digest) + 8; size <= offerBytesMax {
			offers = append(offers, o)
		}
	}
	for _, c := range staged {
		for len(own) > 0 && bytes.Compare(own[0].after, c.through) < 0 {
			if bytes.Compare(own[0].through, c.after) <= 0 {
				take(offer{heldRange: own[0]})
			}
			own = own[1:]
		}
		take(offer{heldRange{c.after, c.through, c.sum.Digest}, c})
	}
	for _, held := range own {
		take(offer{heldRange: held})
	}
	return offers
}

// ownRange is the least size of the ranges in which a replica offers its own state. Changes are spread over a state, so small ranges
// are more often equal; each costs a place in the request.
const (
	ownRangeBytes = 64 << 10
	ownRangesMax  = 32 << 10
)

// ownRanges cuts a state into ranges of about equal size. step is told of bytes as they are read, and may end it.
func ownRanges(state fsm.Reader, estimate uint64, step func(bytes int) error) (ranges []heldRange, err error) {
	size := max(ownRangeBytes, estimate/ownRangesMax)
	sum := fsm.NewSummer()
	var after, through []byte
	cut := func() {
		ranges = append(ranges, heldRange{after, bytes.Clone(through), sum.Sum().Digest})
		after, sum = ranges[len(ranges)-1].through, fsm.NewSummer()
	}
	var begun uint64
	err = fsm.ScanRange(state, nil, nil, func(key, value []byte) error {
		sum.Add(key, value)
		through = append(through[:0], key...)
		if begun += uint64(len(key) + len(value)); begun >= size {
			cut()
			begun = 0
		}
		return step(len(key) + len(value))
	})
	if begun > 0 {
		cut()
	}
	return ranges, err
}
