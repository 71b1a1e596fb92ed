package mimi

import (
	"parley/mls"
)

// KeyMaterialRequest claims one KeyPackage for each client of a user (mimi-protocol-06 §5.2). It is signed by the requester's
// client, and a hub forwards it byte for byte: it cannot sign it again.
//
//	struct {
//	    Protocol protocol;
//	    IdentifierUri requestingUser;
//	    IdentifierUri targetUser;
//	    IdentifierUri roomId;                        // empty: for no room
//	    CipherSuite acceptableCiphersuites<V>;       // in order of preference, not empty
//	    RequiredCapabilities requiredCapabilities;
//	    SignaturePublicKey requesterSignatureKey;
//	    Credential requesterCredential;
//	    opaque key_material_request_signature<V>;
//	} KeyMaterialRequest;
type KeyMaterialRequest struct {
	RequestingUser       UserURI
	TargetUser           UserURI
	Room                 RoomURI // none where the claim is for no room
	Suites               []mls.CipherSuite
	RequiredCapabilities mls.RequiredCapabilities
	SignatureKey         []byte
	Credential           mls.Credential
	Signature            []byte // over SignedBytes, with the label KeyMaterialRequestTBS

	requestingSpelling, targetSpelling, roomSpelling spelling
}

// keyMaterialRequestLabel is what the signature is labelled with (mimi-protocol-06 §5.2, RFC 9420 §5.1.2).
const keyMaterialRequestLabel = "KeyMaterialRequestTBS"

func ReadKeyMaterialRequest(r *mls.Reader) KeyMaterialRequest {
	var m KeyMaterialRequest
	readProtocol(r, "protocol")
	m.RequestingUser, m.requestingSpelling = readSpelled(r, "requestingUser", ParseUserURI, false)
	m.TargetUser, m.targetSpelling = readSpelled(r, "targetUser", ParseUserURI, false)
	m.Room, m.roomSpelling = readSpelled(r, "roomId", ParseRoomURI, true)
	m.Suites = readSuites(r, "acceptableCiphersuites")
	if !r.Failed() && len(m.Suites) == 0 {
		r.Fail("acceptableCiphersuites", "the list is empty")
	}
	m.RequiredCapabilities = mls.ReadIn(r, "requiredCapabilities", mls.ReadRequiredCapabilities)
	m.SignatureKey = r.Opaque("requesterSignatureKey")
	m.Credential = mls.ReadIn(r, "requesterCredential", mls.ReadCredential)
	m.Signature = r.Opaque("key_material_request_signature")
	return m
}

func ParseKeyMaterialRequest(b []byte) (KeyMaterialRequest, error) {
	return mls.Parse("KeyMaterialRequest", b, ReadKeyMaterialRequest)
}

// KeyMaterialProtocol reads what stands at the beginning of a KeyMaterialRequest of any protocol: which it is, and the target user.
// What follows a protocol other than mls10 cannot be read, but it can be told that nothing is claimed over it.
func KeyMaterialProtocol(b []byte) (Protocol, UserURI, error) {
	r := mls.NewReader("KeyMaterialRequest", b)
	protocol := Protocol(r.Uint8("protocol"))
	ReadUserURI(r, "requestingUser")
	target := ReadUserURI(r, "targetUser")
	return protocol, target, r.Err()
}

func (m KeyMaterialRequest) AppendTo(w *mls.Writer) {
	m.appendUnsigned(w)
	w.Opaque(m.Signature)
}

func (m KeyMaterialRequest) Marshal() []byte { return marshal(m) }

// SignedBytes is KeyMaterialRequestTBS: the request's bytes less the signature.
func (m KeyMaterialRequest) SignedBytes() []byte {
	var w mls.Writer
	m.appendUnsigned(&w)
	return w.Bytes()
}

func (m KeyMaterialRequest) appendUnsigned(w *mls.Writer) {
	appendProtocol(w)
	m.requestingSpelling.appendTo(w, m.RequestingUser.String())
	m.targetSpelling.appendTo(w, m.TargetUser.String())
	m.roomSpelling.appendTo(w, m.Room.String())
	appendSuites(w, m.Suites)
	m.RequiredCapabilities.AppendTo(w)
	w.Opaque(m.SignatureKey)
	m.Credential.AppendTo(w)
}
