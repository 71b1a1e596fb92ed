package httpapi

import (
	"bytes"
	"crypto/rand"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// The bodies below have the drafts' form and, where they carry a signature that the hub checks, a good one. A hub that decides
// on them is not part of these tests.

func submitBody(sender mimi.UserURI) []byte {
	return mimi.SubmitMessageRequest{Sender: sender, Message: &mls.PrivateMessage{
		GroupID: "group", Epoch: 7, ContentType: mls.ContentApplication, EncryptedSenderData: []byte{1}, Ciphertext: []byte{2},
	}}.Marshal()
}

func proposal() mls.MLSMessage {
	return mls.MLSMessage{Body: &mls.PublicMessage{
		Content: mls.FramedContent{GroupID: "group", Epoch: 7, Sender: mls.MemberSender{Leaf: 1}, Body: mls.Remove{Removed: 2}},
		Auth:    mls.AuthData{Signature: []byte{3}}, MembershipTag: []byte{4},
	}}
}

func updateBody() []byte {
	return mimi.ProposalBundle{Proposals: []mls.MLSMessage{proposal()}}.Marshal()
}

func fanoutBody() []byte {
	var w mls.Writer
	mimi.FanoutMessage{Millis: 1000, Event: mimi.FanoutProposals{Proposals: []mls.MLSMessage{proposal()}}}.AppendTo(&w)
	mimi.FanoutMessage{Millis: 1001, Event: mimi.FanoutApplication{Message: &mls.PrivateMessage{
		GroupID: "group", Epoch: 7, ContentType: mls.ContentApplication, Ciphertext: []byte{5},
	}}}.AppendTo(&w)
	return w.Bytes()
}

func claimBody(t *testing.T, requester, target mimi.UserURI, room mimi.RoomURI) []byte {
	t.Helper()
	request, err := mimi.KeyMaterialRequest{
		RequestingUser: requester, TargetUser: target, Room: room, Suites: []mls.CipherSuite{1},
		Credential: mls.BasicCredential{Identity: []byte(requester.String())},
	}.Signed(signingKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return request.Marshal()
}

// keyPackage is one of suite 1, for a client.
func keyPackage(client mimi.ClientURI) mls.KeyPackage {
	return mls.KeyPackage{Suite: 1, InitKey: make([]byte, 32), Signature: []byte{1}, Leaf: mls.LeafNode{
		EncryptionKey: bytes.Repeat([]byte{5}, 32), SignatureKey: make([]byte, 32), Signature: []byte{1},
		Credential: mls.BasicCredential{Identity: []byte(client.String())}, Source: mls.Lifetime{NotBefore: 1, NotAfter: 99},
	}}
}

// groupInfoBody asks for a GroupInfo; what comes back is encrypted to the private key beside it.
func groupInfoBody(t *testing.T, joiner mimi.UserURI) (body, private []byte) {
	t.Helper()
	suite, err := mls.CipherSuite(1).Suite()
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := suite.GenerateHPKEKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := mimi.GroupInfoRequest{
		Suite: 1, Credential: mls.BasicCredential{Identity: []byte(joiner.String())}, HPKEKey: public,
	}.Signed(signingKey(t))
	if err != nil {
		t.Fatal(err)
	}
	return request.Marshal(), private
}

func acceptedAt(millis uint64) fsm.Outcome { return fsm.Accepted{Millis: millis, Epoch: 8} }

// signedKeyPackage is one that passes a hub's checks.
func signedKeyPackage(t *testing.T, client string) mls.KeyPackage {
	t.Helper()
	key := signingKey(t)
	k := keyPackage(clientURI(client))
	k.InitKey = bytes.Repeat([]byte{9}, 32)
	k.Leaf.SignatureKey = key.Public()
	k.Leaf.Capabilities = mls.Capabilities{
		Versions: []mls.Version{mls.MLS10}, Suites: []mls.CipherSuite{1}, Credentials: []mls.CredentialType{mls.CredentialBasic},
	}
	if err := k.Leaf.Sign(key, mls.LeafPlace{}); err != nil {
		t.Fatal(err)
	}
	if err := k.Sign(key); err != nil {
		t.Fatal(err)
	}
	return k
}
