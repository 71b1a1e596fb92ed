package mls

// Welcome brings the clients of the committed Adds in (RFC 9420 §12.4.3.1).
//
//	struct {
//	    CipherSuite cipher_suite;
//	    EncryptedGroupSecrets secrets<V>;
//	    opaque encrypted_group_info<V>;
//	} Welcome;
type Welcome struct {
	Suite              CipherSuite
	Secrets            []EncryptedGroupSecrets
	EncryptedGroupInfo []byte
}

// EncryptedGroupSecrets is one new member's part of a Welcome.
//
//	struct {
//	    KeyPackageRef new_member;
//	    HPKECiphertext encrypted_group_secrets;
//	} EncryptedGroupSecrets;
type EncryptedGroupSecrets struct {
	NewMember KeyPackageRef
	Secrets   HPKECiphertext
}

func ReadWelcome(r *Reader) Welcome {
	return Welcome{
		Suite:              CipherSuite(r.Uint16("cipher_suite")),
		Secrets:            ReadList(r, "secrets", ReadEncryptedGroupSecrets),
		EncryptedGroupInfo: r.Opaque("encrypted_group_info"),
	}
}

func ParseWelcome(b []byte) (Welcome, error) { return Parse("Welcome", b, ReadWelcome) }

func ReadEncryptedGroupSecrets(r *Reader) EncryptedGroupSecrets {
	return EncryptedGroupSecrets{
		NewMember: KeyPackageRef(r.Opaque("new_member")),
		Secrets:   ReadIn(r, "encrypted_group_secrets", ReadHPKECiphertext),
	}
}

func (w Welcome) AppendTo(to *Writer) {
	to.Uint16(uint16(w.Suite))
	AppendList(to, w.Secrets)
	to.Opaque(w.EncryptedGroupInfo)
}

func (w Welcome) Marshal() []byte { return marshal(w) }

func (s EncryptedGroupSecrets) AppendTo(w *Writer) {
	w.Opaque([]byte(s.NewMember))
	s.Secrets.AppendTo(w)
}

// Refs lists the KeyPackages that the Welcome is for, in its order.
func (w Welcome) Refs() []KeyPackageRef {
	refs := make([]KeyPackageRef, len(w.Secrets))
	for i, s := range w.Secrets {
		refs[i] = s.NewMember
	}
	return refs
}
