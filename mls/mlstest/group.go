package mlstest

import (
	"fmt"
	"maps"

	"parley/mls"
)

// Config says what a Group begins with.
type Config struct {
	Suite   mls.CipherSuite
	Seed    uint64
	Members int // at least 1
	// Parents gives every parent node a key, as in a group whose members have all committed: then a path has about one
	// ciphertext a level. Without it all parents are blank, as after a mass of Adds, and a path has one for each member.
	Parents bool
	GroupID mls.GroupID // "simulated" where empty
	Epoch   mls.Epoch
	// Extensions are those of the GroupContext.
	Extensions mls.Extensions
	// Components are components beside those of Components, whose updates the group takes as a hub would.
	Components map[mls.ComponentID]mls.ComponentApplier
	// ExternalSenders is how many the GroupContext lists, in an extension that is added to Extensions.
	ExternalSenders int
	// Leaf, where it is set, changes every leaf of the group before it is signed: what its members support, say.
	Leaf func(*mls.LeafNode)
	// Spoil changes what the group begins with; nil for a group that is right.
	Spoil *Spoil
}

// Spoil changes the parts of a group as it begins, each before what comes after it is computed.
type Spoil struct {
	// Blank leaves a parent out, although the path that made the one above went through it.
	Blank  func(mls.NodeIndex) bool
	Parent func(mls.NodeIndex, *mls.ParentNode)
	Leaf   func(mls.LeafIndex, *mls.LeafNode) // before it is signed, with its parent hash
	Signed func(mls.LeafIndex, *mls.LeafNode)
	Info   func(*mls.GroupInfo) // before it is signed
}

// Group is one epoch of a group as its members know it, but for their secrets. Commit makes the next; a Group itself changes
// only in the Proposals that wait in it.
type Group struct {
	config  Config
	suite   *mls.Suite
	entropy *entropy
	clients map[string]*Client // all that were ever made, by public key
	context mls.GroupContext
	tree    *tree
	tag     []byte // of the Commit that began the epoch
	interim []byte
	senders []*mls.SigningKey
	pending map[mls.ProposalRef]*mls.PublicMessage
	info    mls.GroupInfo
}

// New makes a group at any epoch. The cost is that of one signature and one key for each member.
func New(c Config) (*Group, error) {
	suite, err := c.Suite.Suite()
	switch {
	case err != nil:
		return nil, err
	case c.Members < 1 || c.Members > mls.LeavesMax:
		return nil, fmt.Errorf("a group of %d members cannot be made", c.Members)
	case c.GroupID == "":
		c.GroupID = "simulated"
	}
	if c.Spoil == nil {
		c.Spoil = &Spoil{}
	}
	g := &Group{config: c, suite: suite, entropy: newEntropy(suite, c.Seed), clients: make(map[string]*Client),
		tree: newTree(suite, c.Members), pending: make(map[mls.ProposalRef]*mls.PublicMessage)}
	g.context = mls.GroupContext{Suite: c.Suite, GroupID: c.GroupID, Epoch: c.Epoch, Extensions: c.Extensions}
	if err := g.addSenders(c.ExternalSenders); err != nil {
		return nil, err
	}
	if err := g.fill(g.tree.root(), nil); err != nil {
		return nil, err
	}
	g.context.TreeHash = g.tree.hash(g.tree.root())
	if c.Epoch > 0 {
		g.context.ConfirmedTranscriptHash = g.entropy.tag()
	}
	g.tag = g.entropy.tag()
	g.interim = suite.InterimTranscriptHash(g.context.ConfirmedTranscriptHash, g.tag)
	g.info, err = g.sign(0, c.Spoil.Info)
	return g, err
}

func (g *Group) addSenders(count int) error {
	var list mls.ExternalSenders
	for i := range count {
		key, err := mls.GenerateSigningKey(g.suite.Scheme, g.entropy)
		if err != nil {
			return err
		}
		g.senders = append(g.senders, key)
		list = append(list, mls.ExternalSender{
			SignatureKey: key.Public(), Credential: mls.BasicCredential{Identity: fmt.Appendf(nil, "mimi://hub%d.example", i)},
		})
	}
	if count > 0 {
		g.context.Extensions = g.context.Extensions.With(mls.ExtensionExternalSenders, list.Marshal())
	}
	return nil
}

// fill makes the subtree under x. above is the parent hash that its topmost node has to have, where the path that made the node
// above went through this subtree; nil where it did not, and then any is as good, for the node above has since been replaced.
func (g *Group) fill(x index, above []byte) error {
	if level(x) == 0 {
		return g.fillLeaf(leafOf(x), above)
	}
	first := int(x) - (1<<level(x) - 1)
	if first/2 >= g.config.Members {
		return nil
	}
	right := rightOf(x)
	if err := g.fill(right, nil); err != nil {
		return err
	}
	if !g.config.Parents {
		return g.fill(leftOf(x), nil)
	}
	blank := g.config.Spoil.Blank
	if g.tree.blank(right) || blank != nil && blank(x) { // x is not in the filtered direct path of anyone
		return g.fill(leftOf(x), above)
	}
	if above == nil && x != g.tree.root() {
		above = g.entropy.tag()
	}
	p := mls.ParentNode{EncryptionKey: g.entropy.hpkeKey(), ParentHash: above}
	if g.config.Spoil.Parent != nil {
		g.config.Spoil.Parent(x, &p)
	}
	if err := g.fill(leftOf(x), g.tree.parentHash(p, right)); err != nil {
		return err
	}
	g.tree.nodes[x] = newParent(p)
	return nil
}

func (g *Group) fillLeaf(i mls.LeafIndex, above []byte) error {
	if int(i) >= g.config.Members {
		return nil
	}
	member, err := g.Client(fmt.Sprint(i))
	if err != nil {
		return err
	}
	source := mls.LeafNodeSource(mls.LeafCommit{ParentHash: above})
	if above == nil {
		source = mls.Lifetime{NotBefore: Now - hourSeconds, NotAfter: Now + 90*daySeconds}
	}
	leaf := g.leaf(member, source)
	if g.config.Spoil.Leaf != nil {
		g.config.Spoil.Leaf(i, &leaf)
	}
	if err := leaf.Sign(g.keyOf(&leaf, member), mls.LeafPlace{GroupID: g.context.GroupID, Leaf: i}); err != nil {
		return err
	}
	if g.config.Spoil.Signed != nil {
		g.config.Spoil.Signed(i, &leaf)
	}
	g.tree.nodes[i.Node()] = newLeaf(leaf)
	return nil
}

// sign makes the epoch's GroupInfo, with an external_pub and no tree. A change is made before it is signed.
func (g *Group) sign(signer mls.LeafIndex, change func(*mls.GroupInfo)) (mls.GroupInfo, error) {
	info := mls.GroupInfo{
		Context:         g.context,
		Extensions:      mls.Extensions{{Type: mls.ExtensionExternalPub, Data: mls.ExternalPub{Key: g.entropy.hpkeKey()}.Marshal()}},
		ConfirmationTag: g.tag, Signer: signer,
	}
	if change != nil {
		change(&info)
	}
	c := g.Member(signer)
	if c == nil { // the committer has removed itself, and nobody can sign
		return info, nil
	}
	return info, info.Sign(c.Key)
}

// Suite is the group's.
func (g *Group) Suite() *mls.Suite { return g.suite }

// Epoch is the present one.
func (g *Group) Epoch() mls.Epoch { return g.context.Epoch }

// Context is the present GroupContext; its slices must not be written to.
func (g *Group) Context() mls.GroupContext { return g.context }

// GroupInfo is the present epoch's, signed by its committer.
func (g *Group) GroupInfo() mls.GroupInfo { return g.info }

// Tree is the encoded ratchet_tree.
func (g *Group) Tree() []byte { return g.tree.marshal() }

// Member is the client at a leaf; nil where the leaf is blank or its key is nobody's.
func (g *Group) Member(i mls.LeafIndex) *Client {
	if leaf := g.tree.leaf(i); leaf != nil {
		return g.clients[string(leaf.SignatureKey)]
	}
	return nil
}

// Leaf is what stands at a leaf; nil where it is blank. It must not be written to.
func (g *Group) Leaf(i mls.LeafIndex) *mls.LeafNode { return g.tree.leaf(i) }

// Parent is the parent node at a place in the tree; nil where it is blank or a leaf's.
func (g *Group) Parent(x mls.NodeIndex) *mls.ParentNode {
	if int(x) < len(g.tree.nodes) && g.tree.nodes[x] != nil {
		return g.tree.nodes[x].parent
	}
	return nil
}

// Root is the place of the root.
func (g *Group) Root() mls.NodeIndex { return g.tree.root() }

// Leaves lists where the members are, from the left.
func (g *Group) Leaves() (list []mls.LeafIndex) {
	for x := 0; x < len(g.tree.nodes); x += 2 {
		if g.tree.nodes[x] != nil {
			list = append(list, leafOf(index(x)))
		}
	}
	return list
}

// Public is the group as a hub takes it up: from its GroupInfo and its encoded tree.
func (g *Group) Public() (*mls.PublicGroup, error) {
	tree, err := mls.ParseRatchetTree(g.Tree())
	if err != nil {
		return nil, err
	}
	return mls.NewPublicGroup(g.info, tree)
}

// Input is what a hub judges a Commit of this epoch with: the Proposals that wait, its components, the time Now.
func (g *Group) Input() mls.CommitInput {
	return mls.CommitInput{
		AtSeconds: Now, Components: g.components(), Leaving: g.leaving,
		Proposals: func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
			m, waits := g.pending[ref]
			return m, waits
		},
	}
}

// leaving reports whether a SelfRemove of a member waits.
func (g *Group) leaving(i mls.LeafIndex) bool {
	for _, m := range g.pending {
		if _, ok := m.Content.Body.(mls.SelfRemove); ok && m.Content.Sender == mls.Sender(mls.MemberSender{Leaf: i}) {
			return true
		}
	}
	return false
}

// next is a copy to be made into the next epoch.
func (g *Group) next() *Group {
	n := *g
	n.tree, n.pending = g.tree.clone(), make(map[mls.ProposalRef]*mls.PublicMessage)
	return &n
}

// Fork is a copy with a source of entropy of its own: it goes its own way from here, and may be used beside the group.
func (g *Group) Fork(seed uint64) *Group {
	n := g.next()
	n.entropy, n.clients, n.pending = newEntropy(g.suite, seed), maps.Clone(g.clients), maps.Clone(g.pending)
	return n
}
