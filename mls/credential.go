package mls

import (
	"bytes"
	"fmt"
)

// Credential binds an identity to a signature key (RFC 9420 §5.3). It is a BasicCredential or an X509Credential. The value
// of an unknown credential type has no length of its own, so a structure that holds one cannot be read and is refused.
//
//	struct {
//	    CredentialType credential_type;
//	    select (Credential.credential_type) {
//	        case basic: opaque identity<V>;
//	        case x509:  Certificate certificates<V>;
//	    };
//	} Credential;
type Credential interface {
	CredentialType() CredentialType
	AppendTo(w *Writer)
	Marshal() []byte
	credential()
}

// BasicCredential is a bare assertion of an identity: in MIMI a user's or a client's URI, in UTF-8.
type BasicCredential struct{ Identity []byte }

// X509Credential is a chain of DER certificates, the subject's own first. Only its syntax is looked at here.
//
//	struct {
//	    opaque cert_data<V>;
//	} Certificate;
type X509Credential struct{ Certificates [][]byte }

func ReadCredential(r *Reader) Credential {
	t := CredentialType(r.Uint16("credential_type"))
	switch {
	case r.Failed():
		return nil
	case t == CredentialBasic:
		return BasicCredential{Identity: r.Opaque("identity")}
	case t == CredentialX509:
		return X509Credential{Certificates: ReadList(r, "certificates", func(r *Reader) []byte { return r.Opaque("cert_data") })}
	default:
		r.Fail("credential_type", fmt.Sprintf("credential type 0x%04x is not supported", uint16(t)))
		return nil
	}
}

func ParseCredential(b []byte) (Credential, error) { return Parse("Credential", b, ReadCredential) }

// SameCredential reports whether two credentials have the same encoding.
func SameCredential(a, b Credential) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

func (BasicCredential) CredentialType() CredentialType { return CredentialBasic }
func (X509Credential) CredentialType() CredentialType  { return CredentialX509 }

func (c BasicCredential) AppendTo(w *Writer) {
	w.Uint16(uint16(CredentialBasic))
	w.Opaque(c.Identity)
}

func (c X509Credential) AppendTo(w *Writer) {
	w.Uint16(uint16(CredentialX509))
	w.Vector(func(w *Writer) {
		for _, cert := range c.Certificates {
			w.Opaque(cert)
		}
	})
}

func (c BasicCredential) Marshal() []byte { return marshal(c) }
func (c X509Credential) Marshal() []byte  { return marshal(c) }

func (BasicCredential) credential() {}
func (X509Credential) credential()  {}
