package httpapi

import (
	"encoding/base64"

	"parley/fsm"
	"parley/mls"
)

// inboxCursor says how far a reader is, for one choice of classes. It is a text without a meaning to the reader, who hands it back to go
// on behind it, to any node, or to acknowledge all before it. It grows with the number of slots of which the reader has had something,
// up to 4096 of them, and not with the number of items.
type inboxCursor struct {
	classes fsm.EventClass
	places  fsm.InboxPlaces
}

const cursorVersion = 1

// String writes base64url of
//
//	struct {
//	    uint8 version = 1;
//	    uint8 classes;
//	    InboxPlaces places;
//	} InboxCursor;
func (c inboxCursor) String() string {
	var w mls.Writer
	w.Uint8(cursorVersion)
	w.Uint8(uint8(c.classes))
	c.places.AppendTo(&w)
	return base64.RawURLEncoding.EncodeToString(w.Bytes())
}

// parseInboxCursor reads what String wrote. field is where it was found.
func parseInboxCursor(field, text string) (inboxCursor, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		r := mls.NewReader("cursor", raw)
		if version := r.Uint8("version"); version != cursorVersion {
			r.Fail("version", "it is not known")
		}
		c := inboxCursor{classes: fsm.EventClass(r.Uint8("classes")), places: fsm.ReadInboxPlaces(r, "places")}
		if err = r.Close(); err == nil && c.classes != 0 && c.classes&^fsm.AllClasses == 0 {
			return c, nil
		}
	}
	return inboxCursor{}, &mls.MalformedError{Field: field, Reason: "it is no cursor that the inbox gave"}
}

// behind is the cursor of a reader that has also had some items, each slot's in order.
func (c inboxCursor) behind(items []fsm.OutboxItem) inboxCursor {
	for _, item := range items {
		c.places = c.places.With(item.Slot, item.Sequence)
	}
	return c
}
