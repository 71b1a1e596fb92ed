package mimi

import "parley/mls"

// ExternalReceiver is who can open a SemiPrivateMessage without being a member: an entry of the external_receivers extension
// (semiprivatemessage-07 §3). Its form is that of ExternalSender, with a key to encrypt to.
//
//	struct {
//	    HPKEPublicKey external_receiver_public_key; // opaque<V>
//	    Credential credential;
//	} ExternalReceiver;
type ExternalReceiver struct {
	Key        []byte
	Credential mls.Credential
}

func ReadExternalReceiver(r *mls.Reader) ExternalReceiver {
	return ExternalReceiver{Key: r.Opaque("external_receiver_public_key"), Credential: mls.ReadIn(r, "credential", mls.ReadCredential)}
}

func ParseExternalReceiver(b []byte) (ExternalReceiver, error) {
	return mls.Parse("ExternalReceiver", b, ReadExternalReceiver)
}

func (e ExternalReceiver) AppendTo(w *mls.Writer) {
	w.Opaque(e.Key)
	e.Credential.AppendTo(w)
}

func (e ExternalReceiver) Marshal() []byte { return marshal(e) }
