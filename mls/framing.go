package mls

import "fmt"

// Sender is who sent a framed message (RFC 9420 §6): a MemberSender, an ExternalSenderIndex, a NewMemberProposal or a
// NewMemberCommit.
//
//	struct {
//	    SenderType sender_type; // member(1), external(2), new_member_proposal(3), new_member_commit(4)
//	    select (Sender.sender_type) {
//	        case member:              uint32 leaf_index;
//	        case external:            uint32 sender_index;
//	        case new_member_commit:
//	        case new_member_proposal: struct{};
//	    };
//	} Sender;
type Sender interface {
	AppendTo(w *Writer)
	sender()
}

type (
	// MemberSender is a member, by its leaf.
	MemberSender struct{ Leaf LeafIndex }
	// ExternalSenderIndex is an entry of the GroupContext's external_senders, from 0.
	ExternalSenderIndex uint32
	// NewMemberProposal is a client that proposes its own Add.
	NewMemberProposal struct{}
	// NewMemberCommit is a client that joins by its own Commit.
	NewMemberCommit struct{}
)

const (
	senderMember            = 1
	senderExternal          = 2
	senderNewMemberProposal = 3
	senderNewMemberCommit   = 4
)

func ReadSender(r *Reader) Sender {
	switch t := r.Uint8("sender_type"); {
	case r.Failed():
		return nil
	case t == senderMember:
		return MemberSender{LeafIndex(r.Uint32("leaf_index"))}
	case t == senderExternal:
		return ExternalSenderIndex(r.Uint32("sender_index"))
	case t == senderNewMemberProposal:
		return NewMemberProposal{}
	case t == senderNewMemberCommit:
		return NewMemberCommit{}
	default:
		r.Fail("sender_type", fmt.Sprintf("sender type %d is unknown", t))
		return nil
	}
}

func (s MemberSender) AppendTo(w *Writer) {
	w.Uint8(senderMember)
	w.Uint32(uint32(s.Leaf))
}

func (s ExternalSenderIndex) AppendTo(w *Writer) {
	w.Uint8(senderExternal)
	w.Uint32(uint32(s))
}

func (NewMemberProposal) AppendTo(w *Writer) { w.Uint8(senderNewMemberProposal) }
func (NewMemberCommit) AppendTo(w *Writer)   { w.Uint8(senderNewMemberCommit) }

func (MemberSender) sender()        {}
func (ExternalSenderIndex) sender() {}
func (NewMemberProposal) sender()   {}
func (NewMemberCommit) sender()     {}

// Content is what a framed message carries: ApplicationData, a Proposal or a Commit, as values.
type Content interface {
	AppendTo(w *Writer)
	ContentType() ContentType
}

// ApplicationData is the application's own content. RFC 9420 §6.1 forbids it in a PublicMessage; it can be read there, so
// that the refusal can say why.
type ApplicationData []byte

func (d ApplicationData) AppendTo(w *Writer)     { w.Opaque(d) }
func (ApplicationData) ContentType() ContentType { return ContentApplication }

// FramedContent is the part of a message that its signature covers (RFC 9420 §6).
//
//	struct {
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    Sender sender;
//	    opaque authenticated_data<V>;
//	    ContentType content_type;
//	    select (FramedContent.content_type) {
//	        case application: opaque application_data<V>;
//	        case proposal:    Proposal proposal;
//	        case commit:      Commit commit;
//	    };
//	} FramedContent;
type FramedContent struct {
	GroupID           GroupID
	Epoch             Epoch
	Sender            Sender
	AuthenticatedData []byte
	Body              Content
}

func ReadFramedContent(r *Reader) FramedContent {
	return FramedContent{
		GroupID:           GroupID(r.Opaque("group_id")),
		Epoch:             Epoch(r.Uint64("epoch")),
		Sender:            ReadIn(r, "sender", ReadSender),
		AuthenticatedData: r.Opaque("authenticated_data"),
		Body:              readContent(r),
	}
}

func readContent(r *Reader) Content {
	switch t := readContentType(r); {
	case r.Failed():
		return nil
	case t == ContentProposal:
		return ReadIn(r, "proposal", ReadProposal)
	case t == ContentCommit:
		return ReadIn(r, "commit", ReadCommit)
	default:
		return ApplicationData(r.Opaque("application_data"))
	}
}

func readContentType(r *Reader) ContentType {
	t := ContentType(r.Uint8("content_type"))
	if !r.Failed() && (t < ContentApplication || t > ContentCommit) {
		r.Fail("content_type", fmt.Sprintf("content type %d is unknown", t))
	}
	return t
}

func (c FramedContent) AppendTo(w *Writer) {
	w.Opaque([]byte(c.GroupID))
	w.Uint64(uint64(c.Epoch))
	c.Sender.AppendTo(w)
	w.Opaque(c.AuthenticatedData)
	w.Uint8(uint8(c.Body.ContentType()))
	c.Body.AppendTo(w)
}

// AuthData is FramedContentAuthData (RFC 9420 §6.1). ConfirmationTag is on the wire with a Commit alone.
//
//	struct {
//	    opaque signature<V>; // SignWithLabel(., "FramedContentTBS", FramedContentTBS)
//	    select (FramedContent.content_type) {
//	        case commit: MAC confirmation_tag;
//	        case application:
//	        case proposal: struct{};
//	    };
//	} FramedContentAuthData;
type AuthData struct {
	Signature       []byte
	ConfirmationTag []byte
}

func readAuthData(r *Reader, body Content) AuthData {
	a := AuthData{Signature: r.Opaque("signature")}
	if !r.Failed() && body.ContentType() == ContentCommit {
		a.ConfirmationTag = r.Opaque("confirmation_tag")
	}
	return a
}

func (a AuthData) appendFor(w *Writer, body Content) {
	w.Opaque(a.Signature)
	if body.ContentType() == ContentCommit {
		w.Opaque(a.ConfirmationTag)
	}
}

// AuthenticatedContent is a message's content as it is hashed for references and transcripts (RFC 9420 §6).
//
//	struct {
//	    WireFormat wire_format;
//	    FramedContent content;
//	    FramedContentAuthData auth;
//	} AuthenticatedContent;
type AuthenticatedContent struct {
	WireFormat WireFormat
	Content    FramedContent
	Auth       AuthData
}

func ReadAuthenticatedContent(r *Reader) AuthenticatedContent {
	a := AuthenticatedContent{WireFormat: WireFormat(r.Uint16("wire_format")), Content: ReadIn(r, "content", ReadFramedContent)}
	r.In("auth", func(r *Reader) { a.Auth = readAuthData(r, a.Content.Body) })
	return a
}

func ParseAuthenticatedContent(b []byte) (AuthenticatedContent, error) {
	return Parse("AuthenticatedContent", b, ReadAuthenticatedContent)
}

func (a AuthenticatedContent) AppendTo(w *Writer) {
	w.Uint16(uint16(a.WireFormat))
	a.Content.AppendTo(w)
	a.Auth.appendFor(w, a.Content.Body)
}

func (a AuthenticatedContent) Marshal() []byte { return marshal(a) }
