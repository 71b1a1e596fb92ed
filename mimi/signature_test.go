package mimi

import (
	"crypto/rand"
	"testing"

	"parley/mls"
)

var schemes = map[mls.CipherSuite]mls.SignatureScheme{
	1: mls.Ed25519, 2: mls.ECDSAWithP256, 4: mls.Ed448, 5: mls.ECDSAWithP521, 7: mls.ECDSAWithP384,
}

func TestKeyMaterialRequestSignature(t *testing.T) {
	for _, scheme := range schemes {
		key := must(mls.GenerateSigningKey(scheme, rand.Reader))
		request := must(sampleRequest().Signed(key))
		request = must(ParseKeyMaterialRequest(request.Marshal()))
		if !request.VerifySignature() {
			t.Errorf("scheme %d: the request's own signature is refused", scheme)
		}
		other := request
		other.Room = RoomURI{}
		if other.VerifySignature() {
			t.Errorf("scheme %d: the signature holds for another room", scheme)
		}
	}
	unknown := sampleRequest()
	unknown.SignatureKey = opaque(1, 31)
	if unknown.VerifySignature() {
		t.Error("a key of no scheme verifies")
	}
}

// TestSignatureCoversSpelling: a request signed over an unusual spelling verifies, and is forwarded as it came.
func TestSignatureCoversSpelling(t *testing.T) {
	key := must(mls.GenerateSigningKey(mls.Ed25519, rand.Reader))
	request := sampleRequest()
	request.roomSpelling = "mimi://A.EXAMPLE/r/clubhouse"
	request = must(request.Signed(key))
	encoded := request.Marshal()
	got := must(ParseKeyMaterialRequest(encoded))
	if got.Room != sampleRoom || !got.VerifySignature() {
		t.Errorf("room %s, signature %v", got.Room, got.VerifySignature())
	}
	if string(got.Marshal()) != string(encoded) {
		t.Error("the request is not forwarded byte for byte")
	}
}

func TestGroupInfoRequestSignature(t *testing.T) {
	for suite, scheme := range schemes {
		key := must(mls.GenerateSigningKey(scheme, rand.Reader))
		request := sampleGroupInfoRequest()
		request.Suite = suite
		request = must(request.Signed(key))
		if !must(ParseGroupInfoRequest(request.Marshal())).VerifySignature() {
			t.Errorf("suite %d: the draft's form is refused", suite)
		}
		request.Signature = must(key.SignWithLabel(groupInfoRequestLabel, request.SignedForms()[1]))
		if !request.VerifySignature() {
			t.Errorf("suite %d: the plain form is refused", suite)
		}
		request.JoiningCode = []byte("another")
		if request.VerifySignature() {
			t.Errorf("suite %d: the signature holds for another code", suite)
		}
	}
	request := sampleGroupInfoRequest()
	if forms := request.SignedForms(); string(forms[0]) == string(forms[1]) {
		t.Error("the two forms do not differ with a code")
	}
	request.JoiningCode = nil
	if forms := request.SignedForms(); string(forms[0]) != string(forms[1]) {
		t.Error("the two forms differ without a code")
	}
	request.Suite = 0x7777
	if request.VerifySignature() {
		t.Error("an unknown suite verifies")
	}
}

func TestGroupInfoResponse(t *testing.T) {
	suite := must(mls.CipherSuite(1).Suite())
	hub := must(mls.GenerateSigningKey(mls.Ed25519, rand.Reader))
	public, private, err := suite.GenerateHPKEKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	content := GroupInfoRatchetTree{GroupInfo: sampleGroupInfo(), Tree: sampleTree(), Pending: []PendingProposal{{sampleProposal(), 7}}}
	response := sampleGranted()
	response.roomSpelling = "MIMI://a.example/r/clubhouse"
	response.HubSender.SignatureKey = hub.Public()
	response = must(response.Sealed(rand.Reader, public, content))
	response = must(response.Signed(hub))

	got := must(ParseGroupInfoResponse(response.Marshal())).(GroupInfoGranted)
	if !got.VerifySignature() {
		t.Error("the response's own signature is refused")
	}
	opened, err := got.Open(private)
	if err != nil || string(opened.Marshal()) != string(content.Marshal()) {
		t.Errorf("opened %v, %v", opened, err)
	}
	got.roomSpelling = ""
	if got.VerifySignature() {
		t.Error("the signature does not cover the room's URI as written")
	}
	if _, err := got.Open(private); err == nil {
		t.Error("the room's URI as written is not the context of the encryption")
	}
	got.Suite = 0x7777
	if _, err := got.Open(private); err == nil {
		t.Error("an unknown suite opens")
	}
	if _, err := got.Sealed(rand.Reader, public, content); err == nil {
		t.Error("an unknown suite seals")
	}
}
