package mimi

import (
	"parley/mls"
)

// UpdateResponseCode is the first octet of an UpdateRoomResponse (mimi-protocol-06 §5.3).
type UpdateResponseCode uint8

const (
	UpdateCodeSuccess         UpdateResponseCode = 0
	UpdateCodeWrongEpoch      UpdateResponseCode = 1
	UpdateCodeNotAllowed      UpdateResponseCode = 2
	UpdateCodeInvalidProposal UpdateResponseCode = 3
)

func (c UpdateResponseCode) String() string {
	return enumName(uint8(c), "UpdateResponseCode", "success", "wrongEpoch", "notAllowed", "invalidProposal")
}

// UpdateRoomResponse answers an UpdateRequest (mimi-protocol-06 §5.3). The description is always there, empty or not.
//
//	struct {
//	    UpdateResponseCode responseCode;
//	    string errorDescription;
//	    select (responseCode) {
//	        case success:         uint64 accepted_timestamp;
//	        case wrongEpoch:      uint64 currentEpoch;
//	        case invalidProposal: ProposalRef invalidProposals<V>;
//	    };
//	} UpdateRoomResponse;
type UpdateRoomResponse struct {
	Description string // for people; says nothing internal
	Result      UpdateResult
}

// UpdateResult is an UpdateSuccess, UpdateWrongEpoch, UpdateNotAllowed or UpdateInvalidProposal.
type UpdateResult interface {
	Code() UpdateResponseCode
	appendResult(w *mls.Writer)
}

// UpdateSuccess: accepted, and it will be distributed.
type UpdateSuccess struct {
	AcceptedMillis uint64 // hub time, milliseconds since 1970
}

// UpdateWrongEpoch: the group is in another epoch.
type UpdateWrongEpoch struct{ Current mls.Epoch }

// UpdateNotAllowed: refused by policy or authorization.
type UpdateNotAllowed struct{}

// UpdateInvalidProposal lists the invalid Proposals that were sent by reference; those sent inline have none, so the list may
// be empty and the description tells.
type UpdateInvalidProposal struct{ Proposals []mls.ProposalRef }

func (UpdateSuccess) Code() UpdateResponseCode         { return UpdateCodeSuccess }
func (UpdateWrongEpoch) Code() UpdateResponseCode      { return UpdateCodeWrongEpoch }
func (UpdateNotAllowed) Code() UpdateResponseCode      { return UpdateCodeNotAllowed }
func (UpdateInvalidProposal) Code() UpdateResponseCode { return UpdateCodeInvalidProposal }

func ReadUpdateRoomResponse(r *mls.Reader) UpdateRoomResponse {
	code := r.Uint8("responseCode")
	m := UpdateRoomResponse{Description: readText(r, "errorDescription")}
	switch UpdateResponseCode(code) {
	case UpdateCodeSuccess:
		m.Result = UpdateSuccess{r.Uint64("accepted_timestamp")}
	case UpdateCodeWrongEpoch:
		m.Result = UpdateWrongEpoch{mls.Epoch(r.Uint64("currentEpoch"))}
	case UpdateCodeNotAllowed:
		m.Result = UpdateNotAllowed{}
	case UpdateCodeInvalidProposal:
		m.Result = UpdateInvalidProposal{mls.ReadList(r, "invalidProposals", func(r *mls.Reader) mls.ProposalRef {
			return mls.ProposalRef(r.Opaque(""))
		})}
	default:
		failEnum(r, "responseCode", code)
	}
	return m
}

func ParseUpdateRoomResponse(b []byte) (UpdateRoomResponse, error) {
	return mls.Parse("UpdateRoomResponse", b, ReadUpdateRoomResponse)
}

func (m UpdateRoomResponse) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(m.Result.Code()))
	appendText(w, m.Description)
	m.Result.appendResult(w)
}

func (m UpdateRoomResponse) Marshal() []byte { return marshal(m) }

func (s UpdateSuccess) appendResult(w *mls.Writer)    { w.Uint64(s.AcceptedMillis) }
func (s UpdateWrongEpoch) appendResult(w *mls.Writer) { w.Uint64(uint64(s.Current)) }
func (UpdateNotAllowed) appendResult(*mls.Writer)     {}

func (s UpdateInvalidProposal) appendResult(w *mls.Writer) {
	w.Vector(func(w *mls.Writer) {
		for _, ref := range s.Proposals {
			w.Opaque([]byte(ref))
		}
	})
}
