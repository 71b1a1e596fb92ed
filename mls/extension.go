package mls

import (
	"fmt"
	"slices"
)

// Extension is one entry of an extension list (RFC 9420 §13.4). Data is opaque here: a known type's own Parse reads it.
//
//	struct {
//	    ExtensionType extension_type;
//	    opaque extension_data<V>;
//	} Extension;
type Extension struct {
	Type ExtensionType
	Data []byte
}

func ReadExtension(r *Reader) Extension {
	return Extension{Type: ExtensionType(r.Uint16("extension_type")), Data: r.Opaque("extension_data")}
}

func (e Extension) AppendTo(w *Writer) {
	w.Uint16(uint16(e.Type))
	w.Opaque(e.Data)
}

// Extensions is `Extension extensions<V>`. No type may stand twice (RFC 9420 §13.4); the order is the sender's and is kept,
// because it is hashed and signed. Unknown types are kept.
type Extensions []Extension

func ReadExtensions(r *Reader) Extensions {
	list := Extensions(ReadList(r, "", ReadExtension))
	if len(list) < 2 {
		return list
	}
	seen := make(map[ExtensionType]struct{}, len(list))
	for _, e := range list {
		if _, twice := seen[e.Type]; twice {
			r.Fail("", fmt.Sprintf("extension type 0x%04x stands twice", uint16(e.Type)))
			return nil
		}
		seen[e.Type] = struct{}{}
	}
	return list
}

func ParseExtensions(b []byte) (Extensions, error) { return Parse("extensions", b, ReadExtensions) }

func (l Extensions) AppendTo(w *Writer) { AppendList(w, l) }

func (l Extensions) Marshal() []byte { return marshal(l) }

// Get returns the data of an extension, and whether it is present.
func (l Extensions) Get(t ExtensionType) ([]byte, bool) {
	for _, e := range l {
		if e.Type == t {
			return e.Data, true
		}
	}
	return nil, false
}

// With returns a copy of the list with the extension's data replaced in its place, or appended last where it was absent.
func (l Extensions) With(t ExtensionType, data []byte) Extensions {
	out := slices.Clone(l)
	for i := range out {
		if out[i].Type == t {
			out[i].Data = data
			return out
		}
	}
	return append(out, Extension{Type: t, Data: data})
}

// RequiredCapabilities lists what every member's leaf must support (RFC 9420 §11.1).
//
//	struct {
//	    ExtensionType extension_types<V>;
//	    ProposalType proposal_types<V>;
//	    CredentialType credential_types<V>;
//	} RequiredCapabilities;
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

func ReadRequiredCapabilities(r *Reader) RequiredCapabilities {
	return RequiredCapabilities{
		Extensions:  readCodes[ExtensionType](r, "extension_types"),
		Proposals:   readCodes[ProposalType](r, "proposal_types"),
		Credentials: readCodes[CredentialType](r, "credential_types"),
	}
}

func ParseRequiredCapabilities(b []byte) (RequiredCapabilities, error) {
	return Parse("RequiredCapabilities", b, ReadRequiredCapabilities)
}

func (c RequiredCapabilities) AppendTo(w *Writer) {
	appendCodes(w, c.Extensions)
	appendCodes(w, c.Proposals)
	appendCodes(w, c.Credentials)
}

func (c RequiredCapabilities) Marshal() []byte { return marshal(c) }

// ExternalSender is a party outside the group that may send Proposals to it (RFC 9420 §12.1.8.1).
//
//	struct {
//	    SignaturePublicKey signature_key;
//	    Credential credential;
//	} ExternalSender;
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

func ReadExternalSender(r *Reader) ExternalSender {
	return ExternalSender{
		SignatureKey: r.Opaque("signature_key"),
		Credential:   ReadIn(r, "credential", ReadCredential),
	}
}

func ParseExternalSender(b []byte) (ExternalSender, error) {
	return Parse("ExternalSender", b, ReadExternalSender)
}

func (s ExternalSender) AppendTo(w *Writer) {
	w.Opaque(s.SignatureKey)
	s.Credential.AppendTo(w)
}

func (s ExternalSender) Marshal() []byte { return marshal(s) }

// ExternalSenders is the data of the external_senders extension, `ExternalSender external_senders<V>`; an external Sender
// is an index into it.
type ExternalSenders []ExternalSender

func ReadExternalSenders(r *Reader) ExternalSenders { return ReadList(r, "", ReadExternalSender) }

func ParseExternalSenders(b []byte) (ExternalSenders, error) {
	return Parse("external_senders", b, ReadExternalSenders)
}

func (l ExternalSenders) AppendTo(w *Writer) { AppendList(w, l) }

func (l ExternalSenders) Marshal() []byte { return marshal(l) }

// ExternalPub is the data of the external_pub extension of a GroupInfo (RFC 9420 §12.4.3.2).
//
//	struct {
//	    HPKEPublicKey external_pub;
//	} ExternalPub;
type ExternalPub struct{ Key []byte }

func ReadExternalPub(r *Reader) ExternalPub { return ExternalPub{Key: r.Opaque("external_pub")} }

func ParseExternalPub(b []byte) (ExternalPub, error) {
	return Parse("ExternalPub", b, ReadExternalPub)
}

func (p ExternalPub) AppendTo(w *Writer) { w.Opaque(p.Key) }

func (p ExternalPub) Marshal() []byte { return marshal(p) }
