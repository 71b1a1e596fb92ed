package mimi

import (
	"fmt"

	"parley/mls"
)

// NotifyCode says why an item of a bulk delivery was not taken. From 0x80 on it holds only for now, and the same item can be sent again;
// below that the item is refused as it stands. A reader treats a code that it does not know by that alone.
type NotifyCode uint8

const (
	NotifyMalformed   NotifyCode = 1 // it cannot be read; the reason names the field
	NotifyNotYours    NotifyCode = 2 // the sender is not the hub of the room, or tells something that is not its own to tell
	NotifyUnknownRoom NotifyCode = 3 // the receiver knows no such room, and takes nothing of it
	NotifyWrongGroup  NotifyCode = 4 // the body is of a group that is another room's
	NotifyTooLarge    NotifyCode = 5 // it is larger than the receiver takes

	NotifyOverloaded  NotifyCode = 0x80 // a bounded queue is full; nothing was written
	NotifyUnavailable NotifyCode = 0x81 // who decides could not be reached in time; nothing was written
	NotifyUndecided   NotifyCode = 0x82 // it may have been taken; the same item again is taken once
	NotifyBehind      NotifyCode = 0x83 // it stands behind an item of the same room that was not taken
	NotifyOutOfOrder  NotifyCode = 0x84 // too much of the room waits already for what comes before it
)

var notifyCodeNames = map[NotifyCode]string{
	NotifyMalformed: "malformed", NotifyNotYours: "notYours", NotifyUnknownRoom: "unknownRoom", NotifyWrongGroup: "wrongGroup",
	NotifyTooLarge: "tooLarge", NotifyOverloaded: "overloaded", NotifyUnavailable: "unavailable", NotifyUndecided: "undecided",
	NotifyBehind: "behind", NotifyOutOfOrder: "outOfOrder",
}

func (c NotifyCode) String() string {
	if name, known := notifyCodeNames[c]; known {
		return name
	}
	return fmt.Sprintf("notify code %d", uint8(c))
}

// Passing reports whether the same item may be taken later.
func (c NotifyCode) Passing() bool { return c >= 0x80 }

// BulkNotifyResponse acknowledges the first Taken items of a request, but for the exceptions. What it acknowledges is durable.
//
//	struct {
//	    uint8 format = 1;
//	    uint32 taken;                  // items from the first that were decided on
//	    NotifyException exceptions<V>; // in order of their indices, all below taken
//	} BulkNotifyResponse;
type BulkNotifyResponse struct {
	Taken      uint32
	Exceptions []NotifyException
}

// NotifyException is an item that was not taken.
//
//	struct {
//	    uint32 index; // of the item in the request, from 0
//	    NotifyCode code;
//	    uint32 retryAfterSeconds; // 0: as the receiver has nothing to say about it
//	    opaque reason<V>;         // UTF-8, for people
//	} NotifyException;
type NotifyException struct {
	Index             uint32
	Code              NotifyCode
	RetryAfterSeconds uint32
	Reason            string
}

func ReadBulkNotifyResponse(r *mls.Reader) BulkNotifyResponse {
	readBulkFormat(r)
	m := BulkNotifyResponse{Taken: r.Uint32("taken"), Exceptions: mls.ReadList(r, "exceptions", readNotifyException)}
	if r.Failed() {
		return m
	}
	if m.Taken > NotifyItemsMax {
		r.Fail("taken", fmt.Sprintf("%d is more than a request has", m.Taken))
	}
	next := uint32(0)
	for _, e := range m.Exceptions {
		if e.Index < next || e.Index >= m.Taken {
			r.Fail("exceptions", fmt.Sprintf("index %d is out of order, or not below taken", e.Index))
			return m
		}
		next = e.Index + 1
	}
	return m
}

func readNotifyException(r *mls.Reader) NotifyException {
	e := NotifyException{Index: r.Uint32("index"), Code: NotifyCode(r.Uint8("code")), RetryAfterSeconds: r.Uint32("retryAfterSeconds"), Reason: readText(r, "reason")}
	if !r.Failed() && e.Code == 0 {
		failEnum(r, "code", 0)
	}
	return e
}

// ParseBulkNotifyResponse reads an answer. The error is a *mls.MalformedError.
func ParseBulkNotifyResponse(b []byte) (BulkNotifyResponse, error) {
	return mls.Parse("BulkNotifyResponse", b, ReadBulkNotifyResponse)
}

func (m BulkNotifyResponse) AppendTo(w *mls.Writer) {
	w.Uint8(bulkFormat)
	w.Uint32(m.Taken)
	mls.AppendList(w, m.Exceptions)
}

func (m BulkNotifyResponse) Marshal() []byte { return marshal(m) }

func (e NotifyException) AppendTo(w *mls.Writer) {
	w.Uint32(e.Index)
	w.Uint8(uint8(e.Code))
	w.Uint32(e.RetryAfterSeconds)
	appendText(w, e.Reason)
}
