package mls_test

import (
	"bytes"
	"math"
	"runtime"
	"testing"

	"parley/mls"
	"parley/mls/mlstest"
)

// allocatedBy is what a function allocates: the least of three runs, since others allocate as well.
func allocatedBy(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 3 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}

// TestFarIndices names leaves and nodes of a tree of 2^32 leaves, everywhere that one can be named: it costs no more than a name.
func TestFarIndices(t *testing.T) {
	r := newRoom(t, new([]check), mlstest.Config{Suite: 1, Members: 6, Parents: true})
	far := mls.LeafIndex(math.MaxUint32)
	unmerged := mls.ParentNode{EncryptionKey: r.Octets(32), UnmergedLeaves: []mls.LeafIndex{far - 1, far}}
	context := r.Context()
	removal, _ := must2(r.Propose(mls.MemberSender{Leaf: 1}, mls.Remove{Removed: far}))
	for name, f := range map[string]func() error{
		"Remove": func() error { return r.judge(r.Input(), inline(mls.Remove{Removed: far})) },
		"Remove by itself": func() error {
			_, err := r.hub.VerifyProposal(removal, mlstest.Now)
			return err
		},
		"sender": func() error {
			return r.judge(r.Input(), pathed(func(m *mls.PublicMessage) { m.Content.Sender = mls.MemberSender{Leaf: far} }))
		},
		"signer": func() error {
			return r.judge(r.Input(), mlstest.Plan{Path: true, ChangeInfo: func(g *mls.GroupInfo) { g.Signer = far }})
		},
		"external sender": func() error {
			return r.judge(r.Input(), pathed(func(m *mls.PublicMessage) { m.Content.Sender = mls.ExternalSenderIndex(far) }))
		},
		"unmerged leaf": func() error {
			nodes := r.hub.Tree().Nodes()
			nodes[r.Root()] = append([]byte{2}, unmerged.Marshal()...)
			tree, err := mls.NewRatchetTree(nodes)
			if err != nil {
				return err
			}
			c := context
			c.TreeHash = tree.TreeHash(r.hub.Suite())
			_, err = mls.RestorePublicGroup(c.Marshal(), tree, nil)
			return err
		},
		"wide ratchet_tree": func() error {
			_, err := mls.ParseRatchetTree([]byte{0xbf, 0xff, 0xff, 0xff, 0, 0, 0, 0})
			return err
		},
		"patch": func() error {
			var w mls.Writer
			w.Fixed([]byte{1, 0, 1, 0, 0, 32, 6, 0xff, 0xff, 0xff, 0xff, 0, 0})
			_, err := mls.ParseTreePatch(w.Bytes())
			return err
		},
	} {
		n := allocatedBy(func() {
			if f() == nil {
				t.Errorf("%s: it is taken", name)
			}
		})
		if t.Logf("%s: %d bytes", name, n); n > 512<<10 { // of which the simulator needs some for the Commit
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}

// must2 drops what a Proposal's reference is not needed for.
func must2(m *mls.PublicMessage, ref mls.ProposalRef, err error) (*mls.PublicMessage, mls.ProposalRef) {
	return part(m, err), ref
}

// TestLongLists commits as many Proposals as a message of 256 KiB holds, all of the kinds that cost a sender least. A list's cost
// must not grow faster than the list.
func TestLongLists(t *testing.T) {
	r := newRoom(t, new([]check), mlstest.Config{Suite: 1, Members: 6, Parents: true})
	text := mlstest.ComponentText
	for name, p := range map[string]mls.Proposal{
		"updates":    mls.AppDataUpdate{Component: text, Operation: mls.ComponentUpdate{}},
		"ephemerals": mls.AppEphemeral{Component: text},
		"removes":    mls.Remove{Removed: 1},
		"PSKs":       mls.PreSharedKey{PSK: mls.PreSharedKeyID{Source: mls.ExternalPSK{}, Nonce: make([]byte, 32)}},
	} {
		each := len(mls.InlineProposal{Proposal: p}.Proposal.Marshal()) + 1
		plan := mlstest.Plan{Path: true, Inline: repeated(p, 1<<18/each)}
		step := part(r.Commit(plan))
		raw := step.Message.Marshal()
		n := allocatedBy(func() {
			m := part(mls.ParsePublicMessage(raw))
			_, _ = r.hub.Stage(&m, r.Input()) // refused or not, by its list
		})
		if t.Logf("%s: %d of them, %.1f bytes a byte", name, len(plan.Inline), float64(n)/float64(len(raw))); n > uint64(64*len(raw)+64<<10) {
			t.Errorf("%s: %d bytes allocated for %d", name, n, len(raw))
		}
	}
}

func repeated(p mls.Proposal, n int) (list []mls.Proposal) {
	for range n {
		list = append(list, p)
	}
	return list
}

// TestAnyByte changes every byte of a Commit, one at a time: none of it is taken, but for the membership tag.
func TestAnyByte(t *testing.T) {
	r := newRoom(t, new([]check), mlstest.Config{Suite: 1, Members: 4, Parents: true})
	step := part(r.Commit(inline(mls.Remove{Removed: 2}, part(r.Add("new")))))
	raw := step.Message.Marshal()
	for at := range len(raw) - 32 {
		bent := bytes.Clone(raw)
		bent[at] ^= 0x55
		m, err := mls.ParsePublicMessage(bent)
		if err != nil {
			continue
		}
		other := *step
		other.Message = &m
		if r.take(r.Input(), &other) == nil {
			t.Errorf("byte %d of %d may be another", at, len(raw))
		}
	}
}
