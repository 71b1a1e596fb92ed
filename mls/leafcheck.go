package mls

import "fmt"

// defaultExtension reports whether every client supports the type, so that it is never listed (RFC 9420 §7.2).
func defaultExtension(t ExtensionType) bool { return t <= ExtensionExternalSenders }

// defaultProposal is the same for proposals.
func defaultProposal(t ProposalType) bool { return t <= ProposalGroupContextExtensions }

// checkAlone verifies what can be said of a leaf without its group (RFC 9420 §7.3): its encryption key, the form of its
// credential, and its extensions. Its signature, which is dear, is checked apart.
func (n *LeafNode) checkAlone(s *Suite) error {
	if !s.ValidHPKEKey(n.EncryptionKey) {
		return invalid("7.1", "the encryption key of the leaf is not a key of the suite")
	}
	if err := checkCredential(n.Credential, n.SignatureKey); err != nil {
		return err
	}
	return n.checkExtensions()
}

func (n *LeafNode) checkExtensions() error {
	for _, e := range n.Extensions {
		if !defaultExtension(e.Type) && !contains(n.Capabilities.Extensions, e.Type) {
			return invalid("7.3", "the leaf has extension 0x%04x and does not list it in its capabilities", uint16(e.Type))
		}
	}
	if _, err := readNegotiated(n.Extensions, ExtensionSupportedWireFormat); err != nil {
		return invalid("7.3", "an extension of the leaf cannot be read: %v", err)
	}
	return nil
}

// contains is slices.Contains for lists that are nearly always short.
func contains[T comparable](list []T, want T) bool {
	for _, v := range list {
		if v == want {
			return true
		}
	}
	return false
}

// requirement is something that every member must support, and why.
type requirement struct {
	code    code
	section func(format string, args ...any) error
	reason  string
}

// requirementsOf lists what a group's parameters demand of each of its members: version and suite (RFC 9420 §11.1), every
// extension in the GroupContext (§13.4), required_capabilities (§7.3), and wire formats and components that are required
// (mls-extensions). The error is *InvalidError for an extension that cannot be read.
func requirementsOf(s *Suite, extensions Extensions) ([]requirement, error) {
	rfc := func(section string) func(string, ...any) error {
		return func(format string, args ...any) error { return invalid(section, format, args...) }
	}
	negotiation := func(format string, args ...any) error { return invalidExtension("Negotiation", format, args...) }
	list := []requirement{
		{kindVersion | code(MLS10), rfc("11.1"), "version mls10"},
		{kindSuite | code(s.ID), rfc("11.1"), fmt.Sprintf("the group's cipher suite 0x%04x", uint16(s.ID))},
	}
	for _, e := range extensions {
		if !defaultExtension(e.Type) {
			list = append(list, requirement{kindExtension | code(e.Type), rfc("13.4"), fmt.Sprintf("extension 0x%04x of the GroupContext", uint16(e.Type))})
		}
	}
	if data, present := extensions.Get(ExtensionRequiredCapabilities); present {
		required, err := ParseRequiredCapabilities(data)
		if err != nil {
			return nil, invalid("11.1", "required_capabilities cannot be read: %v", err)
		}
		add := func(c code, name string, v uint16) {
			list = append(list, requirement{c | code(v), rfc("7.3"), fmt.Sprintf("the required %s 0x%04x", name, v)})
		}
		for _, t := range required.Extensions {
			if !defaultExtension(t) {
				add(kindExtension, "extension", uint16(t))
			}
		}
		for _, t := range required.Proposals {
			if !defaultProposal(t) {
				add(kindProposal, "proposal", uint16(t))
			}
		}
		for _, t := range required.Credentials {
			add(kindCredential, "credential", uint16(t))
		}
	}
	negotiated, err := readNegotiated(extensions, ExtensionRequiredWireFormat)
	if err != nil {
		return nil, invalidExtension("Negotiation", "the GroupContext cannot be read: %v", err)
	}
	for _, c := range negotiated {
		name, v := "component", uint16(c)
		switch c &^ 0xffff {
		case kindWireFormat:
			if name = "wire format"; WireFormat(v) <= WireKeyPackage {
				continue
			}
		case kindSafeAAD:
			name = "safe_aad component"
		}
		list = append(list, requirement{c, negotiation, fmt.Sprintf("the required %s 0x%04x", name, v)})
	}
	if data, present := extensions.Get(ExtensionExternalSenders); present {
		senders, err := ParseExternalSenders(data)
		if err != nil {
			return nil, invalid("12.1.8.1", "external_senders cannot be read: %v", err)
		}
		for _, sender := range senders {
			if err := checkCredential(sender.Credential, sender.SignatureKey); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// checkSupport verifies that every member supports what the group's extensions demand and, both ways, each other's credential
// types (RFC 9420 §7.3). The tree knows that of all of its leaves together. After a change, changed are the leaves that are new
// to it and before is the tree that it was made of: where that met a demand, the culprit is among the former, else it is the
// extensions that demand too much (§12.1.7).
func (t *RatchetTree) checkSupport(s *Suite, extensions Extensions, changed []LeafIndex, before *RatchetTree) error {
	requirements, err := requirementsOf(s, extensions)
	if err != nil || t.MemberCount() == 0 {
		return err
	}
	for _, r := range requirements {
		if !t.root.common.has(r.code) {
			return t.invalidSupport(r, changed, before)
		}
	}
	for _, c := range t.root.credentials.list() {
		if !t.root.common.has(kindCredential | code(c)) {
			return t.invalidCredential(c, changed)
		}
	}
	return nil
}

// invalidSupport refuses a tree in which somebody does not meet a demand.
func (t *RatchetTree) invalidSupport(r requirement, changed []LeafIndex, before *RatchetTree) error {
	if before != nil && !before.root.common.has(r.code) {
		return invalid("12.1.7", "a member does not support %s", r.reason)
	}
	return r.section("a %s does not support %s", t.culprit(changed, r.code), r.reason)
}

// invalidCredential refuses a tree in which somebody does not support a credential type that another has.
func (t *RatchetTree) invalidCredential(c CredentialType, changed []LeafIndex) error {
	if who := t.culprit(changed, kindCredential|code(c)); who != "member" {
		return invalid("7.3", "a %s does not support credential type 0x%04x, which a member has", who, uint16(c))
	}
	return invalid("7.3", "a new leaf has credential type 0x%04x, which a member does not support", uint16(c))
}

// culprit names the changed leaf that does not support something, in a refusal.
func (t *RatchetTree) culprit(changed []LeafIndex, missing code) string {
	for _, i := range changed {
		if n := t.Leaf(i); n != nil && !supportedCodes(n).has(missing) {
			return fmt.Sprintf("new leaf, %d,", i)
		}
	}
	return "member"
}

// verify checks a whole tree, as one who joins must (RFC 9420 §12.4.3.1): its shape, its parent hashes, every key valid and
// standing once, and every leaf by itself. Its hashes must be of the suite.
func (t *RatchetTree) verify(s *Suite, group GroupID) error {
	return t.verifyWith(s, func(i LeafIndex, n *LeafNode) bool { return n.Verify(s, LeafPlace{GroupID: group, Leaf: i}) })
}

// verifyWith is verify with another way to tell whether a leaf's signature is right.
func (t *RatchetTree) verifyWith(s *Suite, signed func(LeafIndex, *LeafNode) bool) (err error) {
	if err := t.checkShape(); err != nil {
		return err
	}
	if err := t.checkParentHashes(s); err != nil {
		return err
	}
	t.indexKeys()
	t.root.each(t.top, func(x NodeIndex, n *treeNode) bool {
		err = t.verifyNode(s, signed, x, n)
		return err == nil
	})
	return err
}

func (t *RatchetTree) verifyNode(s *Suite, signed func(LeafIndex, *LeafNode) bool, x NodeIndex, n *treeNode) error {
	if n.parent != nil {
		switch {
		case !s.ValidHPKEKey(n.parent.EncryptionKey):
			return invalid("7.1", "the encryption key of node %d is not a key of the suite", x)
		case t.keyCount(forEncryption, n.parent.EncryptionKey) != 1:
			return invalid("12.4.3.1", "the encryption key of node %d stands at another node too", x)
		}
		return nil
	}
	if err := n.leaf.checkAlone(s); err != nil {
		return err
	}
	if err := t.checkUnique(x.leaf()); err != nil {
		return err
	}
	if !signed(x.leaf(), n.leaf) {
		return invalid("7.3", "the signature of leaf %d is wrong", x.leaf())
	}
	return nil
}

// checkUnique verifies that nobody else has a leaf's keys (RFC 9420 §7.3), in a tree that is indexed.
func (t *RatchetTree) checkUnique(i LeafIndex) error {
	n := t.Leaf(i)
	switch {
	case t.keyCount(forEncryption, n.EncryptionKey) != 1:
		return invalid("7.3", "the encryption key of leaf %d stands at another node too", i)
	case t.keyCount(forSignature, n.SignatureKey) != 1:
		return invalid("7.3", "the signature key of leaf %d is another member's too", i)
	}
	return nil
}
