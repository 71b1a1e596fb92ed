package mls

import "slices"

// CommitInput is what a Commit is judged with, from outside the group.
type CommitInput struct {
	// Proposals finds a Proposal of this epoch that VerifyProposal accepted.
	Proposals func(ProposalRef) (*PublicMessage, bool)
	// Components has the logic of each component that is known; a component that is not known cannot be updated.
	Components map[ComponentID]ComponentApplier
	// AtSeconds is the time, in seconds since 1970, at which the lifetimes of added KeyPackages are judged.
	AtSeconds uint64
}

// Staged is what a Commit would make of a group. Nothing has changed until the caller makes After the room's state.
type Staged struct {
	Before, After *PublicGroup
	// Committer is the committer's leaf in After, and CommitterLeaf what stands there.
	Committer     LeafIndex
	CommitterLeaf *LeafNode
	// External is true where the committer joined by this Commit.
	External        bool
	ConfirmationTag []byte
	Proposals       []CommittedProposal // in the Commit's order
	Added           []AddedMember       // in the order of their Adds
	Removed         []RemovedMember     // by SelfRemove, then by Remove
	// ReInit is set where the Commit ends the group (RFC 9420 §12.1.5).
	ReInit *ReInit
}

// AddedMember is a client that a Commit's Add brings in. One who joins by an external Commit is not among them.
type AddedMember struct {
	Leaf       LeafIndex
	Ref        KeyPackageRef
	KeyPackage KeyPackage
}

// RemovedMember is a leaf that a Commit takes out, with its last content.
type RemovedMember struct {
	Leaf LeafIndex
	Node *LeafNode
}

// Stage judges a Commit against the group and computes the epoch after it (RFC 9420 §12.4.2, as far as it can be done
// without the group's secrets). The errors are *InvalidError, *WrongEpochError, *UnknownProposalsError and, where an
// extension of the group is unreadable, *MalformedError. What came with the Commit is checked on its outcome:
// Staged.CheckWelcome, and After's CheckGroupInfo and CheckTree.
func (g *PublicGroup) Stage(m *PublicMessage, in CommitInput) (*Staged, error) {
	commit, ok := m.Content.Body.(Commit)
	if !ok {
		return nil, invalid("12.4", "the message is not a Commit")
	}
	if err := g.verifyFraming(m); err != nil {
		return nil, err
	}
	list, err := g.resolve(commit, m.Content.Sender, in)
	if err != nil {
		return nil, err
	}
	sorted, err := sortList(list, m.Content.Sender)
	if err != nil {
		return nil, err
	}
	if commit.Path == nil && needsPath(list) {
		return nil, invalid("12.4", "the Commit needs a path and has none")
	}
	staged := &Staged{Before: g, ConfirmationTag: m.Auth.ConfirmationTag, Proposals: list, ReInit: sorted.reInit}
	context := g.context
	tree := g.tree.clone()
	if context.Extensions, err = g.nextExtensions(sorted, in); err != nil {
		return nil, err
	}
	if err := staged.changeTree(tree, sorted); err != nil {
		return nil, err
	}
	if err := staged.renewCommitter(tree, m.Content.Sender, commit.Path); err != nil {
		return nil, err
	}
	if tree.LeafCount() > LeavesMax {
		return nil, invalid("7.7", "the tree would have more than %d leaves", LeavesMax)
	}
	context.Epoch++
	context.TreeHash = tree.TreeHash(g.suite)
	context.ConfirmedTranscriptHash = g.suite.ConfirmedTranscriptHash(g.interim, m.Authenticated())
	staged.After = &PublicGroup{
		suite: g.suite, context: context, contextBytes: context.Marshal(), tree: tree,
		interim: g.suite.InterimTranscriptHash(context.ConfirmedTranscriptHash, m.Auth.ConfirmationTag),
	}
	return staged, nil
}

// nextExtensions applies what changes the GroupContext's extensions: GroupContextExtensions first (RFC 9420 §12.3), then
// AppEphemeral and AppDataUpdate (mls-extensions).
func (g *PublicGroup) nextExtensions(list *proposalList, in CommitInput) (Extensions, error) {
	extensions := g.context.Extensions
	if list.context != nil {
		var err error
		if extensions, err = g.replaceExtensions(*list.context); err != nil {
			return nil, err
		}
	}
	if err := checkEphemerals(list.ephemerals, in.Components); err != nil {
		return nil, err
	}
	return applyAppData(extensions, list.appData, in.Components)
}

// changeTree applies Update, SelfRemove, Remove and Add, in that order (RFC 9420 §12.3, mls-extensions).
func (s *Staged) changeTree(tree *RatchetTree, list *proposalList) error {
	for _, u := range list.updates {
		tree.update(u.from, u.leaf)
	}
	for _, i := range list.removes {
		leaf := tree.Leaf(i)
		if leaf == nil {
			return invalid("12.1.3", "leaf %d, to be removed, is not a member", i)
		}
		s.Removed = append(s.Removed, RemovedMember{Leaf: i, Node: leaf})
		tree.remove(i)
	}
	for _, a := range list.adds {
		ref, err := a.KeyPackage.Ref()
		if err != nil {
			return err
		}
		s.Added = append(s.Added, AddedMember{Leaf: tree.add(a.KeyPackage.Leaf), Ref: ref, KeyPackage: a.KeyPackage})
	}
	return nil
}

// renewCommitter finds the committer's place in the new tree, where an external one takes the leftmost blank leaf, and merges
// its path.
func (s *Staged) renewCommitter(tree *RatchetTree, sender Sender, path *UpdatePath) error {
	switch sender := sender.(type) {
	case MemberSender:
		s.Committer = sender.Leaf
	default: // new_member_commit: senderKey let no other through
		s.External = true
		s.Committer = tree.takeBlankLeaf()
	}
	if path == nil {
		s.CommitterLeaf = tree.Leaf(s.Committer)
		return nil
	}
	group := s.Before
	if !path.Leaf.Verify(group.suite, LeafPlace{GroupID: group.context.GroupID, Leaf: s.Committer}) {
		return invalid("7.3", "the signature of the committer's new leaf is wrong")
	}
	if before := tree.Leaf(s.Committer); before != nil && string(before.EncryptionKey) == string(path.Leaf.EncryptionKey) {
		return invalid("12.4.2", "the path keeps the committer's old encryption key")
	}
	added := make(map[NodeIndex]bool, len(s.Added))
	for _, a := range s.Added {
		added[a.Leaf.Node()] = true
	}
	if err := tree.merge(group.suite, s.Committer, path, added); err != nil {
		return err
	}
	s.CommitterLeaf = tree.Leaf(s.Committer)
	return nil
}

// Epoch is the epoch that the Commit begins.
func (s *Staged) Epoch() Epoch { return s.After.Epoch() }

// ChangedNodes is what the Commit changed of the tree: node index to encoding, nil where blank. Nodes from the width of
// After's tree on are gone.
func (s *Staged) ChangedNodes() map[NodeIndex][]byte { return s.After.tree.Changes(s.Before.tree) }

// References lists the Proposals that the Commit named by reference, in its order.
func (s *Staged) References() []ProposalRef {
	var refs []ProposalRef
	for _, p := range s.Proposals {
		if p.Ref != "" {
			refs = append(refs, p.Ref)
		}
	}
	return refs
}

// CheckWelcome verifies that a Welcome, nil for none, is for exactly the clients that the Commit adds (RFC 9420 §12.4.3.1).
func (s *Staged) CheckWelcome(w *Welcome) error {
	added := make([]KeyPackageRef, len(s.Added))
	for i, a := range s.Added {
		added[i] = a.Ref
	}
	var welcomed []KeyPackageRef
	if w != nil {
		if w.Suite != s.After.suite.ID {
			return invalid("12.4.3.1", "the Welcome is of suite 0x%04x", uint16(w.Suite))
		}
		welcomed = w.Refs()
	}
	slices.Sort(added)
	slices.Sort(welcomed)
	if !slices.Equal(added, welcomed) {
		return invalid("12.4.3.1", "the Welcome is for %d clients that are not the %d added ones", len(welcomed), len(added))
	}
	return nil
}
