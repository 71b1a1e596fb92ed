package mls_test

import (
	"slices"

	"parley/mls"
	"parley/mls/mlstest"
)

// demandingConfig is of a room that demands much of its members.
func demandingConfig() mlstest.Config {
	required := mls.RequiredCapabilities{
		Extensions: []mls.ExtensionType{mls.ExtensionExternalSenders, 0xf001}, Credentials: []mls.CredentialType{mls.CredentialX509},
		Proposals: []mls.ProposalType{mls.ProposalAdd, mls.ProposalAppDataUpdate, mls.ProposalAppEphemeral},
	}
	components := func(app ...mls.ComponentID) mls.AppDataDictionary {
		return mls.AppDataDictionary{
			{ID: mls.ComponentAppComponents, Data: mls.ComponentsList(app).Marshal()},
			{ID: mls.ComponentSafeAAD, Data: mls.ComponentsList{0x21}.Marshal()},
		}
	}
	leaf := mls.Extensions{
		{Type: mls.ExtensionSupportedWireFormat, Data: mls.WireFormats{0xf003}.Marshal()},
		{Type: mls.ExtensionAppDataDictionary, Data: components(0x20, 0x30).Marshal()},
	}
	return mlstest.Config{Suite: 1, Seed: 5, Members: 5, Parents: true, Epoch: 5,
		Extensions: mls.Extensions{
			{Type: 0xf000, Data: []byte("demanded")},
			{Type: mls.ExtensionRequiredCapabilities, Data: required.Marshal()},
			{Type: mls.ExtensionRequiredWireFormat, Data: mls.WireFormats{mls.WirePublicMessage, 0xf003}.Marshal()},
			{Type: mls.ExtensionAppDataDictionary, Data: components(0x20).With(mlstest.ComponentText, []byte("text")).Marshal()},
		},
		Leaf: func(n *mls.LeafNode) {
			n.Capabilities.Extensions = append(n.Capabilities.Extensions, 0xf000, 0xf001)
			n.Capabilities.Credentials = []mls.CredentialType{mls.CredentialBasic, mls.CredentialX509}
			n.Extensions = slices.Clone(leaf)
		},
	}
}

// framed adds the authenticated data that the demanding room wants.
func framed(p mlstest.Plan) mlstest.Plan {
	p.AuthenticatedData = mls.SafeAAD{}.Marshal()
	return p
}

// without is a list without one value.
func without[T comparable](list []T, gone T) []T {
	return slices.DeleteFunc(slices.Clone(list), func(v T) bool { return v == gone })
}

func (r room) supportChecks() {
	r = r.under("What a leaf has to support (§7.3, §11.1, §13.4, mls-extensions Negotiation)")
	row := func(section, mutation, reason string, change func(*mls.LeafNode)) {
		r.commit(section, mutation, reason, framed(r.addingLeaf(change)))
	}
	row("RFC 9420 §11.1", "the version is not listed", "version mls10", func(n *mls.LeafNode) { n.Capabilities.Versions = nil })
	row("RFC 9420 §11.1", "the suite is not listed", "cipher suite", func(n *mls.LeafNode) { n.Capabilities.Suites = []mls.CipherSuite{2} })
	row("RFC 9420 §13.4", "an extension of the GroupContext is not listed", "extension 0xf000",
		func(n *mls.LeafNode) { n.Capabilities.Extensions = without(n.Capabilities.Extensions, 0xf000) })
	row("RFC 9420 §7.3", "a required extension is not listed", "extension 0xf001",
		func(n *mls.LeafNode) { n.Capabilities.Extensions = without(n.Capabilities.Extensions, 0xf001) })
	row("RFC 9420 §7.3", "a required proposal is not listed", "proposal 0x0009",
		func(n *mls.LeafNode) {
			n.Capabilities.Proposals = without(n.Capabilities.Proposals, mls.ProposalAppEphemeral)
		})
	row("RFC 9420 §7.3", "the required credential is not listed", "credential 0x0002", func(n *mls.LeafNode) { n.Capabilities.Credentials = []mls.CredentialType{mls.CredentialBasic} })
	row("mls-extensions Negotiation", "a required wire format is not listed", "wire format 0xf003",
		func(n *mls.LeafNode) {
			n.Extensions = n.Extensions.With(mls.ExtensionSupportedWireFormat, mls.WireFormats{1}.Marshal())
		})
	component := func(id mls.ComponentID) func(*mls.LeafNode) {
		return func(n *mls.LeafNode) {
			dictionary := part(n.Extensions.Dictionary())
			n.Extensions = n.Extensions.With(mls.ExtensionAppDataDictionary, dictionary.With(id, mls.ComponentsList{0x33}.Marshal()).Marshal())
		}
	}
	row("mls-extensions Negotiation", "a required component is not listed", "the required component 0x0020", component(mls.ComponentAppComponents))
	row("mls-extensions Negotiation", "a component that safe_aad requires is not listed", "safe_aad component 0x0021", component(mls.ComponentSafeAAD))
}

func (r room) contextChecks() {
	r = r.under("GroupContextExtensions (§12.1.7) and what stands in the GroupContext")
	row := func(section, mutation, reason string, t mls.ExtensionType, data []byte) *check {
		return r.commit(section, mutation, reason, mlstest.Plan{Path: true,
			Inline: []mls.Proposal{mls.GroupContextExtensions{Extensions: r.Context().Extensions.With(t, data)}}})
	}
	more := mls.RequiredCapabilities{Proposals: []mls.ProposalType{0xf009}}
	row("RFC 9420 §12.1.7", "an extension that the members do not support", "extension 0xf0f0", 0xf0f0, nil)
	row("RFC 9420 §12.1.7", "a requirement that the members do not meet", "proposal 0xf009", mls.ExtensionRequiredCapabilities, more.Marshal())
	row("RFC 9420 §11.1", "required_capabilities that cannot be read", "cannot be read", mls.ExtensionRequiredCapabilities, []byte{9})
	row("RFC 9420 §12.1.8.1", "external_senders that cannot be read", "cannot be read", mls.ExtensionExternalSenders, []byte{9})
	nobody := mls.ExternalSenders{{SignatureKey: r.Octets(32), Credential: mls.X509Credential{}}}
	row("RFC 9420 §5.3", "an external sender with a chain of no certificates", "no certificate", mls.ExtensionExternalSenders, nobody.Marshal())
	row("mls-extensions Negotiation", "required_wire_formats that cannot be read", "cannot be read", mls.ExtensionRequiredWireFormat, []byte{9})
	row("mls-extensions Negotiation", "an app_data_dictionary that cannot be read", "cannot be read", mls.ExtensionAppDataDictionary, []byte{9}).
		also("mls-extensions Application Data Dictionary")
}
