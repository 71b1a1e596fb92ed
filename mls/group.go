package mls

import (
	"bytes"
	"fmt"
	"iter"
)

// PublicGroup is one epoch of a group as those see it who hold none of its secrets: a hub. It never changes: Stage makes the
// next one. It may be used concurrently.
type PublicGroup struct {
	suite        *Suite
	context      GroupContext
	contextBytes []byte
	tree         *RatchetTree // its TreeHash has run, and its keys are indexed
	interim      []byte
	safeAAD      bool // the GroupContext has the safe_aad component
	ended        bool // by a ReInit
}

// NewPublicGroup takes up a group at any epoch from a GroupInfo and its tree, and checks them as one who joins would
// (RFC 9420 §12.4.3.1): the tree is the one that the GroupInfo hashes, sound in itself, and every member supports what the
// group demands; the GroupInfo is signed by its signer's leaf. The errors are *InvalidError. It keeps both arguments.
func NewPublicGroup(info GroupInfo, tree *RatchetTree) (*PublicGroup, error) {
	suite, err := info.Context.Suite.Suite()
	if err != nil {
		return nil, err
	}
	g, err := newGroup(suite, info.Context, tree, suite.InterimTranscriptHash(info.Context.ConfirmedTranscriptHash, info.ConfirmationTag))
	if err != nil {
		return nil, err
	}
	if len(info.ConfirmationTag) != suite.HashBytes() {
		return nil, invalid("12.4.3", "the GroupInfo's confirmation tag has %d bytes", len(info.ConfirmationTag))
	}
	if err := g.checkSigner(info); err != nil {
		return nil, err
	}
	if err := tree.verify(suite, info.Context.GroupID); err != nil {
		return nil, err
	}
	return g, tree.checkSupport(suite, info.Context.Extensions, nil, nil)
}

// RestorePublicGroup takes up an epoch from what an earlier PublicGroup gave out: ContextBytes, Tree and
// InterimTranscriptHash. It checks that the tree is the one that the context hashes; the rest was checked when the
// group was taken up and at each Commit.
func RestorePublicGroup(context []byte, tree *RatchetTree, interim []byte) (*PublicGroup, error) {
	c, err := ParseGroupContext(context)
	if err != nil {
		return nil, err
	}
	suite, err := c.Suite.Suite()
	if err != nil {
		return nil, err
	}
	return newGroup(suite, c, tree, interim)
}

func newGroup(suite *Suite, context GroupContext, tree *RatchetTree, interim []byte) (*PublicGroup, error) {
	if !bytes.Equal(tree.TreeHash(suite), context.TreeHash) {
		return nil, invalid("12.4.3.1", "the tree is not the one that the GroupContext hashes")
	}
	if err := tree.checkShape(); err != nil {
		return nil, err
	}
	return completed(&PublicGroup{suite: suite, context: context, tree: tree, interim: interim})
}

// completed derives what a group keeps of its context and tree.
func completed(g *PublicGroup) (*PublicGroup, error) {
	g.tree.indexKeys()
	g.contextBytes = g.context.Marshal()
	dictionary, err := g.context.Extensions.Dictionary()
	if err != nil {
		return nil, invalidExtension("Application Data Dictionary", "the GroupContext cannot be read: %v", err)
	}
	_, g.safeAAD = dictionary.Get(ComponentSafeAAD)
	return g, nil
}

func (g *PublicGroup) Suite() *Suite { return g.suite }

// Context is the epoch's GroupContext; its slices must not be written to.
func (g *PublicGroup) Context() GroupContext { return g.context }

// ContextBytes is the encoded GroupContext.
func (g *PublicGroup) ContextBytes() []byte { return g.contextBytes }

func (g *PublicGroup) Tree() *RatchetTree { return g.tree }

// InterimTranscriptHash is what the next Commit's transcript begins with (RFC 9420 §8.2).
func (g *PublicGroup) InterimTranscriptHash() []byte { return g.interim }

func (g *PublicGroup) Epoch() Epoch     { return g.context.Epoch }
func (g *PublicGroup) GroupID() GroupID { return g.context.GroupID }

// Members ranges over the members' leaves.
func (g *PublicGroup) Members() iter.Seq2[LeafIndex, *LeafNode] { return g.tree.Leaves() }

// Member finds the member with this signature key and credential; false where there is none. It looks at every leaf.
func (g *PublicGroup) Member(signatureKey []byte, credential Credential) (LeafIndex, bool) {
	for i, leaf := range g.tree.Leaves() {
		if bytes.Equal(leaf.SignatureKey, signatureKey) && SameCredential(leaf.Credential, credential) {
			return i, true
		}
	}
	return 0, false
}

// ExternalSenders is the list in the GroupContext, empty where it has none. The error is a *MalformedError.
func (g *PublicGroup) ExternalSenders() (ExternalSenders, error) {
	data, present := g.context.Extensions.Get(ExtensionExternalSenders)
	if !present {
		return nil, nil
	}
	return ParseExternalSenders(data)
}

// RequiredCapabilities is the list in the GroupContext, empty where it has none. The error is a *MalformedError.
func (g *PublicGroup) RequiredCapabilities() (RequiredCapabilities, error) {
	data, present := g.context.Extensions.Get(ExtensionRequiredCapabilities)
	if !present {
		return RequiredCapabilities{}, nil
	}
	return ParseRequiredCapabilities(data)
}

// CheckGroupInfo verifies a GroupInfo that a member published for this epoch: the same GroupContext byte for byte, the
// Commit's confirmation tag, signed by a member, an external_pub so that others can join (RFC 9420 §12.4.3.2), and no
// ratchet_tree, which travels beside it in MIMI. The errors are *InvalidError or, for an unreadable extension, *MalformedError.
func (g *PublicGroup) CheckGroupInfo(info GroupInfo) error {
	pub, present := info.Extensions.Get(ExtensionExternalPub)
	_, embedded := info.Extensions.Get(ExtensionRatchetTree)
	switch {
	case !bytes.Equal(info.Context.Marshal(), g.contextBytes):
		return invalid("12.4.3", "the GroupInfo's GroupContext is not this epoch's: %s differs", g.context.difference(info.Context))
	case !bytes.Equal(g.suite.InterimTranscriptHash(g.context.ConfirmedTranscriptHash, info.ConfirmationTag), g.interim):
		return invalid("12.4.3", "the GroupInfo's confirmation tag is not the Commit's")
	case !present:
		return invalid("12.4.3.2", "the GroupInfo has no external_pub")
	case embedded:
		return invalid("12.4.3.3", "the GroupInfo carries a ratchet_tree")
	}
	key, err := ParseExternalPub(pub)
	switch {
	case err != nil:
		return err
	case !g.suite.ValidHPKEKey(key.Key):
		return invalid("12.4.3.2", "external_pub is not a key of the suite")
	}
	return g.checkSigner(info)
}

// checkSigner verifies a GroupInfo's signature by the leaf that it names.
func (g *PublicGroup) checkSigner(info GroupInfo) error {
	signer := g.tree.Leaf(info.Signer)
	switch {
	case signer == nil:
		return invalid("12.4.3", "the GroupInfo's signer %d is not a member", info.Signer)
	case !info.Verify(g.suite, signer.SignatureKey):
		return invalid("12.4.3", "the signature of the GroupInfo is wrong")
	}
	return nil
}

// CheckTree verifies that a tree from elsewhere is this epoch's.
func (g *PublicGroup) CheckTree(tree *RatchetTree) error {
	if !bytes.Equal(tree.TreeHash(g.suite), g.context.TreeHash) {
		return invalid("7.8", "the tree is not this epoch's: its hash differs")
	}
	return nil
}

// difference names the first field in which two contexts differ, for a refusal.
func (c GroupContext) difference(d GroupContext) string {
	switch {
	case c.Suite != d.Suite:
		return "cipher_suite"
	case c.GroupID != d.GroupID:
		return "group_id"
	case c.Epoch != d.Epoch:
		return fmt.Sprintf("epoch (%d, not %d)", d.Epoch, c.Epoch)
	case !bytes.Equal(c.TreeHash, d.TreeHash):
		return "tree_hash"
	case !bytes.Equal(c.ConfirmedTranscriptHash, d.ConfirmedTranscriptHash):
		return "confirmed_transcript_hash"
	default:
		return "extensions"
	}
}
