package policy

import (
	"fmt"
	"slices"

	"parley/mls"
)

// CheckFraming holds a handshake message to handshake_formats (room-policy-03 §7.1); an empty list allows any. The error is a *Refusal.
func (p *Policy) CheckFraming(format mls.WireFormat) error {
	if p.operational == nil || len(p.operational.HandshakeFormats) == 0 || lists(p.operational.HandshakeFormats, format) {
		return nil
	}
	return refuse("the room's operational policy takes no handshakes in the wire format %d", uint16(format))
}

// CheckAdded holds a KeyPackage that is added to the room's operational policy (room-policy-03 §7.1): what its leaf supports, and for how
// long it is meant to be valid. The error is a *Refusal or a *mls.MalformedError.
func (p *Policy) CheckAdded(k mls.KeyPackage) error {
	if p.operational == nil {
		return nil
	}
	longest := p.operational.KeyPackageLifetimeMax
	if lifetime, present := k.Lifetime(); present && longest > 0 && lifetime.NotAfter-lifetime.NotBefore > longest {
		return refuse("the KeyPackage is meant to be valid for %d s, and the room's operational policy allows %d (max_kp_lifetime)",
			lifetime.NotAfter-lifetime.NotBefore, longest)
	}
	return p.CheckLeaf(k.Leaf)
}

// CheckLeaf holds a new leaf to the capabilities that the room's operational policy demands and forbids. Of the media types and content
// types in them a hub sees nothing. The error is a *Refusal or a *mls.MalformedError.
func (p *Policy) CheckLeaf(leaf mls.LeafNode) error {
	if p.operational == nil {
		return nil
	}
	has, err := supportOf(leaf)
	if err != nil {
		return err
	}
	mandatory, forbidden := p.operational.Mandatory, p.operational.Forbidden
	for _, need := range namesOf(mandatory.Leaf, mandatory.WireFormats, mandatory.Components, mandatory.SafeAAD) {
		if !has[need] && !byDefault(need) {
			return refuse("the client does not support %s, which the room's operational policy demands", need)
		}
	}
	for _, unwanted := range namesOf(forbidden.Leaf, forbidden.WireFormats, forbidden.Components, forbidden.SafeAAD) {
		if has[unwanted] {
			return refuse("the client supports %s, which the room's operational policy forbids", unwanted)
		}
	}
	return nil
}

// feature is one thing that a leaf may list.
type feature struct {
	kind string
	code uint16
}

func (f feature) String() string { return fmt.Sprintf("the %s 0x%04x", f.kind, f.code) }

const (
	featureVersion    = "protocol version"
	featureSuite      = "cipher suite"
	featureExtension  = "extension"
	featureProposal   = "proposal"
	featureCredential = "credential"
	featureWireFormat = "wire format"
	featureComponent  = "component"
	featureSafeAAD    = "safe_aad component"
)

// byDefault reports whether every client supports a thing without listing it (RFC 9420 §7.2; mls-extensions, wire formats).
func byDefault(f feature) bool {
	switch f.kind {
	case featureExtension:
		return f.code <= uint16(mls.ExtensionExternalSenders)
	case featureProposal:
		return f.code <= uint16(mls.ProposalGroupContextExtensions)
	case featureWireFormat:
		return f.code <= uint16(mls.WireKeyPackage)
	default:
		return false
	}
}

func namesOf(c mls.Capabilities, formats []mls.WireFormats, components, safeAAD []mls.ComponentID) []feature {
	list := features(featureVersion, c.Versions)
	list = append(list, features(featureSuite, c.Suites)...)
	list = append(list, features(featureExtension, c.Extensions)...)
	list = append(list, features(featureProposal, c.Proposals)...)
	list = append(list, features(featureCredential, c.Credentials)...)
	for _, f := range formats {
		list = append(list, features(featureWireFormat, f)...)
	}
	list = append(list, features(featureComponent, components)...)
	return append(list, features(featureSafeAAD, safeAAD)...)
}

func features[T ~uint16](kind string, codes []T) (list []feature) {
	for _, code := range codes {
		list = append(list, feature{kind, uint16(code)})
	}
	return list
}

// supportOf is what a leaf lists: in its capabilities, and in the extensions and components that mls-extensions has for the rest.
func supportOf(leaf mls.LeafNode) (map[feature]bool, error) {
	var formats mls.WireFormats
	if data, present := leaf.Extensions.Get(mls.ExtensionSupportedWireFormat); present {
		var err error
		if formats, err = mls.ParseWireFormats(data); err != nil {
			return nil, err
		}
	}
	dictionary, err := leaf.Extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	components, err := componentsListed(dictionary, mls.ComponentAppComponents)
	if err != nil {
		return nil, err
	}
	safeAAD, err := componentsListed(dictionary, mls.ComponentSafeAAD)
	if err != nil {
		return nil, err
	}
	has := make(map[feature]bool)
	for _, f := range namesOf(leaf.Capabilities, []mls.WireFormats{formats}, components, safeAAD) {
		has[f] = true
	}
	return has, nil
}

func componentsListed(dictionary mls.AppDataDictionary, id mls.ComponentID) (mls.ComponentsList, error) {
	data, present := dictionary.Get(id)
	if !present {
		return nil, nil
	}
	return mls.ParseComponentsList(data)
}

func lists(formats []mls.WireFormats, format mls.WireFormat) bool {
	return slices.ContainsFunc(formats, func(f mls.WireFormats) bool { return slices.Contains(f, format) })
}
