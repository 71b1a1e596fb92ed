package mimi

import (
	"fmt"

	"parley/mls"
)

// EndpointRoomEpoch is where a directory document lists the question in which epoch a provider sees the group of a room of the asker's, an extension
// of ours (docs/extensions.md): a hub asks it that has lost a part of its history. Its template has no variable.
const EndpointRoomEpoch Endpoint = "parley.roomEpoch"

const roomEpochFormat = 1

// RoomEpochRequest asks for it. The room is one of the asking provider's.
//
//	struct {
//	    uint8 format = 1;
//	    IdentifierUri roomId;
//	} RoomEpochRequest;
type RoomEpochRequest struct{ Room RoomURI }

// RoomEpochResponse answers it. Of a room that is not known, or of whose group nothing has come yet, Known is false.
//
//	struct {
//	    uint8 format = 1;
//	    uint8 known;        // 0 or 1
//	    opaque group_id<V>;
//	    uint64 epoch;       // the highest that anything that came was of, or began
//	} RoomEpochResponse;
type RoomEpochResponse struct {
	Known   bool
	GroupID mls.GroupID
	Epoch   mls.Epoch
}

func readRoomEpochFormat(r *mls.Reader) {
	if format := r.Uint8("format"); !r.Failed() && format != roomEpochFormat {
		r.Fail("format", fmt.Sprintf("format %d is not known", format))
	}
}

// ParseRoomEpochRequest reads a request. The error is a *mls.MalformedError.
func ParseRoomEpochRequest(b []byte) (RoomEpochRequest, error) {
	return mls.Parse("RoomEpochRequest", b, func(r *mls.Reader) RoomEpochRequest {
		readRoomEpochFormat(r)
		return RoomEpochRequest{Room: ReadRoomURI(r, "roomId")}
	})
}

// ParseRoomEpochResponse reads an answer. The error is a *mls.MalformedError.
func ParseRoomEpochResponse(b []byte) (RoomEpochResponse, error) {
	return mls.Parse("RoomEpochResponse", b, func(r *mls.Reader) RoomEpochResponse {
		readRoomEpochFormat(r)
		return RoomEpochResponse{Known: r.Bool("known"), GroupID: mls.GroupID(r.Opaque("group_id")), Epoch: mls.Epoch(r.Uint64("epoch"))}
	})
}

func (m RoomEpochRequest) AppendTo(w *mls.Writer) {
	w.Uint8(roomEpochFormat)
	m.Room.AppendTo(w)
}

func (m RoomEpochResponse) AppendTo(w *mls.Writer) {
	w.Uint8(roomEpochFormat)
	w.Bool(m.Known)
	w.Opaque([]byte(m.GroupID))
	w.Uint64(uint64(m.Epoch))
}

func (m RoomEpochRequest) Marshal() []byte  { return marshal(m) }
func (m RoomEpochResponse) Marshal() []byte { return marshal(m) }
