package mls

import "slices"

// code is something that a leaf can support: its kind in the upper half, its code point in the lower.
type code uint32

const (
	kindVersion code = (iota + 1) << 16
	kindSuite
	kindExtension
	kindProposal
	kindCredential
	kindWireFormat
	kindComponent
	kindSafeAAD
)

// codes is a set of code points, sorted. It is shared and never changed.
type codes []code

func (c codes) has(want code) bool {
	_, found := slices.BinarySearch(c, want)
	return found
}

// and is what two sets have in common. Where that is one of them, it is that one: the leaves of a group mostly support the
// same, and then a whole tree shares one set.
func (c codes) and(d codes) codes {
	if len(c) == len(d) && (len(c) == 0 || &c[0] == &d[0] || slices.Equal(c, d)) {
		return c
	}
	out := make(codes, 0, min(len(c), len(d)))
	for i, j := 0, 0; i < len(c) && j < len(d); {
		switch {
		case c[i] < d[j]:
			i++
		case c[i] > d[j]:
			j++
		default:
			out = append(out, c[i])
			i, j = i+1, j+1
		}
	}
	switch len(out) {
	case len(c):
		return c
	case len(d):
		return d
	}
	return out
}

// supportedCodes is what a leaf says that it supports: its capabilities (RFC 9420 §7.2), and the wire formats and components
// in its extensions (mls-extensions, Negotiating Extensions and Components). What cannot be read there says nothing;
// checkLeafExtensions refuses it.
func supportedCodes(n *LeafNode) codes {
	c := n.Capabilities
	out := make(codes, 0, len(c.Versions)+len(c.Suites)+len(c.Extensions)+len(c.Proposals)+len(c.Credentials))
	out = appendKind(out, kindVersion, c.Versions)
	out = appendKind(out, kindSuite, c.Suites)
	out = appendKind(out, kindExtension, c.Extensions)
	out = appendKind(out, kindProposal, c.Proposals)
	out = appendKind(out, kindCredential, c.Credentials)
	if len(n.Extensions) > 0 {
		negotiated, err := readNegotiated(n.Extensions, ExtensionSupportedWireFormat)
		if err == nil {
			out = append(out, negotiated...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func appendKind[T ~uint16](out codes, kind code, list []T) codes {
	for _, v := range list {
		out = append(out, kind|code(v))
	}
	return out
}

// readNegotiated reads what extensions say beside Capabilities and RequiredCapabilities: wire formats, of a leaf or of the
// GroupContext, and the component lists in the dictionary. The error is a *MalformedError.
func readNegotiated(extensions Extensions, wireFormats ExtensionType) (codes, error) {
	var out codes
	if data, present := extensions.Get(wireFormats); present {
		formats, err := ParseWireFormats(data)
		if err != nil {
			return nil, err
		}
		out = appendKind(out, kindWireFormat, formats)
	}
	dictionary, err := extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	for _, list := range [...]struct {
		component ComponentID
		kind      code
	}{{ComponentAppComponents, kindComponent}, {ComponentSafeAAD, kindSafeAAD}} {
		if data, present := dictionary.Get(list.component); present {
			components, err := ParseComponentsList(data)
			if err != nil {
				return nil, err
			}
			out = appendKind(out, list.kind, components)
		}
	}
	return out, nil
}

// credentialKinds is a set of the credential types that can be read.
type credentialKinds uint8

func kindOf(c Credential) credentialKinds { return 1 << (c.CredentialType() - 1) }

// list is the set's members, in order.
func (k credentialKinds) list() (types []CredentialType) {
	for t := CredentialBasic; t <= CredentialX509; t++ {
		if k&(1<<(t-1)) != 0 {
			types = append(types, t)
		}
	}
	return types
}
