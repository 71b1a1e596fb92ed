package inspect

import (
	"crypto/x509"
	"fmt"

	"parley/mls"
)

// describe is what a person wants to know of an object.
func describe(o object) Record {
	switch v := o.value.(type) {
	case *mls.PublicMessage:
		return describePublic(v)
	case *mls.PrivateMessage:
		return describePrivate(v)
	case *mls.Welcome:
		return describeWelcome(v)
	case *mls.GroupInfo:
		return describeGroupInfo(v)
	case *mls.KeyPackage:
		return describeKeyPackage(v)
	case *mls.GroupContext:
		return describeContext(*v)
	case *mls.RatchetTree:
		return describeTree(v)
	default:
		panic(fmt.Sprintf("inspect: a %T was decoded", o.value))
	}
}

func describePublic(m *mls.PublicMessage) Record {
	c := m.Content
	r := Record{
		{"group_id", name(c.GroupID)},
		{"epoch", uint64(c.Epoch)},
		{"sender", sender{c.Sender}},
		{"content_type", ContentName(c.Body.ContentType())},
	}
	if len(c.AuthenticatedData) > 0 {
		r.with("authenticated_data", name(c.AuthenticatedData))
	}
	switch body := c.Body.(type) {
	case mls.Commit:
		r.with("proposals", describeList(body.Proposals))
		if body.Path == nil {
			r.with("path", absent{})
		} else {
			r.with("path", Record{
				{"nodes", len(body.Path.Nodes)},
				{"leaf_node", describeLeaf(body.Path.Leaf)},
			})
		}
		r.with("confirmation_tag", octets(m.Auth.ConfirmationTag))
	case mls.Proposal:
		r.with("proposal", describeProposal(body))
	case mls.ApplicationData:
		r.with("application_data", size(len(body)))
	}
	return r
}

func describeList(proposals []mls.ProposalOrRef) []Record {
	list := make([]Record, len(proposals))
	for i, p := range proposals {
		switch p := p.(type) {
		case mls.InlineProposal:
			list[i] = describeProposal(p.Proposal)
		case mls.ProposalRef:
			list[i] = Record{{"reference", octets(p)}}
		}
	}
	return list
}

func describeProposal(p mls.Proposal) Record {
	r := Record{{"type", named(proposalNames, p.ProposalType())}}
	switch p := p.(type) {
	case mls.Add:
		r = append(r, describeAdded(p.KeyPackage)...)
	case mls.Update:
		r.with("leaf_node", describeLeaf(p.Leaf))
	case mls.Remove:
		r.with("removed", leafIndex(p.Removed))
	case mls.PreSharedKey:
		switch source := p.PSK.Source.(type) {
		case mls.ExternalPSK:
			r.with("psk_id", name(source.ID))
		case mls.ResumptionPSK:
			r.with("usage", int(source.Usage))
			r.with("psk_group_id", name(source.GroupID))
			r.with("psk_epoch", uint64(source.Epoch))
		}
	case mls.ReInit:
		r.with("group_id", name(p.GroupID))
		r.with("cipher_suite", named(suiteNames, p.Suite))
		r.with("extensions", describeExtensions(p.Extensions))
	case mls.ExternalInit:
		r.with("kem_output", octets(p.KEMOutput))
	case mls.GroupContextExtensions:
		r.with("extensions", describeExtensions(p.Extensions))
	case mls.AppDataUpdate:
		r.with("component", named(componentNames, p.Component))
		if update, ok := p.Operation.(mls.ComponentUpdate); ok {
			r.with("update", opaque(update.Update))
		} else {
			r.with("remove", true)
		}
	case mls.AppEphemeral:
		r.with("component", named(componentNames, p.Component))
		r.with("data", opaque(p.Data))
	case mls.SelfRemove:
	}
	return r
}

// describeAdded is a KeyPackage within a Commit, where many may stand, in few lines.
func describeAdded(k mls.KeyPackage) Record {
	r := Record{{"credential", describeCredential(k.Leaf.Credential)}}
	if ref, err := k.Ref(); err == nil {
		r.with("reference", octets(ref))
	}
	if lifetime, ok := k.Lifetime(); ok {
		r.with("not_before", moment(lifetime.NotBefore))
		r.with("not_after", moment(lifetime.NotAfter))
	}
	return r
}

func describePrivate(m *mls.PrivateMessage) Record {
	r := Record{
		{"group_id", name(m.GroupID)},
		{"epoch", uint64(m.Epoch)},
		{"content_type", ContentName(m.ContentType)},
	}
	if len(m.AuthenticatedData) > 0 {
		r.with("authenticated_data", name(m.AuthenticatedData))
	}
	r.with("ciphertext", size(len(m.Ciphertext)))
	return r
}

func describeWelcome(w *mls.Welcome) Record {
	refs := make([]octets, len(w.Secrets))
	for i, ref := range w.Refs() {
		refs[i] = octets(ref)
	}
	return Record{
		{"cipher_suite", named(suiteNames, w.Suite)},
		{"new_members", refs},
		{"encrypted_group_info", size(len(w.EncryptedGroupInfo))},
	}
}

func describeContext(c mls.GroupContext) Record {
	return Record{
		{"cipher_suite", named(suiteNames, c.Suite)},
		{"group_id", name(c.GroupID)},
		{"epoch", uint64(c.Epoch)},
		{"tree_hash", octets(c.TreeHash)},
		{"confirmed_transcript_hash", octets(c.ConfirmedTranscriptHash)},
		{"extensions", describeExtensions(c.Extensions)},
	}
}

func describeGroupInfo(g *mls.GroupInfo) Record {
	r := Record{
		{"group_context", describeContext(g.Context)},
		{"extensions", describeExtensions(g.Extensions)},
		{"confirmation_tag", octets(g.ConfirmationTag)},
		{"signer", leafIndex(g.Signer)},
	}
	if data, embedded := g.Extensions.Get(mls.ExtensionRatchetTree); embedded {
		if tree, err := mls.ParseRatchetTree(data); err == nil {
			r.with("ratchet_tree", describeTree(tree))
		}
	}
	return r
}

func describeKeyPackage(k *mls.KeyPackage) Record {
	r := Record{{"cipher_suite", named(suiteNames, k.Suite)}}
	if ref, err := k.Ref(); err == nil {
		r.with("reference", octets(ref))
	}
	r.with("init_key", octets(k.InitKey))
	r.with("last_resort", k.LastResort())
	r.with("leaf_node", describeLeaf(k.Leaf))
	r.with("extensions", describeExtensions(k.Extensions))
	return r
}

func describeLeaf(n mls.LeafNode) Record {
	r := Record{
		{"credential", describeCredential(n.Credential)},
		{"signature_key", octets(n.SignatureKey)},
		{"encryption_key", octets(n.EncryptionKey)},
	}
	switch source := n.Source.(type) {
	case mls.Lifetime:
		r.with("source", "key_package")
		r.with("not_before", moment(source.NotBefore))
		r.with("not_after", moment(source.NotAfter))
	case mls.LeafUpdate:
		r.with("source", "update")
	case mls.LeafCommit:
		r.with("source", "commit")
		r.with("parent_hash", octets(source.ParentHash))
	}
	r.with("capabilities", Record{
		{"versions", namedAll(versionNames, n.Capabilities.Versions)},
		{"cipher_suites", namedAll(suiteNames, n.Capabilities.Suites)},
		{"extensions", namedAll(extensionNames, n.Capabilities.Extensions)},
		{"proposals", namedAll(proposalNames, n.Capabilities.Proposals)},
		{"credentials", namedAll(credentialNames, n.Capabilities.Credentials)},
	})
	r.with("extensions", describeExtensions(n.Extensions))
	return r
}

// credential is a Credential as one value.
type credential struct {
	Type     code     `json:"type"`
	Identity name     `json:"identity,omitempty"` // of a basic one
	Subjects []string `json:"subjects,omitempty"` // of an x509 chain, the client's own first
}

func describeCredential(c mls.Credential) credential {
	out := credential{Type: named(credentialNames, c.CredentialType())}
	switch c := c.(type) {
	case mls.BasicCredential:
		out.Identity = name(c.Identity)
	case mls.X509Credential:
		for _, der := range c.Certificates {
			subject := "unreadable certificate"
			if certificate, err := x509.ParseCertificate(der); err == nil {
				subject = text([]byte(certificate.Subject.String()))
			}
			out.Subjects = append(out.Subjects, subject)
		}
	}
	return out
}

func (c credential) String() string {
	if c.Subjects != nil {
		return "x509 " + list(c.Subjects)
	}
	return c.Type.Name + " " + text(c.Identity)
}

// Identity is a credential in few words.
func Identity(c mls.Credential) string { return describeCredential(c).String() }

func describeExtensions(extensions mls.Extensions) entries {
	list := make(entries, len(extensions))
	for i, e := range extensions {
		list[i] = entry{named(extensionNames, e.Type), describeExtension(e)}
	}
	return list
}

// describeExtension shows what is known of an extension's data. What cannot be read is shown as such; whether that makes
// its bearer invalid is for the checks to say.
func describeExtension(e mls.Extension) any {
	value, err := readExtension(e)
	if err != nil {
		return "unreadable: " + err.Error()
	}
	return value
}

func readExtension(e mls.Extension) (any, error) {
	switch e.Type {
	case mls.ExtensionApplicationID:
		return name(e.Data), nil
	case mls.ExtensionRequiredCapabilities:
		required, err := mls.ParseRequiredCapabilities(e.Data)
		return Record{
			{"extension_types", namedAll(extensionNames, required.Extensions)},
			{"proposal_types", namedAll(proposalNames, required.Proposals)},
			{"credential_types", namedAll(credentialNames, required.Credentials)},
		}, err
	case mls.ExtensionExternalPub:
		pub, err := mls.ParseExternalPub(e.Data)
		return octets(pub.Key), err
	case mls.ExtensionExternalSenders:
		senders, err := mls.ParseExternalSenders(e.Data)
		list := make([]Record, len(senders))
		for i, s := range senders {
			list[i] = Record{{"credential", describeCredential(s.Credential)}, {"signature_key", octets(s.SignatureKey)}}
		}
		return list, err
	case mls.ExtensionAppDataDictionary:
		dictionary, err := mls.ParseAppDataDictionary(e.Data)
		components := make(entries, len(dictionary))
		for i, c := range dictionary {
			components[i] = entry{named(componentNames, c.ID), describeComponent(c)}
		}
		return components, err
	case mls.ExtensionSupportedWireFormat, mls.ExtensionRequiredWireFormat:
		formats, err := mls.ParseWireFormats(e.Data)
		return namedAll(wireFormatNames, formats), err
	case mls.ExtensionRatchetTree:
		return size(len(e.Data)), nil
	default:
		return opaque(e.Data), nil
	}
}

func describeComponent(c mls.ComponentData) any {
	switch c.ID {
	case mls.ComponentAppComponents, mls.ComponentSafeAAD:
		components, err := mls.ParseComponentsList(c.Data)
		if err != nil {
			return "unreadable: " + err.Error()
		}
		return namedAll(componentNames, components)
	default:
		return opaque(c.Data)
	}
}

// leavesShown bounds how many members of a tree a person sees.
const leavesShown = 20

func describeTree(t *mls.RatchetTree) Record {
	parents, unmerged := countParents(t)
	r := Record{
		{"member_count", t.MemberCount()},
		{"leaf_count", t.LeafCount()},
		{"parent_count", parents},
		{"unmerged_leaf_count", unmerged},
	}
	if suite, _, err := suiteOf(t); err == nil {
		r.with("tree_hash", octets(t.TreeHash(suite)))
	}
	var members memberList
	for i, leaf := range t.Leaves() {
		members = append(members, Record{
			{"leaf", leafIndex(i)}, {"credential", describeCredential(leaf.Credential)}, {"source", sourceName(leaf.Source)},
		})
	}
	r.with("members", members)
	return r
}

func countParents(t *mls.RatchetTree) (parents, unmerged int) {
	for x := 1; x < t.Width(); x += 2 {
		raw := t.Node(mls.NodeIndex(x))
		if raw == nil {
			continue
		}
		parents++
		// The node's type comes first; the tree has been read, so the rest is a ParentNode.
		node := mls.ReadParentNode(mls.NewReader("parent_node", raw[1:]))
		unmerged += len(node.UnmergedLeaves)
	}
	return parents, unmerged
}

func sourceName(s mls.LeafNodeSource) string {
	switch s.(type) {
	case mls.Lifetime:
		return "key_package"
	case mls.LeafUpdate:
		return "update"
	default:
		return "commit"
	}
}
