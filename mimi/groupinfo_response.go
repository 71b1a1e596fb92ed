package mimi

import (
	"parley/mls"
)

// GroupInfoCode is the status of a GroupInfoResponse (mimi-protocol-06 §5.6).
type GroupInfoCode uint8

const (
	GroupInfoCodeSuccess       GroupInfoCode = 1
	GroupInfoCodeNotAuthorized GroupInfoCode = 2 // may also stand for noSuchRoom
	GroupInfoCodeNoSuchRoom    GroupInfoCode = 3
)

func (c GroupInfoCode) String() string {
	return enumName(uint8(c), "GroupInfoCode", "reserved", "success", "notAuthorized", "noSuchRoom")
}

// GroupInfoResponse answers a GroupInfoRequest (mimi-protocol-06 §5.6). It is a GroupInfoGranted, GroupInfoNotAuthorized or
// GroupInfoNoSuchRoom; the two refusals end after the status and are not signed.
//
//	struct {
//	    Protocol version;
//	    opaque room_id<V>;
//	    GroupInfoCode status;
//	    select (status) {
//	        case success:
//	            CipherSuite cipher_suite;
//	            ExternalSender hub_sender;
//	            HPKECiphertext encrypted_groupinfo_and_tree;
//	            opaque signature<V>;
//	    };
//	} GroupInfoResponse;
type GroupInfoResponse interface {
	Code() GroupInfoCode
	AppendTo(w *mls.Writer)
	Marshal() []byte
	groupInfoResponse()
}

// GroupInfoGranted lends the GroupInfo to the requester, encrypted to its groupInfoPublicKey.
type GroupInfoGranted struct {
	Room      RoomURI
	Suite     mls.CipherSuite    // the request's
	HubSender mls.ExternalSender // the hub's entry in external_senders, where its scheme fits the suite
	Encrypted mls.HPKECiphertext // EncryptWithLabel of a GroupInfoRatchetTree
	Signature []byte             // by HubSender over SignedBytes, with the label GroupInfoResponseTBS

	roomSpelling spelling
}

// GroupInfoNotAuthorized: the requester may not see the GroupInfo.
type GroupInfoNotAuthorized struct {
	Room RoomURI

	roomSpelling spelling
}

// GroupInfoNoSuchRoom: there is no such room here.
type GroupInfoNoSuchRoom struct {
	Room RoomURI

	roomSpelling spelling
}

const (
	groupInfoResponseLabel   = "GroupInfoResponseTBS"
	groupInfoEncryptionLabel = "GroupInfo and ratchet_tree encryption"
)

func (GroupInfoGranted) Code() GroupInfoCode       { return GroupInfoCodeSuccess }
func (GroupInfoNotAuthorized) Code() GroupInfoCode { return GroupInfoCodeNotAuthorized }
func (GroupInfoNoSuchRoom) Code() GroupInfoCode    { return GroupInfoCodeNoSuchRoom }

func ReadGroupInfoResponse(r *mls.Reader) GroupInfoResponse {
	readProtocol(r, "version")
	room, written := readSpelled(r, "room_id", ParseRoomURI, false)
	switch status := r.Uint8("status"); GroupInfoCode(status) {
	case GroupInfoCodeSuccess:
		return GroupInfoGranted{
			Room:         room,
			Suite:        mls.CipherSuite(r.Uint16("cipher_suite")),
			HubSender:    mls.ReadIn(r, "hub_sender", mls.ReadExternalSender),
			Encrypted:    mls.ReadIn(r, "encrypted_groupinfo_and_tree", mls.ReadHPKECiphertext),
			Signature:    r.Opaque("signature"),
			roomSpelling: written,
		}
	case GroupInfoCodeNotAuthorized:
		return GroupInfoNotAuthorized{room, written}
	case GroupInfoCodeNoSuchRoom:
		return GroupInfoNoSuchRoom{room, written}
	default:
		failEnum(r, "status", status)
		return nil
	}
}

func ParseGroupInfoResponse(b []byte) (GroupInfoResponse, error) {
	return mls.Parse("GroupInfoResponse", b, ReadGroupInfoResponse)
}

// SignedBytes is GroupInfoResponseTBS: the response's bytes less the signature.
func (m GroupInfoGranted) SignedBytes() []byte {
	var w mls.Writer
	m.appendUnsigned(&w)
	return w.Bytes()
}

func (m GroupInfoGranted) appendUnsigned(w *mls.Writer) {
	appendGroupInfoStatus(w, m.Room, m.roomSpelling, m.Code())
	w.Uint16(uint16(m.Suite))
	m.HubSender.AppendTo(w)
	m.Encrypted.AppendTo(w)
}

func (m GroupInfoGranted) AppendTo(w *mls.Writer) {
	m.appendUnsigned(w)
	w.Opaque(m.Signature)
}

func (m GroupInfoNotAuthorized) AppendTo(w *mls.Writer) {
	appendGroupInfoStatus(w, m.Room, m.roomSpelling, m.Code())
}

func (m GroupInfoNoSuchRoom) AppendTo(w *mls.Writer) {
	appendGroupInfoStatus(w, m.Room, m.roomSpelling, m.Code())
}

func appendGroupInfoStatus(w *mls.Writer, room RoomURI, written spelling, code GroupInfoCode) {
	appendProtocol(w)
	written.appendTo(w, room.String())
	w.Uint8(uint8(code))
}

func (m GroupInfoGranted) Marshal() []byte       { return marshal(m) }
func (m GroupInfoNotAuthorized) Marshal() []byte { return marshal(m) }
func (m GroupInfoNoSuchRoom) Marshal() []byte    { return marshal(m) }

func (GroupInfoGranted) groupInfoResponse()       {}
func (GroupInfoNotAuthorized) groupInfoResponse() {}
func (GroupInfoNoSuchRoom) groupInfoResponse()    {}
