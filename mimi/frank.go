package mimi

import (
	"parley/mls"
)

// ServerFrankBytes is the length of an HMAC-SHA256 (mimi-protocol-06 §5.4.1.2).
const ServerFrankBytes = 32

// Frank is the hub's stamp on a message whose content it cannot see (mimi-protocol-06 §5.4).
//
//	struct {
//	    uint8 server_frank[32];
//	    CipherSuite franking_signature_ciphersuite;
//	    opaque franking_integrity_signature<V>;
//	} Frank;
type Frank struct {
	ServerFrank [ServerFrankBytes]byte
	Suite       mls.CipherSuite
	Signature   []byte
}

func ReadFrank(r *mls.Reader) Frank {
	var f Frank
	copy(f.ServerFrank[:], r.Fixed("server_frank", ServerFrankBytes))
	f.Suite = mls.CipherSuite(r.Uint16("franking_signature_ciphersuite"))
	f.Signature = r.Opaque("franking_integrity_signature")
	return f
}

func ParseFrank(b []byte) (Frank, error) { return mls.Parse("Frank", b, ReadFrank) }

func (f Frank) AppendTo(w *mls.Writer) {
	w.Fixed(f.ServerFrank[:])
	w.Uint16(uint16(f.Suite))
	w.Opaque(f.Signature)
}

func (f Frank) Marshal() []byte { return marshal(f) }

func appendOptionalFrank(w *mls.Writer, f *Frank) {
	w.Bool(f != nil)
	if f != nil {
		f.AppendTo(w)
	}
}
