package mimi

import (
	"parley/mls"
)

// GroupInfoRequest asks for what an external join needs (mimi-protocol-06 §5.6). It names no user: the credential does. It
// names no room either, and has no nonce: a replay has to be recognised by (sending provider, room).
//
//	struct {
//	    Protocol protocol;
//	    CipherSuite cipher_suite;                  // of the request's and the response's signature and encryption
//	    SignaturePublicKey requestingSignatureKey;
//	    Credential requestingCredential;
//	    HPKEPublicKey groupInfoPublicKey;
//	    opaque joiningCode<V>;                     // empty: absent
//	    opaque signature<V>;
//	} GroupInfoRequest;
type GroupInfoRequest struct {
	Suite        mls.CipherSuite
	SignatureKey []byte
	Credential   mls.Credential
	HPKEKey      []byte // what the response is encrypted to
	JoiningCode  []byte // empty where there is none
	Signature    []byte // over one of SignedForms, with the label GroupInfoRequestTBS
}

const groupInfoRequestLabel = "GroupInfoRequestTBS"

func ReadGroupInfoRequest(r *mls.Reader) GroupInfoRequest {
	readProtocol(r, "protocol")
	return GroupInfoRequest{
		Suite:        mls.CipherSuite(r.Uint16("cipher_suite")),
		SignatureKey: r.Opaque("requestingSignatureKey"),
		Credential:   mls.ReadIn(r, "requestingCredential", mls.ReadCredential),
		HPKEKey:      r.Opaque("groupInfoPublicKey"),
		JoiningCode:  r.Opaque("joiningCode"),
		Signature:    r.Opaque("signature"),
	}
}

func ParseGroupInfoRequest(b []byte) (GroupInfoRequest, error) {
	return mls.Parse("GroupInfoRequest", b, ReadGroupInfoRequest)
}

func (m GroupInfoRequest) AppendTo(w *mls.Writer) {
	m.appendPlain(w)
	w.Opaque(m.Signature)
}

func (m GroupInfoRequest) Marshal() []byte { return marshal(m) }

// SignedForms are the two readings of GroupInfoRequestTBS. The draft writes the joining code as optional there and plain on
// the wire, so a signer may have used either: first the draft's, which is to be signed, then the request's bytes less the
// signature. Without a code both are the same.
func (m GroupInfoRequest) SignedForms() [2][]byte {
	var drafted, plain mls.Writer
	m.appendCommon(&drafted)
	drafted.Bool(len(m.JoiningCode) > 0)
	if len(m.JoiningCode) > 0 {
		drafted.Opaque(m.JoiningCode)
	}
	m.appendPlain(&plain)
	return [2][]byte{drafted.Bytes(), plain.Bytes()}
}

func (m GroupInfoRequest) appendCommon(w *mls.Writer) {
	appendProtocol(w)
	w.Uint16(uint16(m.Suite))
	w.Opaque(m.SignatureKey)
	m.Credential.AppendTo(w)
	w.Opaque(m.HPKEKey)
}

func (m GroupInfoRequest) appendPlain(w *mls.Writer) {
	m.appendCommon(w)
	w.Opaque(m.JoiningCode)
}
