package inspect

import (
	"io"
	"testing"

	"parley/mls"
)

// samples are files of each form, of which the fuzzer makes others.
func samples(t testing.TB) [][]byte {
	t.Helper()
	k := mls.KeyPackage{Suite: 1, InitKey: make([]byte, 32), Leaf: mls.LeafNode{
		EncryptionKey: make([]byte, 32), SignatureKey: make([]byte, 32), Credential: mls.BasicCredential{Identity: []byte("a")}, Source: mls.Lifetime{NotAfter: 9},
	}}
	tree, err := mls.NewRatchetTree([][]byte{append([]byte{1}, k.Leaf.Marshal()...)})
	if err != nil {
		t.Fatal(err)
	}
	context := mls.GroupContext{Suite: 1, GroupID: "g", Extensions: mls.Extensions{{Type: mls.ExtensionRequiredCapabilities, Data: make([]byte, 3)}}}
	info := mls.GroupInfo{Context: context, Extensions: mls.Extensions{{Type: mls.ExtensionRatchetTree, Data: tree.Marshal()}, {Type: mls.ExtensionExternalPub, Data: make([]byte, 33)}}}
	path := mls.UpdatePath{Leaf: k.Leaf, Nodes: []mls.UpdatePathNode{{EncryptionKey: []byte("key")}}}
	path.Leaf.Source = mls.LeafCommit{ParentHash: make([]byte, 32)}
	commit := mls.Commit{Path: &path, Proposals: []mls.ProposalOrRef{mls.ProposalRef("r"), mls.InlineProposal{Proposal: mls.Add{KeyPackage: k}}}}
	var out [][]byte
	for _, body := range []mls.Body{
		&k, &info, // the GroupInfo is the third sample, after the bare KeyPackage
		&mls.Welcome{Suite: 1, Secrets: []mls.EncryptedGroupSecrets{{NewMember: "n"}}}, &mls.PrivateMessage{ContentType: mls.ContentCommit},
		&mls.PublicMessage{Content: mls.FramedContent{GroupID: "g", Sender: mls.MemberSender{}, Body: commit}},
		&mls.PublicMessage{Content: mls.FramedContent{GroupID: "g", Sender: mls.NewMemberCommit{}, Body: commit}},
		&mls.PublicMessage{Content: mls.FramedContent{Sender: mls.NewMemberProposal{}, Body: mls.Add{KeyPackage: k}}},
		&mls.PublicMessage{Content: mls.FramedContent{Sender: mls.ExternalSenderIndex(1), Body: mls.Update{Leaf: path.Leaf}}},
	} {
		out = append(out, mls.MLSMessage{Body: body}.Marshal(), body.(interface{ Marshal() []byte }).Marshal())
	}
	return append(out, context.Marshal(), tree.Marshal(), []byte("000100050001"), []byte("AAEABQAB"))
}

// FuzzFiles inspects any bytes, beside a GroupInfo, and prints what it finds: neither may panic, and a verdict has its reason.
func FuzzFiles(f *testing.F) {
	all := samples(f)
	for _, b := range all {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { inspectAny(t, all[2:3], b) })
}

func inspectAny(t *testing.T, beside [][]byte, b []byte) {
	t.Helper()
	inputs := []Input{{"any", b}}
	for _, other := range beside {
		inputs = append(inputs, Input{"beside", other})
	}
	report := Files(inputs, 5)
	for _, file := range report.Files {
		if file.Valid != (len(file.Problems) == 0) {
			t.Errorf("valid is %v with problems %v", file.Valid, file.Problems)
		}
		for _, p := range file.Problems {
			if p.Reason == "" {
				t.Error("a problem has no reason")
			}
		}
	}
	if err := report.WriteText(io.Discard); err != nil {
		t.Error(err)
	}
	if err := report.WriteJSON(io.Discard); err != nil {
		t.Error(err)
	}
}

// TestMutations is a short walk of FuzzFiles: each sample cut at each length, and with each octet changed.
func TestMutations(t *testing.T) {
	for _, sample := range samples(t) {
		for i := range sample {
			inspectAny(t, nil, sample[:i])
			for _, flip := range []byte{1, 0x40, 0xff} {
				changed := append([]byte(nil), sample...)
				changed[i] ^= flip
				inspectAny(t, nil, changed)
			}
		}
	}
}
