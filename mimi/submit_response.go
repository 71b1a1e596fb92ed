package mimi

import (
	"parley/mls"
)

// SubmitResponseCode is the status of a SubmitMessageResponse (mimi-protocol-06 §5.4).
type SubmitResponseCode uint8

const (
	SubmitCodeAccepted    SubmitResponseCode = 0 // the draft also calls it success
	SubmitCodeNotAllowed  SubmitResponseCode = 1
	SubmitCodeEpochTooOld SubmitResponseCode = 2
)

func (c SubmitResponseCode) String() string {
	return enumName(uint8(c), "SubmitResponseCode", "accepted", "notAllowed", "epochTooOld")
}

// SubmitMessageResponse answers a SubmitMessageRequest (mimi-protocol-06 §5.4). It is a SubmitAccepted, SubmitNotAllowed or
// SubmitEpochTooOld.
//
//	struct {
//	    Protocol protocol;
//	    SubmitResponseCode statusCode;
//	    select (statusCode) {
//	        case accepted:    uint64 accepted_timestamp; optional<Frank> frank;
//	        case notAllowed:  struct {};
//	        case epochTooOld: uint64 currentEpoch;
//	    };
//	} SubmitMessageResponse;
type SubmitMessageResponse interface {
	Code() SubmitResponseCode
	AppendTo(w *mls.Writer)
	Marshal() []byte
	submitMessageResponse()
}

// SubmitAccepted: the message will be distributed.
type SubmitAccepted struct {
	AcceptedMillis uint64 // hub time, milliseconds since 1970
	Frank          *Frank // nil where the hub did not frank the message
}

// SubmitNotAllowed: refused by policy, or nonsensical as an epoch that has not begun is.
type SubmitNotAllowed struct{}

// SubmitEpochTooOld: the message's epoch has left the window.
type SubmitEpochTooOld struct{ Current mls.Epoch }

func (SubmitAccepted) Code() SubmitResponseCode    { return SubmitCodeAccepted }
func (SubmitNotAllowed) Code() SubmitResponseCode  { return SubmitCodeNotAllowed }
func (SubmitEpochTooOld) Code() SubmitResponseCode { return SubmitCodeEpochTooOld }

func ReadSubmitMessageResponse(r *mls.Reader) SubmitMessageResponse {
	readProtocol(r, "protocol")
	switch code := r.Uint8("statusCode"); SubmitResponseCode(code) {
	case SubmitCodeAccepted:
		return SubmitAccepted{
			AcceptedMillis: r.Uint64("accepted_timestamp"),
			Frank:          mls.ReadOptional(r, "frank", ReadFrank),
		}
	case SubmitCodeNotAllowed:
		return SubmitNotAllowed{}
	case SubmitCodeEpochTooOld:
		return SubmitEpochTooOld{mls.Epoch(r.Uint64("currentEpoch"))}
	default:
		failEnum(r, "statusCode", code)
		return nil
	}
}

func ParseSubmitMessageResponse(b []byte) (SubmitMessageResponse, error) {
	return mls.Parse("SubmitMessageResponse", b, ReadSubmitMessageResponse)
}

func (m SubmitAccepted) AppendTo(w *mls.Writer) {
	appendSubmitStatus(w, SubmitCodeAccepted)
	w.Uint64(m.AcceptedMillis)
	appendOptionalFrank(w, m.Frank)
}

func (SubmitNotAllowed) AppendTo(w *mls.Writer) { appendSubmitStatus(w, SubmitCodeNotAllowed) }

func (m SubmitEpochTooOld) AppendTo(w *mls.Writer) {
	appendSubmitStatus(w, SubmitCodeEpochTooOld)
	w.Uint64(uint64(m.Current))
}

func appendSubmitStatus(w *mls.Writer, code SubmitResponseCode) {
	appendProtocol(w)
	w.Uint8(uint8(code))
}

func (m SubmitAccepted) Marshal() []byte    { return marshal(m) }
func (m SubmitNotAllowed) Marshal() []byte  { return marshal(m) }
func (m SubmitEpochTooOld) Marshal() []byte { return marshal(m) }

func (SubmitAccepted) submitMessageResponse()    {}
func (SubmitNotAllowed) submitMessageResponse()  {}
func (SubmitEpochTooOld) submitMessageResponse() {}
