package mimi

import (
	"parley/mls"
)

// RoomMetaData is the data of the room_metadata component, and its update, which replaces it (mimi-protocol-06 §7.6). It is
// for people: URIs and texts are UTF-8 without nulls, and carried as they are.
//
//	struct {
//	    Uri room_uri;
//	    UTF8String room_name;
//	    RichDescription room_descriptions<V>;
//	    Uri room_avatar;
//	    UTF8String room_subject;
//	    UTF8String room_mood;
//	} RoomMetaData;
type RoomMetaData struct {
	URI          string
	Name         string
	Descriptions []RichDescription
	Avatar       string // an https URL
	Subject      string
	Mood         string
}

// RichDescription is a description in one language and one format.
//
//	struct {
//	    opaque media_type<V>;     // empty: text/plain;charset=utf-8
//	    opaque language_tag<V>;
//	    opaque description_content<V>;
//	} RichDescription;
type RichDescription struct {
	MediaType string
	Language  string
	Content   []byte
}

func ReadRichDescription(r *mls.Reader) RichDescription {
	return RichDescription{
		MediaType: readText(r, "media_type"),
		Language:  readText(r, "language_tag"),
		Content:   r.Opaque("description_content"),
	}
}

func (d RichDescription) AppendTo(w *mls.Writer) {
	appendText(w, d.MediaType)
	appendText(w, d.Language)
	w.Opaque(d.Content)
}

func ReadRoomMetaData(r *mls.Reader) RoomMetaData {
	return RoomMetaData{
		URI:          readText(r, "room_uri"),
		Name:         readText(r, "room_name"),
		Descriptions: mls.ReadList(r, "room_descriptions", ReadRichDescription),
		Avatar:       readText(r, "room_avatar"),
		Subject:      readText(r, "room_subject"),
		Mood:         readText(r, "room_mood"),
	}
}

func ParseRoomMetaData(b []byte) (RoomMetaData, error) {
	return mls.Parse("RoomMetaData", b, ReadRoomMetaData)
}

func (d RoomMetaData) AppendTo(w *mls.Writer) {
	appendText(w, d.URI)
	appendText(w, d.Name)
	mls.AppendList(w, d.Descriptions)
	appendText(w, d.Avatar)
	appendText(w, d.Subject)
	appendText(w, d.Mood)
}

func (d RoomMetaData) Marshal() []byte { return marshal(d) }
