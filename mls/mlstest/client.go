package mlstest

import (
	"fmt"

	"parley/mls"
)

// Now is the time of every simulation, in seconds since 1970: within the lifetime of the KeyPackages that a Group makes.
const Now = 1_800_000_000

const (
	hourSeconds = 3600
	daySeconds  = 24 * hourSeconds
)

// Client is one that can be in a group. Its name becomes its identity, a MIMI client URI.
type Client struct {
	Name string
	Key  *mls.SigningKey
}

// Client makes one that is in no group yet. The group knows it by its key from then on, so that a Commit can bring it in.
func (g *Group) Client(name string) (*Client, error) {
	key, err := mls.GenerateSigningKey(g.suite.Scheme, g.entropy)
	if err != nil {
		return nil, err
	}
	c := &Client{Name: name, Key: key}
	g.clients[string(key.Public())] = c
	return c, nil
}

// keyOf is the key that signs for a leaf: that of the client with its signature key, or of another where nobody has it.
func (g *Group) keyOf(leaf *mls.LeafNode, other *Client) *mls.SigningKey {
	if leaf != nil {
		if c := g.clients[string(leaf.SignatureKey)]; c != nil {
			return c.Key
		}
	}
	return other.Key
}

// leaf is a client's leaf with a new encryption key, not yet signed. It supports what mls-extensions adds, so that every
// Proposal may be made.
func (g *Group) leaf(c *Client, source mls.LeafNodeSource) mls.LeafNode {
	leaf := mls.LeafNode{
		EncryptionKey: g.entropy.hpkeKey(),
		SignatureKey:  c.Key.Public(),
		Credential:    mls.BasicCredential{Identity: []byte("mimi://sim.example/d/" + c.Name)},
		Capabilities: mls.Capabilities{
			Versions: []mls.Version{mls.MLS10}, Suites: []mls.CipherSuite{g.suite.ID}, Credentials: []mls.CredentialType{mls.CredentialBasic},
			Extensions: []mls.ExtensionType{
				mls.ExtensionAppDataDictionary, mls.ExtensionSupportedWireFormat, mls.ExtensionRequiredWireFormat,
			},
			Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalAppEphemeral, mls.ProposalSelfRemove},
		},
		Source: source,
	}
	if g.config.Leaf != nil {
		g.config.Leaf(&leaf)
	}
	return leaf
}

// KeyPackage makes one for the group's suite, good from an hour before Now for 90 days. A change is made before it is signed.
func (g *Group) KeyPackage(c *Client, change ...func(*mls.KeyPackage)) (mls.KeyPackage, error) {
	lifetime := mls.Lifetime{NotBefore: Now - hourSeconds, NotAfter: Now + 90*daySeconds}
	kp := mls.KeyPackage{Suite: g.suite.ID, InitKey: g.entropy.hpkeKey(), Leaf: g.leaf(c, lifetime)}
	for _, f := range change {
		f(&kp)
	}
	if err := kp.Leaf.Sign(c.Key, mls.LeafPlace{}); err != nil {
		return kp, err
	}
	return kp, kp.Sign(c.Key)
}

// Add makes the Proposal that adds a new client of this name.
func (g *Group) Add(name string, change ...func(*mls.KeyPackage)) (mls.Add, error) {
	c, err := g.Client(name)
	if err != nil {
		return mls.Add{}, err
	}
	kp, err := g.KeyPackage(c, change...)
	return mls.Add{KeyPackage: kp}, err
}

// Update makes the Proposal by which a member renews its leaf, changed before it is signed.
func (g *Group) Update(at mls.LeafIndex, change ...func(*mls.LeafNode)) (mls.Update, error) {
	c := g.Member(at)
	if c == nil {
		return mls.Update{}, fmt.Errorf("leaf %d is no member, and has nothing to update", at)
	}
	leaf := g.leaf(c, mls.LeafUpdate{})
	for _, f := range change {
		f(&leaf)
	}
	err := leaf.Sign(g.keyOf(&leaf, c), mls.LeafPlace{GroupID: g.context.GroupID, Leaf: at})
	return mls.Update{Leaf: leaf}, err
}
