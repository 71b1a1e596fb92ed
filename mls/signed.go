package mls

// What each signed structure is signed over, by its label.

const (
	labelFramedContent = "FramedContentTBS"
	labelLeafNode      = "LeafNodeTBS"
	labelKeyPackage    = "KeyPackageTBS"
	labelGroupInfo     = "GroupInfoTBS"
)

// LeafPlace is where a leaf of source update or commit stands; its signature covers that (RFC 9420 §7.2). It is not used for
// a leaf of a KeyPackage.
type LeafPlace struct {
	GroupID GroupID
	Leaf    LeafIndex
}

// signedBytes is LeafNodeTBS.
//
//	struct {
//	    ... all of LeafNode but its signature ...
//	    select (LeafNodeTBS.leaf_node_source) {
//	        case key_package: struct{};
//	        case update:
//	        case commit:      opaque group_id<V>; uint32 leaf_index;
//	    };
//	} LeafNodeTBS;
func (n LeafNode) signedBytes(at LeafPlace) []byte {
	w := newWriter(512)
	n.appendUnsigned(w)
	if _, packaged := n.Source.(Lifetime); !packaged {
		w.Opaque([]byte(at.GroupID))
		w.Uint32(uint32(at.Leaf))
	}
	return w.Bytes()
}

// Verify checks the leaf's signature by its own key.
func (n LeafNode) Verify(s *Suite, at LeafPlace) bool {
	return s.VerifyWithLabel(n.SignatureKey, labelLeafNode, n.signedBytes(at), n.Signature)
}

// Sign sets the leaf's signature.
func (n *LeafNode) Sign(key *SigningKey, at LeafPlace) (err error) {
	n.Signature, err = key.SignWithLabel(labelLeafNode, n.signedBytes(at))
	return err
}

// Verify checks the KeyPackage by itself (RFC 9420 §10.1): suite, both signatures, source, lifetime at a time in seconds
// since 1970, and that init_key and encryption_key differ. The error is an *InvalidError. Whether it fits a group is not
// asked.
func (k KeyPackage) Verify(atSeconds uint64) error {
	s, err := k.Suite.Suite()
	if err != nil {
		return err
	}
	lifetime, packaged := k.Lifetime()
	var tbs Writer
	k.appendUnsigned(&tbs)
	switch {
	case !packaged:
		return invalid("10.1", "the leaf of a KeyPackage has another source")
	case !lifetime.Contains(atSeconds):
		return invalid("7.3", "the KeyPackage is for %d to %d, and it is %d", lifetime.NotBefore, lifetime.NotAfter, atSeconds)
	case string(k.InitKey) == string(k.Leaf.EncryptionKey):
		return invalid("10.1", "init_key and encryption_key are the same")
	case !s.ValidHPKEKey(k.InitKey):
		return invalid("10", "init_key is not a key of the suite")
	case !k.Leaf.Verify(s, LeafPlace{}):
		return invalid("7.3", "the signature of the KeyPackage's leaf is wrong")
	case !s.VerifyWithLabel(k.Leaf.SignatureKey, labelKeyPackage, tbs.Bytes(), k.Signature):
		return invalid("10.1", "the signature of the KeyPackage is wrong")
	}
	if err := k.checkLastResort(); err != nil {
		return err
	}
	return k.Leaf.checkAlone(s)
}

// Sign sets the KeyPackage's signature; the leaf must be signed before.
func (k *KeyPackage) Sign(key *SigningKey) (err error) {
	var tbs Writer
	k.appendUnsigned(&tbs)
	k.Signature, err = key.SignWithLabel(labelKeyPackage, tbs.Bytes())
	return err
}

// Verify checks the GroupInfo's signature by its signer's key.
func (g GroupInfo) Verify(s *Suite, signerKey []byte) bool {
	var tbs Writer
	g.appendUnsigned(&tbs)
	return s.VerifyWithLabel(signerKey, labelGroupInfo, tbs.Bytes(), g.Signature)
}

// Sign sets the GroupInfo's signature.
func (g *GroupInfo) Sign(key *SigningKey) (err error) {
	var tbs Writer
	g.appendUnsigned(&tbs)
	g.Signature, err = key.SignWithLabel(labelGroupInfo, tbs.Bytes())
	return err
}

// signedBytes is FramedContentTBS (RFC 9420 §6.1). The GroupContext of the message's epoch is in it for members and for those
// who join by their own Commit.
//
//	struct {
//	    ProtocolVersion version = mls10;
//	    WireFormat wire_format;
//	    FramedContent content;
//	    select (FramedContentTBS.content.sender.sender_type) {
//	        case member:
//	        case new_member_commit:   GroupContext context;
//	        case external:
//	        case new_member_proposal: struct{};
//	    };
//	} FramedContentTBS;
func (a AuthenticatedContent) signedBytes(context []byte) []byte {
	w := newWriter(1024 + len(context))
	w.Uint16(uint16(MLS10))
	w.Uint16(uint16(a.WireFormat))
	a.Content.AppendTo(w)
	switch a.Content.Sender.(type) {
	case MemberSender, NewMemberCommit:
		w.Fixed(context)
	case ExternalSenderIndex, NewMemberProposal:
	}
	return w.Bytes()
}

// Verify checks the content's signature by the sender's key; context is the encoded GroupContext of the message's epoch.
func (a AuthenticatedContent) Verify(s *Suite, senderKey, context []byte) bool {
	return s.VerifyWithLabel(senderKey, labelFramedContent, a.signedBytes(context), a.Auth.Signature)
}

// Sign sets the message's signature; context is the encoded GroupContext of the message's epoch.
func (m *PublicMessage) Sign(key *SigningKey, context []byte) (err error) {
	m.Auth.Signature, err = key.SignWithLabel(labelFramedContent, m.Authenticated().signedBytes(context))
	return err
}
