package mimi

import (
	"fmt"

	"parley/mls"
)

// EndpointSubmissions is where a directory document lists the question what became of submissions, an extension of ours
// (docs/extensions.md). Its template has no variable.
const EndpointSubmissions Endpoint = "parley.submissions"

// SubmissionsRequest asks what became of submissions for a room. It is answered with a BulkSubmitResponse.
//
//	struct {
//	    uint8 format = 1;
//	    IdentifierUri roomId;
//	    opaque receipts<V>; // 1 to 1,000, 32 octets each
//	} SubmissionsRequest;
type SubmissionsRequest struct {
	Room     RoomURI
	Receipts []Receipt

	roomSpelling spelling
}

func ReadSubmissionsRequest(r *mls.Reader) SubmissionsRequest {
	readBulkFormat(r)
	var m SubmissionsRequest
	m.Room, m.roomSpelling = readSpelled(r, "roomId", ParseRoomURI, false)
	receipts := r.Opaque("receipts")
	n := len(receipts) / len(Receipt{})
	switch {
	case r.Failed():
	case len(receipts)%len(Receipt{}) != 0:
		r.Fail("receipts", fmt.Sprintf("%d octets are no whole number of receipts", len(receipts)))
	case n == 0 || n > SubmissionsMax:
		r.Fail("receipts", fmt.Sprintf("between 1 and %d are taken, not %d", SubmissionsMax, n))
	default:
		m.Receipts = make([]Receipt, n)
		for i := range m.Receipts {
			copy(m.Receipts[i][:], receipts[i*len(Receipt{}):])
		}
	}
	return m
}

func ParseSubmissionsRequest(b []byte) (SubmissionsRequest, error) {
	return mls.Parse("SubmissionsRequest", b, ReadSubmissionsRequest)
}

func (m SubmissionsRequest) AppendTo(w *mls.Writer) {
	w.Uint8(bulkFormat)
	m.roomSpelling.appendTo(w, m.Room.String())
	w.Vector(func(w *mls.Writer) {
		for _, receipt := range m.Receipts {
			w.Fixed(receipt[:])
		}
	})
}

func (m SubmissionsRequest) Marshal() []byte { return marshal(m) }
