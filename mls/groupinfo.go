package mls

// GroupContext is what all members of an epoch agree on (RFC 9420 §8.1).
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    CipherSuite cipher_suite;
//	    opaque group_id<V>;
//	    uint64 epoch;
//	    opaque tree_hash<V>;
//	    opaque confirmed_transcript_hash<V>;
//	    Extension extensions<V>;
//	} GroupContext;
type GroupContext struct {
	Suite                   CipherSuite
	GroupID                 GroupID
	Epoch                   Epoch
	TreeHash                []byte
	ConfirmedTranscriptHash []byte
	Extensions              Extensions
}

func ReadGroupContext(r *Reader) GroupContext {
	readVersion(r, "version")
	return GroupContext{
		Suite:                   CipherSuite(r.Uint16("cipher_suite")),
		GroupID:                 GroupID(r.Opaque("group_id")),
		Epoch:                   Epoch(r.Uint64("epoch")),
		TreeHash:                r.Opaque("tree_hash"),
		ConfirmedTranscriptHash: r.Opaque("confirmed_transcript_hash"),
		Extensions:              ReadIn(r, "extensions", ReadExtensions),
	}
}

func ParseGroupContext(b []byte) (GroupContext, error) {
	return Parse("GroupContext", b, ReadGroupContext)
}

func (c GroupContext) AppendTo(w *Writer) {
	w.Uint16(uint16(MLS10))
	w.Uint16(uint16(c.Suite))
	w.Opaque([]byte(c.GroupID))
	w.Uint64(uint64(c.Epoch))
	w.Opaque(c.TreeHash)
	w.Opaque(c.ConfirmedTranscriptHash)
	c.Extensions.AppendTo(w)
}

func (c GroupContext) Marshal() []byte { return marshal(c) }

// GroupInfo is a member's statement of an epoch, for those who join (RFC 9420 §12.4.3).
//
//	struct {
//	    GroupContext group_context;
//	    Extension extensions<V>;
//	    MAC confirmation_tag;
//	    uint32 signer;
//	    opaque signature<V>; // SignWithLabel(., "GroupInfoTBS", GroupInfoTBS)
//	} GroupInfo;
type GroupInfo struct {
	Context         GroupContext
	Extensions      Extensions
	ConfirmationTag []byte
	Signer          LeafIndex
	Signature       []byte
}

func ReadGroupInfo(r *Reader) GroupInfo {
	return GroupInfo{
		Context:         ReadIn(r, "group_context", ReadGroupContext),
		Extensions:      ReadIn(r, "extensions", ReadExtensions),
		ConfirmationTag: r.Opaque("confirmation_tag"),
		Signer:          LeafIndex(r.Uint32("signer")),
		Signature:       r.Opaque("signature"),
	}
}

func ParseGroupInfo(b []byte) (GroupInfo, error) { return Parse("GroupInfo", b, ReadGroupInfo) }

func (g GroupInfo) AppendTo(w *Writer) {
	g.appendUnsigned(w)
	w.Opaque(g.Signature)
}

func (g GroupInfo) Marshal() []byte { return marshal(g) }

// appendUnsigned appends GroupInfoTBS: all but the signature.
func (g GroupInfo) appendUnsigned(w *Writer) {
	g.Context.AppendTo(w)
	g.Extensions.AppendTo(w)
	w.Opaque(g.ConfirmationTag)
	w.Uint32(uint32(g.Signer))
}
