package mimi

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"parley/mls"
)

// The samples are small values of every shape; what stands in keys and signatures is only to be seen again.

func opaque(fill byte, n int) []byte { return bytes.Repeat([]byte{fill}, n) }

var (
	sampleRoom       = mustRoom("mimi://a.example/r/clubhouse")
	sampleAlice      = mustUser("mimi://a.example/u/alice")
	sampleBob        = mustUser("mimi://b.example/u/bob")
	sampleClient     = mustClient("mimi://b.example/d/bob/phone")
	sampleCredential = mls.BasicCredential{Identity: []byte("mimi://b.example/u/bob")}
	sampleFrank      = Frank{ServerFrank: [32]byte{1, 2, 3}, Suite: 1, Signature: opaque(9, 64)}
)

func sampleCapabilities() mls.Capabilities {
	return mls.Capabilities{
		Versions: []mls.Version{mls.MLS10}, Suites: []mls.CipherSuite{1, 2}, Extensions: []mls.ExtensionType{6, 0x0a0a},
		Proposals: []mls.ProposalType{8, 10}, Credentials: []mls.CredentialType{1},
	}
}

func sampleKeyPackage() mls.KeyPackage {
	return mls.KeyPackage{
		Suite: 1, InitKey: opaque(1, 32), Signature: opaque(5, 64),
		Leaf: mls.LeafNode{
			EncryptionKey: opaque(2, 32), SignatureKey: opaque(3, 32), Credential: sampleCredential,
			Capabilities: sampleCapabilities(), Source: mls.Lifetime{NotBefore: 10, NotAfter: 20}, Signature: opaque(4, 64),
		},
	}
}

func sampleMessage(body mls.Content) mls.MLSMessage {
	auth := mls.AuthData{Signature: opaque(6, 64)}
	if body.ContentType() == mls.ContentCommit {
		auth.ConfirmationTag = opaque(7, 32)
	}
	return mls.MLSMessage{Body: &mls.PublicMessage{
		Content: mls.FramedContent{GroupID: "group", Epoch: 7, Sender: mls.MemberSender{Leaf: 1}, Body: body},
		Auth:    auth, MembershipTag: opaque(8, 32),
	}}
}

func sampleCommit() mls.MLSMessage   { return sampleMessage(mls.Commit{}) }
func sampleProposal() mls.MLSMessage { return sampleMessage(mls.Remove{Removed: 3}) }
func samplePrivate() *mls.PrivateMessage {
	return &mls.PrivateMessage{
		GroupID: "group", Epoch: 7, ContentType: mls.ContentApplication,
		EncryptedSenderData: opaque(1, 28), Ciphertext: opaque(2, 100),
	}
}

func sampleWelcome() *mls.Welcome {
	return &mls.Welcome{
		Suite: 1, EncryptedGroupInfo: opaque(4, 80),
		Secrets: []mls.EncryptedGroupSecrets{{
			NewMember: mls.KeyPackageRef(opaque(3, 32)), Secrets: mls.HPKECiphertext{KEMOutput: opaque(1, 32), Ciphertext: opaque(2, 48)},
		}},
	}
}

func sampleGroupInfo(extensions ...mls.Extension) mls.GroupInfo {
	pub := mls.Extension{Type: mls.ExtensionExternalPub, Data: mls.ExternalPub{Key: opaque(1, 32)}.Marshal()}
	return mls.GroupInfo{
		Context: mls.GroupContext{
			Suite: 1, GroupID: "group", Epoch: 8, TreeHash: opaque(1, 32), ConfirmedTranscriptHash: opaque(2, 32),
		},
		Extensions: append(mls.Extensions{pub}, extensions...), ConfirmationTag: opaque(3, 32), Signer: 1, Signature: opaque(4, 64),
	}
}

// sampleTree is a tree of one leaf.
func sampleTree() FullTree {
	var node, w mls.Writer
	node.Bool(true)
	node.Uint8(1) // leaf
	sampleKeyPackage().Leaf.AppendTo(&node)
	w.Opaque(node.Bytes())
	return FullTree{w.Bytes()}
}

func sampleRequest() KeyMaterialRequest {
	return KeyMaterialRequest{
		RequestingUser: sampleAlice, TargetUser: sampleBob, Room: sampleRoom, Suites: []mls.CipherSuite{1, 3},
		RequiredCapabilities: mls.RequiredCapabilities{
			Extensions: []mls.ExtensionType{6}, Proposals: []mls.ProposalType{8}, Credentials: []mls.CredentialType{1},
		},
		SignatureKey: opaque(1, 32), Credential: sampleCredential, Signature: opaque(2, 64),
	}
}

func sampleGroupInfoRequest() GroupInfoRequest {
	return GroupInfoRequest{
		Suite: 1, SignatureKey: opaque(1, 32), Credential: sampleCredential, HPKEKey: opaque(2, 32),
		JoiningCode: []byte("sesame"), Signature: opaque(3, 64),
	}
}

func sampleGranted() GroupInfoGranted {
	return GroupInfoGranted{
		Room: sampleRoom, Suite: 1,
		HubSender: mls.ExternalSender{SignatureKey: opaque(1, 32), Credential: mls.BasicCredential{Identity: []byte("mimi://a.example")}},
		Encrypted: mls.HPKECiphertext{KEMOutput: opaque(2, 32), Ciphertext: opaque(3, 90)}, Signature: opaque(4, 64),
	}
}

func sampleRole() Role {
	limit := uint32(5)
	return Role{
		Index: 3, Name: "moderator", Description: "keeps order", Capabilities: []Capability{CanBan, CanKick, 0xf123},
		Participants: Bounds{Min: 1, Max: &limit}, Active: Bounds{},
		Changes: []RoleChanges{{From: RoleNone, Targets: []uint32{2}}, {From: 2, Targets: []uint32{1, 3}}},
	}
}

// transcript reads a file of the real clients' transcripts by suite and the end of its name.
func transcript(tb testing.TB, suite, name string) []byte {
	tb.Helper()
	dir := os.Getenv("PARLEY_MLS_TRANSCRIPTS")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "mls-transcripts")
	}
	if _, err := os.Stat(dir); err != nil {
		tb.Skip("no client transcripts here: set PARLEY_MLS_TRANSCRIPTS")
	}
	found, err := filepath.Glob(filepath.Join(dir, suite, "*-"+name+".bin"))
	if err != nil || len(found) != 1 {
		tb.Fatalf("%s in %s/%s: %v, %v", name, dir, suite, found, err)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
