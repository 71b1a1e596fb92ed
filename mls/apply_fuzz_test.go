package mls_test

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"

	"parley/mls"
	"parley/mls/mlstest"
)

// fuzzedRoom is a small room, with parents, a blank leaf in the middle and one that is unmerged.
func fuzzedRoom(f *testing.F) room {
	f.Helper()
	r := newRoom(f, new([]check), mlstest.Config{Suite: 1, Seed: 9, Members: 6, Parents: true, Epoch: 1, ExternalSenders: 1})
	for _, plan := range []mlstest.Plan{inline(mls.Remove{Removed: 3}), inline(part(r.Add("a"))), {Inline: []mls.Proposal{part(r.Add("b"))}}} {
		step := must(r.Commit(plan))(f)
		staged := must(step.Check(r.hub, r.Input()))(f)
		r.Group, r.hub = step.After, staged.After
	}
	return r
}

// fuzzedProposals are one or more of each kind.
func (r room) fuzzedProposals() []mls.Proposal {
	text := mlstest.ComponentText
	return []mls.Proposal{
		part(r.Add("new")), part(r.Update(1)), mls.Remove{Removed: 2}, mls.Remove{Removed: 1<<32 - 1}, r.ExternalPSK("key"),
		r.ResumptionPSK(mls.ResumptionApplication, "group", 3), mls.ReInit{GroupID: "next", Version: mls.MLS10, Suite: 1}, r.ExternalInit(),
		mls.GroupContextExtensions{Extensions: r.Context().Extensions}, mls.SelfRemove{},
		mls.AppDataUpdate{Component: text, Operation: mls.ComponentUpdate{Update: []byte("x")}},
		mls.AppDataUpdate{Component: text, Operation: mls.ComponentRemove{}}, mls.AppEphemeral{Component: text, Data: []byte("x")},
	}
}

// FuzzApplyMessage gives a group any MLSMessage: it must not panic, nor allocate much, nor take what nobody has signed.
func FuzzApplyMessage(f *testing.F) {
	r := fuzzedRoom(f)
	r.made = make(map[string]bool)
	add := func(m *mls.PublicMessage) {
		r.made[string(m.Auth.Signature)] = true
		f.Add(mls.MLSMessage{Body: m}.Marshal())
	}
	for _, p := range r.fuzzedProposals() {
		m, _, err := r.Propose(mls.MemberSender{Leaf: 1}, p)
		part(0, err)
		add(m)
		add(part(r.Commit(inline(p))).Message)
	}
	add(part(r.Commit(mlstest.Plan{Joiner: part(r.Client("joiner")), Path: true})).Message)
	f.Fuzz(func(t *testing.T, b []byte) { r.forked().applyAny(t, b) })
}

// forked is the room for one input, so that what that leaves behind does not reach the next.
func (r room) forked() room {
	r.Group = r.Fork(1)
	return r
}

// applyAny lets the hub judge bytes.
func (r room) applyAny(t *testing.T, b []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m, err := mls.ParseMLSMessage(b)
	if err != nil {
		return
	}
	switch body := m.Body.(type) {
	case *mls.PublicMessage:
		staged, err := r.hub.Stage(body, r.Input())
		r.wantAnswer(t, err)
		if err == nil {
			r.sound(t, staged)
		}
		_, proposed := r.hub.VerifyProposal(body, mlstest.Now)
		r.wantAnswer(t, proposed)
		if taken := err == nil || proposed == nil; taken && !r.signedHere(body) {
			t.Error("what nobody has signed is taken")
		}
	case *mls.GroupInfo:
		r.wantAnswer(t, r.hub.CheckGroupInfo(*body))
	case *mls.KeyPackage:
		r.wantAnswer(t, body.Verify(mlstest.Now))
	default:
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > uint64(64*len(b)+256<<10) {
		t.Errorf("%d bytes allocated for a message of %d", n, len(b))
	}
}

// signedHere reports whether a message's signature is of a key that the room has, and so of the room's own making: no input can
// have it otherwise.
func (r room) signedHere(m *mls.PublicMessage) bool {
	_, joins := m.Content.Sender.(mls.NewMemberCommit)
	return joins || r.made[string(m.Auth.Signature)]
}

// wantAnswer sees that an error is one of those that a hub can answer with.
func (r room) wantAnswer(t *testing.T, err error) {
	t.Helper()
	var invalid *mls.InvalidError
	switch {
	case err == nil, errors.As(err, &invalid), errors.As(err, new(*mls.MalformedError)),
		errors.As(err, new(*mls.WrongEpochError)), errors.As(err, new(*mls.UnknownProposalsError)):
	default:
		t.Errorf("an error that has no answer: %v", err)
	}
}

// sound holds a staged epoch to what every epoch must be: its tree as from scratch, and one with which a room could begin.
func (r room) sound(t *testing.T, staged *mls.Staged) {
	t.Helper()
	tree, err := mls.ParseRatchetTree(staged.After.Tree().Marshal())
	if err != nil {
		t.Fatal(err)
	}
	context := staged.After.Context()
	if !bytes.Equal(tree.TreeHash(staged.After.Suite()), context.TreeHash) {
		t.Error("the tree of the epoch is another than the one that it hashes")
	}
	info := mls.GroupInfo{Context: context, ConfirmationTag: staged.ConfirmationTag, Signer: staged.Committer}
	c := r.Member(staged.Committer)
	if leaf := staged.CommitterLeaf; c == nil || leaf == nil || !bytes.Equal(c.Key.Public(), leaf.SignatureKey) {
		return // who joined, or took another key, signs with one that is not known here
	}
	if err := info.Sign(c.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := mls.NewPublicGroup(info, tree); err != nil {
		t.Errorf("a room could not begin with the tree: %v", err)
	}
}

// FuzzApplyProposals lets a member commit any Proposals, everything about which is right but they themselves: their leaves and
// KeyPackages are signed, the path and all hashes follow. So what lies behind the signatures is reached.
func FuzzApplyProposals(f *testing.F) {
	r := fuzzedRoom(f)
	list := r.fuzzedProposals()
	for i, p := range list {
		f.Add(uint8(i), byte(1), mls.Commit{Proposals: []mls.ProposalOrRef{mls.InlineProposal{Proposal: p}}}.Marshal())
		f.Add(uint8(i), byte(i), mls.Commit{Proposals: []mls.ProposalOrRef{mls.InlineProposal{Proposal: p}, mls.InlineProposal{Proposal: list[(i+1)%len(list)]}}}.Marshal())
	}
	f.Fuzz(func(t *testing.T, committer uint8, flags byte, b []byte) {
		commit, err := mls.ParseCommit(b)
		if err != nil {
			return
		}
		r := r.forked()
		leaves := r.Leaves()
		plan := mlstest.Plan{Committer: leaves[int(committer)%len(leaves)], Path: flags&1 != 0}
		if flags&2 != 0 {
			plan.Joiner, plan.Path = part(r.Client("joiner")), true
		}
		for i, entry := range commit.Proposals {
			p, ok := entry.(mls.InlineProposal)
			if !ok || i > 8 {
				continue
			}
			signed := r.signed(p.Proposal, leaves[(int(committer)+i)%len(leaves)])
			if flags>>(2+i%6)&1 != 0 {
				plan.References = append(plan.References, r.pend(leaves[(int(committer)+i)%len(leaves)], signed))
			} else {
				plan.Inline = append(plan.Inline, signed)
			}
		}
		r.commitAny(t, plan)
	})
}

// signed signs what stands in a Proposal: a KeyPackage by a client of its own, an Update by its sender.
func (r room) signed(p mls.Proposal, from mls.LeafIndex) mls.Proposal {
	switch p := p.(type) {
	case mls.Add:
		c := part(r.Client("new"))
		p.KeyPackage.Leaf.SignatureKey = c.Key.Public()
		part(0, p.KeyPackage.Leaf.Sign(c.Key, mls.LeafPlace{}))
		part(0, p.KeyPackage.Sign(c.Key))
		return p
	case mls.Update:
		c := r.Member(from)
		p.Leaf.SignatureKey = c.Key.Public()
		part(0, p.Leaf.Sign(c.Key, mls.LeafPlace{GroupID: r.Context().GroupID, Leaf: from}))
		return p
	default:
		return p
	}
}

// commitAny lets the hub verify the Proposals that a plan refers to, and then judge the Commit.
func (r room) commitAny(t *testing.T, plan mlstest.Plan) {
	t.Helper()
	in := r.Input()
	for _, ref := range plan.References {
		m, waits := in.Proposals(ref)
		if !waits {
			t.Fatal("a Proposal is gone")
		}
		_, err := r.hub.VerifyProposal(m, mlstest.Now)
		if r.wantAnswer(t, err); err != nil { // a hub keeps only those that it has verified
			plan.References = slices.DeleteFunc(slices.Clone(plan.References), func(other mls.ProposalRef) bool { return other == ref })
		}
	}
	step, err := r.Commit(plan)
	if err != nil {
		return // it removes its own committer, say
	}
	staged, err := step.Check(r.hub, in)
	if r.wantAnswer(t, err); err == nil {
		r.sound(t, staged)
	}
}

// FuzzApplyPath lets a member commit any path, its leaf signed and everything that hangs on it made right. The bytes are an
// UpdatePath; one of its nodes is bent besides, in a way that bytes seldom are.
func FuzzApplyPath(f *testing.F) {
	r := fuzzedRoom(f)
	for _, i := range r.Leaves() {
		path := part(r.Commit(mlstest.Plan{Committer: i, Path: true})).Message.Content.Body.(mls.Commit).Path
		for way := range byte(bends) {
			f.Add(uint8(i), byte(i), way, path.Marshal())
		}
	}
	f.Fuzz(func(t *testing.T, committer uint8, node, way byte, b []byte) {
		path, err := mls.ParseUpdatePath(b)
		if err != nil {
			return
		}
		r := r.forked()
		leaves := r.Leaves()
		i := leaves[int(committer)%len(leaves)]
		r.commitAny(t, mlstest.Plan{Committer: i, Path: true,
			ChangePath: func(p *mls.UpdatePath) {
				key := p.Leaf.SignatureKey
				p.Leaf, p.Nodes = path.Leaf, path.Nodes
				p.Leaf.SignatureKey = key
				if len(p.Nodes) > 0 {
					r.bend(p, int(node)%len(p.Nodes), way%bends)
				}
			}})
	})
}

// bends is the number of ways in which a path is bent; the first leaves it as it is.
const bends = 8

func (r room) bend(p *mls.UpdatePath, k int, way byte) {
	n := &p.Nodes[k]
	switch way {
	case 1:
		n.EncryptionKey = lowOrder
	case 2:
		n.EncryptionKey = n.EncryptionKey[:len(n.EncryptionKey)/2]
	case 3:
		n.EncryptionKey = r.Leaf(r.Leaves()[k%len(r.Leaves())]).EncryptionKey
	case 4:
		n.EncryptionKey = p.Nodes[0].EncryptionKey
	case 5:
		p.Leaf.EncryptionKey = n.EncryptionKey
	case 6:
		n.Secrets = slices.Concat(n.Secrets, n.Secrets)
	case 7:
		p.Nodes = p.Nodes[:k]
	}
}

// FuzzRestore takes any GroupContext up with any tree, made to fit each other.
func FuzzRestore(f *testing.F) {
	r := fuzzedRoom(f)
	context := r.Context()
	f.Add(context.Marshal(), r.Tree())
	f.Fuzz(func(t *testing.T, c, b []byte) {
		tree, err := mls.ParseRatchetTree(b)
		if err != nil {
			return
		}
		context, err := mls.ParseGroupContext(c)
		if err != nil {
			return
		}
		suite, err := context.Suite.Suite()
		if err != nil {
			return
		}
		context.TreeHash = tree.TreeHash(suite)
		_, err = mls.RestorePublicGroup(context.Marshal(), tree, nil)
		r.wantAnswer(t, err)
		_, err = mls.NewPublicGroup(mls.GroupInfo{Context: context, ConfirmationTag: make([]byte, suite.HashBytes())}, tree)
		r.wantAnswer(t, err)
	})
}
