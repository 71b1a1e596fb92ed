package mimi

import (
	"fmt"

	"parley/mls"
)

// EndpointBulkNotify is where a directory document lists the bulk delivery, an extension of ours (docs/extensions.md). Its template
// has no variable.
const EndpointBulkNotify Endpoint = "parley.bulkNotify"

const (
	// NotifyItemsMax is how many items one bulk delivery may have.
	NotifyItemsMax = 500
	// NotifyBytesMax is what a sender may put into one bulk delivery; one item alone may have more, as in a notify request.
	NotifyBytesMax = 4 << 20

	noticesPerItemMax = 1000
)

// BulkNotifyRequest delivers what happened in many rooms of one hub. Of one room the items stand in the order in which they happened.
//
//	struct {
//	    uint8 format = 1;
//	    NotifyItem items<V>; // 1 to 500
//	} BulkNotifyRequest;
type BulkNotifyRequest struct{ Items []NotifyItem }

// NotifyItem is what one decision of the hub made for the receiver in one room: a notify body (mimi-protocol-06 §5.5) and notices. What
// is wrong inside of an item refuses the item, not the request.
//
//	struct {
//	    IdentifierUri roomId;     // empty: notices of no room
//	    opaque body<V>;           // FanoutMessages on end; empty only where there are notices
//	    opaque notices<V>;        // Notices on end
//	} NotifyItem;
type NotifyItem struct {
	Room    RoomURI
	Body    []byte
	Notices []byte

	roomSpelling spelling
}

// NewNotifyItem encodes notices; order is kept.
func NewNotifyItem(room RoomURI, body []byte, notices []Notice) NotifyItem {
	var w mls.Writer
	for _, n := range notices {
		AppendNotice(&w, n)
	}
	return NotifyItem{Room: room, Body: body, Notices: w.Bytes()}
}

// ParseNotices reads the notices of an item; none where b is empty. The error is a *mls.MalformedError.
func ParseNotices(b []byte) ([]Notice, error) {
	r := mls.NewReader("notices", b)
	var notices []Notice
	for r.More() {
		if len(notices) == noticesPerItemMax {
			r.Fail("", fmt.Sprintf("more than %d", noticesPerItemMax))
			break
		}
		notices = append(notices, mls.ReadIn(r, fmt.Sprintf("Notice[%d]", len(notices)), ReadNotice))
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	return notices, nil
}

// Bytes is how much of a request the item takes.
func (i NotifyItem) Bytes() int {
	const lengths = 3 * 4 // at most, of the vectors
	return len(i.Room.String()) + len(i.Body) + len(i.Notices) + lengths
}

func ReadBulkNotifyRequest(r *mls.Reader) BulkNotifyRequest {
	readBulkFormat(r)
	m := BulkNotifyRequest{Items: mls.ReadList(r, "items", readNotifyItem)}
	if !r.Failed() && (len(m.Items) == 0 || len(m.Items) > NotifyItemsMax) {
		r.Fail("items", fmt.Sprintf("between 1 and %d are taken, not %d", NotifyItemsMax, len(m.Items)))
	}
	return m
}

func readNotifyItem(r *mls.Reader) NotifyItem {
	var i NotifyItem
	i.Room, i.roomSpelling = readSpelled(r, "roomId", ParseRoomURI, true)
	i.Body = r.Opaque("body")
	i.Notices = r.Opaque("notices")
	return i
}

// ParseBulkNotifyRequest takes a request within the limits; its items are still to be read. They alias b. The error is a *mls.MalformedError.
func ParseBulkNotifyRequest(b []byte) (BulkNotifyRequest, error) {
	return mls.Parse("BulkNotifyRequest", b, ReadBulkNotifyRequest)
}

func (m BulkNotifyRequest) AppendTo(w *mls.Writer) {
	w.Uint8(bulkFormat)
	mls.AppendList(w, m.Items)
}

func (m BulkNotifyRequest) Marshal() []byte { return marshal(m) }

func (i NotifyItem) AppendTo(w *mls.Writer) {
	i.roomSpelling.appendTo(w, i.Room.String())
	w.Opaque(i.Body)
	w.Opaque(i.Notices)
}
