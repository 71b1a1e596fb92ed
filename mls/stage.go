package mls

import (
	"math"
	"slices"
)

// CommitInput is what a Commit is judged with, from outside the group.
type CommitInput struct {
	// Proposals finds a Proposal of this epoch that VerifyProposal accepted.
	Proposals func(ProposalRef) (*PublicMessage, bool)
	// Components has the logic of each component that is known; a component that is not known cannot be updated.
	Components map[ComponentID]ComponentApplier
	// Ephemerals says what the AppEphemerals of a component may carry; those of app_ack are looked at without it.
	Ephemerals map[ComponentID]EphemeralCheck
	// Leaving reports whether a SelfRemove of this member waits for a Commit, whether this one names it or not; nil where none does.
	Leaving func(LeafIndex) bool
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
	if err := g.checkProcessable(list, sorted.removes); err != nil {
		return nil, err
	}
	for _, c := range list {
		if remove, ok := c.Proposal.(Remove); ok && in.leaving(remove.Removed) {
			return nil, invalidRemove(remove)
		}
	}
	context := g.context
	tree := g.tree.clone()
	if context.Extensions, err = g.nextExtensions(sorted, in); err != nil {
		return nil, err
	}
	if err := staged.changeTree(tree, sorted); err != nil {
		return nil, err
	}
	if err := staged.renewCommitter(tree, m.Content.Sender, commit.Path, sorted.removes); err != nil {
		return nil, err
	}
	if tree.LeafCount() > LeavesMax {
		return nil, invalid("7.7", "the tree would have more than %d leaves", LeavesMax)
	}
	if err := staged.checkLeaves(tree, sorted, commit.Path != nil, context.Extensions); err != nil {
		return nil, err
	}
	if context.Epoch == math.MaxUint64 {
		return nil, invalid("8.1", "there is no epoch after this one")
	}
	context.Epoch++
	context.TreeHash = tree.TreeHash(g.suite)
	context.ConfirmedTranscriptHash = g.suite.ConfirmedTranscriptHash(g.interim, m.Authenticated())
	staged.After, err = completed(&PublicGroup{
		suite: g.suite, context: context, tree: tree, ended: sorted.reInit != nil,
		interim: g.suite.InterimTranscriptHash(context.ConfirmedTranscriptHash, m.Auth.ConfirmationTag),
	})
	return staged, err
}

// checkProcessable refuses Proposals of a type that somebody does not support who has to process the Commit: a member that it
// does not remove (RFC 9420 §12.2).
func (g *PublicGroup) checkProcessable(list []CommittedProposal, removes []LeafIndex) error {
	var remaining *RatchetTree
	for _, c := range list {
		t := c.Proposal.ProposalType()
		if defaultProposal(t) || g.tree.root.common.has(kindProposal|code(t)) {
			continue
		}
		if remaining == nil {
			remaining = &RatchetTree{root: g.tree.root, top: g.tree.top}
			for _, i := range removes {
				if remaining.Leaf(i) != nil {
					remaining.set(i.Node(), nil)
				}
			}
		}
		if remaining.MemberCount() > 0 && !remaining.root.common.has(kindProposal|code(t)) {
			return invalid("12.2", "a member does not support proposals of type 0x%04x", uint16(t))
		}
	}
	return nil
}

// checkLeaves verifies the new leaves beside all others (RFC 9420 §7.3), in the tree and under the extensions after the Commit.
func (s *Staged) checkLeaves(tree *RatchetTree, list *proposalList, path bool, extensions Extensions) error {
	var changed []LeafIndex
	for _, u := range list.updates {
		changed = append(changed, u.from)
	}
	for _, a := range s.Added {
		changed = append(changed, a.Leaf)
	}
	if path {
		changed = append(changed, s.Committer)
	}
	for _, i := range changed {
		if err := tree.checkUnique(i); err != nil {
			return err
		}
	}
	return tree.checkSupport(s.Before.suite, extensions, changed, s.Before.tree)
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
	for _, p := range list.ephemerals {
		if err := in.CheckEphemeral(p); err != nil {
			return nil, err
		}
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
		if tree.keyCount(forSignature, a.KeyPackage.Leaf.SignatureKey) > 0 {
			return invalid("12.2", "an added client is already in the group, or added twice: its signature key is there")
		}
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
func (s *Staged) renewCommitter(tree *RatchetTree, sender Sender, path *UpdatePath, removes []LeafIndex) error {
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
	if err := s.checkPath(tree, path, removes); err != nil {
		return err
	}
	added := make(map[NodeIndex]bool, len(s.Added))
	for _, a := range s.Added {
		added[a.Leaf.Node()] = true
	}
	if err := tree.merge(s.Before.suite, s.Committer, path, added); err != nil {
		return err
	}
	s.CommitterLeaf = tree.Leaf(s.Committer)
	return nil
}

// checkPath verifies the committer's new leaf by itself, and that the path's keys are keys of the suite and new to the tree
// (RFC 9420 §12.4.2), before the path is merged into it.
func (s *Staged) checkPath(tree *RatchetTree, path *UpdatePath, removes []LeafIndex) error {
	group := s.Before
	if !path.Leaf.Verify(group.suite, LeafPlace{GroupID: group.context.GroupID, Leaf: s.Committer}) {
		return invalid("7.3", "the signature of the committer's new leaf is wrong")
	}
	if err := path.Leaf.checkAlone(group.suite); err != nil {
		return err
	}
	if before := tree.Leaf(s.Committer); before != nil && string(before.EncryptionKey) == string(path.Leaf.EncryptionKey) {
		return invalid("12.4.2", "the path keeps the committer's old encryption key")
	}
	for _, i := range removes {
		// One who joins anew takes the place of an earlier leaf, and is to renew its key as an Update would.
		if gone := group.tree.Leaf(i); s.External && string(gone.EncryptionKey) == string(path.Leaf.EncryptionKey) {
			return invalid("12.2", "the external Commit keeps the encryption key of the leaf that it removes")
		}
	}
	seen := map[string]bool{string(path.Leaf.EncryptionKey): true}
	for k, n := range path.Nodes {
		if !group.suite.ValidHPKEKey(n.EncryptionKey) {
			return invalid("7.6", "the key of path node %d is not a key of the suite", k)
		}
		if !group.suite.validSecrets(n.Secrets) {
			return invalid("7.6", "a secret of path node %d is no ciphertext of the suite", k)
		}
		if seen[string(n.EncryptionKey)] {
			return invalid("12.4.2", "the key of path node %d stands twice in the path", k)
		}
		seen[string(n.EncryptionKey)] = true
	}
	for key := range seen {
		if tree.keyCount(forEncryption, []byte(key)) > 0 {
			return invalid("12.4.2", "a key of the path stands in the tree already")
		}
	}
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

// GroupInfo rebuilds the GroupInfo of the epoch that the Commit begins from what only the committer knows of it, its
// extensions and signature (ratchet-tree-options §4, PartialGroupInfo). After's CheckGroupInfo verifies it.
func (s *Staged) GroupInfo(extensions Extensions, signature []byte) GroupInfo {
	return GroupInfo{
		Context: s.After.context, Extensions: extensions, ConfirmationTag: s.ConfirmationTag, Signer: s.Committer, Signature: signature,
	}
}

// CheckWelcome verifies that a Welcome, nil for none, is for exactly the clients that the Commit adds (RFC 9420 §12.4.3.1).
func (s *Staged) CheckWelcome(w *Welcome) error {
	added := make([]KeyPackageRef, len(s.Added))
	for i, a := range s.Added {
		added[i] = a.Ref
	}
	var welcomed []KeyPackageRef
	if w != nil {
		switch {
		case w.Suite != s.After.suite.ID:
			return invalid("12.4.3.1", "the Welcome is of suite 0x%04x", uint16(w.Suite))
		case len(w.Secrets) == 0:
			return invalid("12.4.3.1", "the Welcome is for nobody")
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
