package mls

import "fmt"

// PreSharedKeyID names a pre-shared key (RFC 9420 §8.4). Source is an ExternalPSK or a ResumptionPSK.
//
//	struct {
//	    PSKType psktype; // external(1), resumption(2)
//	    select (PreSharedKeyID.psktype) {
//	        case external:   opaque psk_id<V>;
//	        case resumption: ResumptionPSKUsage usage; opaque psk_group_id<V>; uint64 psk_epoch;
//	    };
//	    opaque psk_nonce<V>;
//	} PreSharedKeyID;
type PreSharedKeyID struct {
	Source PSKSource
	Nonce  []byte
}

// PSKSource is an ExternalPSK or a ResumptionPSK.
type PSKSource interface{ appendPSKSource(w *Writer) }

// ExternalPSK is a key that the application agreed on outside MLS.
type ExternalPSK struct{ ID []byte }

// ResumptionPSK is a key out of an epoch of this or another group.
type ResumptionPSK struct {
	Usage   ResumptionUsage
	GroupID GroupID
	Epoch   Epoch
}

// ResumptionUsage says what a resumption key is used for (RFC 9420 §8.4).
type ResumptionUsage uint8

const (
	ResumptionApplication ResumptionUsage = 1
	ResumptionReInit      ResumptionUsage = 2
	ResumptionBranch      ResumptionUsage = 3
)

const (
	pskExternal   = 1
	pskResumption = 2
)

func ReadPreSharedKeyID(r *Reader) PreSharedKeyID {
	return PreSharedKeyID{Source: readPSKSource(r), Nonce: r.Opaque("psk_nonce")}
}

func readPSKSource(r *Reader) PSKSource {
	switch t := r.Uint8("psktype"); {
	case r.Failed():
		return nil
	case t == pskExternal:
		return ExternalPSK{r.Opaque("psk_id")}
	case t == pskResumption:
		p := ResumptionPSK{Usage: ResumptionUsage(r.Uint8("usage"))}
		if !r.Failed() && (p.Usage < ResumptionApplication || p.Usage > ResumptionBranch) {
			r.Fail("usage", fmt.Sprintf("resumption usage %d is unknown", p.Usage))
		}
		p.GroupID = GroupID(r.Opaque("psk_group_id"))
		p.Epoch = Epoch(r.Uint64("psk_epoch"))
		return p
	default:
		r.Fail("psktype", fmt.Sprintf("PSK type %d is unknown", t))
		return nil
	}
}

func (p PreSharedKeyID) AppendTo(w *Writer) {
	p.Source.appendPSKSource(w)
	w.Opaque(p.Nonce)
}

func (p PreSharedKeyID) Marshal() []byte { return marshal(p) }

func (p ExternalPSK) appendPSKSource(w *Writer) {
	w.Uint8(pskExternal)
	w.Opaque(p.ID)
}

func (p ResumptionPSK) appendPSKSource(w *Writer) {
	w.Uint8(pskResumption)
	w.Uint8(uint8(p.Usage))
	w.Opaque([]byte(p.GroupID))
	w.Uint64(uint64(p.Epoch))
}
