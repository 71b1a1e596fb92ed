package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// MemberName is what the credential of a local member's leaf calls its holder, in canonical form: a client's URI, or a user's where
// credentials name users alone. Under it a client has its inbox; clients of which only the user can be told share that one's.
type MemberName string

// NameOfClient is the name of a client.
func NameOfClient(c mimi.ClientURI) MemberName { return MemberName(c.String()) }

// NameOfUser is the name of the clients of a user that credentials do not tell apart.
func NameOfUser(u mimi.UserURI) MemberName { return MemberName(u.String()) }

// SlotOfMember is the slot that knows in which rooms a member of this name has an inbox.
func SlotOfMember(name MemberName) SlotID { return slotOf(string(name)) }

// namedMember is a leaf of a ratchet tree that names somebody of this provider.
type namedMember struct {
	leaf   mls.LeafIndex
	name   MemberName
	called MemberName // what the credential says
}

// localName is the name in a credential, if it is of this provider.
func (t *tx) localName(credential mls.Credential) MemberName {
	basic, ok := credential.(mls.BasicCredential)
	if !ok {
		return ""
	}
	identity, err := mimi.ParseIdentityURI(basic.Identity)
	if err != nil || !t.isLocal(identity.Provider()) {
		return ""
	}
	return MemberName(identity.String())
}

// nameInNode is the local name in a leaf as it stands in the tree's array (RFC 9420 §7.8); none where the node is blank. What is not a
// leaf was never let in by a judge, and names nobody.
func (t *tx) nameInNode(node []byte) MemberName {
	const leafNode = 1 // the node's type
	if len(node) == 0 || node[0] != leafNode {
		return ""
	}
	leaf, err := mls.Parse("LeafNode", node[1:], mls.ReadLeafNode)
	if err != nil {
		return ""
	}
	return t.localName(leaf.Credential)
}
