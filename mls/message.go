package mls

import "fmt"

// MLSMessage is what travels between clients, of version mls10 (RFC 9420 §6).
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    WireFormat wire_format;
//	    select (MLSMessage.wire_format) {
//	        case mls_public_message:  PublicMessage public_message;
//	        case mls_private_message: PrivateMessage private_message;
//	        case mls_welcome:         Welcome welcome;
//	        case mls_group_info:      GroupInfo group_info;
//	        case mls_key_package:     KeyPackage key_package;
//	    };
//	} MLSMessage;
type MLSMessage struct{ Body Body }

// Body is a *PublicMessage, *PrivateMessage, *Welcome, *GroupInfo or *KeyPackage, never nil.
type Body interface {
	AppendTo(w *Writer)
	WireFormat() WireFormat
}

func ReadMLSMessage(r *Reader) MLSMessage {
	readVersion(r, "version")
	switch f := WireFormat(r.Uint16("wire_format")); {
	case r.Failed():
	case f == WirePublicMessage:
		return MLSMessage{pointerTo(ReadIn(r, "public_message", ReadPublicMessage))}
	case f == WirePrivateMessage:
		return MLSMessage{pointerTo(ReadIn(r, "private_message", ReadPrivateMessage))}
	case f == WireWelcome:
		return MLSMessage{pointerTo(ReadIn(r, "welcome", ReadWelcome))}
	case f == WireGroupInfo:
		return MLSMessage{pointerTo(ReadIn(r, "group_info", ReadGroupInfo))}
	case f == WireKeyPackage:
		return MLSMessage{pointerTo(ReadIn(r, "key_package", ReadKeyPackage))}
	case f >= wirePrivateUse:
		r.Fail("wire_format", fmt.Sprintf("wire format 0x%04x is of the private range: no SemiPrivateMessage, which has no number yet, is taken", uint16(f)))
	default:
		r.Fail("wire_format", fmt.Sprintf("wire format 0x%04x is not supported", uint16(f)))
	}
	return MLSMessage{}
}

// wirePrivateUse is where the wire formats for private use begin (RFC 9420 §17.2).
const wirePrivateUse WireFormat = 0xf000

func pointerTo[T any](v T) *T { return &v }

func ParseMLSMessage(b []byte) (MLSMessage, error) { return Parse("MLSMessage", b, ReadMLSMessage) }

func (m MLSMessage) AppendTo(w *Writer) {
	w.Uint16(uint16(MLS10))
	w.Uint16(uint16(m.Body.WireFormat()))
	m.Body.AppendTo(w)
}

func (m MLSMessage) Marshal() []byte { return marshal(m) }

func (*PublicMessage) WireFormat() WireFormat  { return WirePublicMessage }
func (*PrivateMessage) WireFormat() WireFormat { return WirePrivateMessage }
func (*Welcome) WireFormat() WireFormat        { return WireWelcome }
func (*GroupInfo) WireFormat() WireFormat      { return WireGroupInfo }
func (*KeyPackage) WireFormat() WireFormat     { return WireKeyPackage }

// PublicMessage is signed and not encrypted (RFC 9420 §6.2). MembershipTag is on the wire from a MemberSender alone; a hub
// cannot check it.
//
//	struct {
//	    FramedContent content;
//	    FramedContentAuthData auth;
//	    select (PublicMessage.content.sender.sender_type) {
//	        case member: MAC membership_tag;
//	        case external:
//	        case new_member_commit:
//	        case new_member_proposal: struct{};
//	    };
//	} PublicMessage;
type PublicMessage struct {
	Content       FramedContent
	Auth          AuthData
	MembershipTag []byte
}

func ReadPublicMessage(r *Reader) PublicMessage {
	m := PublicMessage{Content: ReadIn(r, "content", ReadFramedContent)}
	r.In("auth", func(r *Reader) { m.Auth = readAuthData(r, m.Content.Body) })
	if _, member := m.Content.Sender.(MemberSender); member {
		m.MembershipTag = r.Opaque("membership_tag")
	}
	return m
}

func ParsePublicMessage(b []byte) (PublicMessage, error) {
	return Parse("PublicMessage", b, ReadPublicMessage)
}

func (m PublicMessage) AppendTo(w *Writer) {
	m.Content.AppendTo(w)
	m.Auth.appendFor(w, m.Content.Body)
	if _, member := m.Content.Sender.(MemberSender); member {
		w.Opaque(m.MembershipTag)
	}
}

func (m PublicMessage) Marshal() []byte { return marshal(m) }

// Authenticated is the message as it is hashed and signed.
func (m PublicMessage) Authenticated() AuthenticatedContent {
	return AuthenticatedContent{WireFormat: WirePublicMessage, Content: m.Content, Auth: m.Auth}
}

// PrivateMessage is signed and encrypted (RFC 9420 §6.3); a hub sees only this.
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    ContentType content_type;
//	    opaque authenticated_data<V>;
//	    opaque encrypted_sender_data<V>;
//	    opaque ciphertext<V>;
//	} PrivateMessage;
type PrivateMessage struct {
	GroupID             GroupID
	Epoch               Epoch
	ContentType         ContentType
	AuthenticatedData   []byte
	EncryptedSenderData []byte
	Ciphertext          []byte
}

func ReadPrivateMessage(r *Reader) PrivateMessage {
	return PrivateMessage{
		GroupID:             GroupID(r.Opaque("group_id")),
		Epoch:               Epoch(r.Uint64("epoch")),
		ContentType:         readContentType(r),
		AuthenticatedData:   r.Opaque("authenticated_data"),
		EncryptedSenderData: r.Opaque("encrypted_sender_data"),
		Ciphertext:          r.Opaque("ciphertext"),
	}
}

func ParsePrivateMessage(b []byte) (PrivateMessage, error) {
	return Parse("PrivateMessage", b, ReadPrivateMessage)
}

func (m PrivateMessage) AppendTo(w *Writer) {
	w.Opaque([]byte(m.GroupID))
	w.Uint64(uint64(m.Epoch))
	w.Uint8(uint8(m.ContentType))
	w.Opaque(m.AuthenticatedData)
	w.Opaque(m.EncryptedSenderData)
	w.Opaque(m.Ciphertext)
}

func (m PrivateMessage) Marshal() []byte { return marshal(m) }
