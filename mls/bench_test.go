package mls_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"parley/mls"
	"parley/mls/mlstest"
)

// beside measures work and, by turns with it, the bare part of it that nobody can save. Its figures are medians, so that what else
// the machine does falls out, and their ratio.
func beside(b *testing.B, work, bare func()) {
	b.Helper()
	var all [2][]time.Duration
	for b.Loop() {
		for i, f := range []func(){work, bare} {
			start := time.Now()
			f()
			all[i] = append(all[i], time.Since(start))
		}
	}
	var median [2]float64
	for i, list := range all {
		slices.Sort(list)
		median[i] = float64(list[len(list)/2].Nanoseconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median[0]/1000, "µs")
	b.ReportMetric(median[1]/1000, "bare-µs")
	b.ReportMetric(median[0]/median[1], "ratio")
}

// signed is one signature with what it is over.
type signed struct {
	key                []byte
	label              string
	content, signature []byte
}

func (s signed) verify(suite *mls.Suite) {
	if !suite.VerifyWithLabel(s.key, s.label, s.content, s.signature) {
		panic("a signature is wrong")
	}
}

// unsigned is an encoding without the signature at its end.
func unsigned(raw, signature []byte) []byte {
	var w mls.Writer
	w.Opaque(signature)
	return raw[:len(raw)-len(w.Bytes())]
}

func signedLeaf(n mls.LeafNode, place mls.LeafPlace) signed {
	content := slices.Clone(unsigned(n.Marshal(), n.Signature))
	if _, packaged := n.Source.(mls.Lifetime); !packaged {
		var w mls.Writer
		w.Opaque([]byte(place.GroupID))
		w.Uint32(uint32(place.Leaf))
		content = append(content, w.Bytes()...)
	}
	return signed{n.SignatureKey, "LeafNodeTBS", content, n.Signature}
}

// BenchmarkKeyPackage verifies a KeyPackage, beside its two signatures.
func BenchmarkKeyPackage(b *testing.B) {
	for suite := mls.CipherSuite(1); suite <= 7; suite++ {
		r := newRoom(b, new([]check), mlstest.Config{Suite: suite, Members: 1})
		k := part(r.Add("new")).KeyPackage
		raw := k.Marshal()
		leaf, whole := signedLeaf(k.Leaf, mls.LeafPlace{}), signed{k.Leaf.SignatureKey, "KeyPackageTBS", unsigned(raw, k.Signature), k.Signature}
		b.Run(fmt.Sprintf("suite%d", suite), func(b *testing.B) {
			beside(b, func() { part(0, part(mls.ParseKeyPackage(raw)).Verify(mlstest.Now)) }, func() {
				leaf.verify(r.Suite())
				whole.verify(r.Suite())
			})
		})
	}
}

// BenchmarkCommit reads and stages a Commit, and lists what of it is stored, beside its signatures and the hashes of the nodes that it
// changes and of its transcript.
func BenchmarkCommit(b *testing.B) {
	for _, members := range []int{10, 100, 1000, 10_000} {
		r := newRoom(b, new([]check), mlstest.Config{Suite: 1, Members: members, Parents: true})
		at := r.Leaves()[members/3]
		for name, plan := range map[string]mlstest.Plan{
			"path": {Committer: at, Path: true}, "add": {Committer: at, Inline: []mls.Proposal{part(r.Add("new"))}},
			"remove": {Committer: at, Path: true, Inline: []mls.Proposal{mls.Remove{Removed: 1}}},
		} {
			b.Run(fmt.Sprintf("%s/%d", name, members), func(b *testing.B) { r.benchCommit(b, plan) })
		}
	}
}

func (r room) benchCommit(b *testing.B, plan mlstest.Plan) {
	step := part(r.Commit(plan))
	raw, in := step.Message.Marshal(), r.Input()
	staged := part(step.Check(r.hub, in))
	stored := len(staged.After.ContextBytes()) + len(staged.After.InterimTranscriptHash())
	for _, node := range staged.ChangedNodes() {
		stored += 4 + len(node)
	}
	signatures, hashed := r.bareCommit(step, staged)
	beside(b, func() {
		m := part(mls.ParsePublicMessage(raw))
		if len(part(r.hub.Stage(&m, in)).ChangedNodes()) == 0 {
			b.Fatal("the Commit changes nothing")
		}
	}, func() {
		for _, s := range signatures {
			s.verify(r.Suite())
		}
		for _, input := range hashed {
			r.Suite().Hash(input)
		}
	})
	b.ReportMetric(float64(stored), "stored-B")
	b.ReportMetric(float64(len(r.Tree())), "tree-B")
	b.ReportMetric(float64(len(raw)), "message-B")
}

// bareCommit is what of a Commit has to be verified and hashed: signatures, and inputs of the length of those that are hashed.
func (r room) bareCommit(step *mlstest.Step, staged *mls.Staged) (signatures []signed, hashed [][]byte) {
	m, suite := step.Message, r.Suite()
	var tbs mls.Writer
	tbs.Uint16(uint16(mls.MLS10))
	tbs.Uint16(uint16(mls.WirePublicMessage))
	m.Content.AppendTo(&tbs)
	transcript := len(tbs.Bytes())
	tbs.Fixed(r.hub.ContextBytes())
	sender := m.Content.Sender.(mls.MemberSender)
	signatures = append(signatures, signed{r.Leaf(sender.Leaf).SignatureKey, "FramedContentTBS", tbs.Bytes(), m.Auth.Signature})
	commit := m.Content.Body.(mls.Commit)
	for _, p := range commit.Proposals {
		if add, ok := p.(mls.InlineProposal).Proposal.(mls.Add); ok {
			k := add.KeyPackage
			signatures = append(signatures, signedLeaf(k.Leaf, mls.LeafPlace{}),
				signed{k.Leaf.SignatureKey, "KeyPackageTBS", unsigned(k.Marshal(), k.Signature), k.Signature})
			hashed = append(hashed, k.Marshal())
		}
	}
	size := suite.HashBytes() + 1
	if commit.Path != nil {
		signatures = append(signatures, signedLeaf(commit.Path.Leaf, mls.LeafPlace{GroupID: m.Content.GroupID, Leaf: sender.Leaf}))
		for range commit.Path.Nodes {
			hashed = append(hashed, make([]byte, 3*size)) // a parent hash
		}
	}
	for x, node := range staged.ChangedNodes() {
		if hashed = append(hashed, make([]byte, len(node)+5)); x%2 == 1 {
			hashed = append(hashed[:len(hashed)-1], make([]byte, len(node)+1+2*size))
		}
	}
	return signatures, append(hashed, make([]byte, transcript+2*size), make([]byte, 2*size))
}

// BenchmarkTree takes a whole tree up: read, hashed and verified as by one who joins, beside its leaves' signatures; and as a hub
// does with what it has stored, beside reading the nodes.
func BenchmarkTree(b *testing.B) {
	for _, members := range []int{100, 1000, 10_000} {
		r := newRoom(b, new([]check), mlstest.Config{Suite: 1, Members: members, Parents: true})
		raw, info := r.Tree(), r.GroupInfo()
		var leaves []signed
		for i, leaf := range r.hub.Tree().Leaves() {
			leaves = append(leaves, signedLeaf(*leaf, mls.LeafPlace{GroupID: r.hub.GroupID(), Leaf: i}))
		}
		b.Run(fmt.Sprintf("join/%d", members), func(b *testing.B) {
			beside(b, func() { part(mls.NewPublicGroup(info, part(mls.ParseRatchetTree(raw)))) }, func() {
				for _, leaf := range leaves {
					leaf.verify(r.Suite())
				}
			})
		})
		nodes, context, interim := r.hub.Tree().Nodes(), r.hub.ContextBytes(), r.hub.InterimTranscriptHash()
		b.Run(fmt.Sprintf("restore/%d", members), func(b *testing.B) {
			beside(b, func() { part(mls.RestorePublicGroup(context, part(mls.NewRatchetTree(nodes)), interim)) },
				func() { part(mls.NewRatchetTree(nodes)) })
		})
	}
}
