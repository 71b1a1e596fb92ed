package mls_test

import (
	"parley/mls"
	"parley/mls/mlstest"
)

func (r room) pathChecks() {
	r = r.under("The path (§7.5, §7.6, §7.9, §12.4.2)")
	row := func(section, mutation, reason string, change func(*mls.UpdatePath)) *check {
		return r.commit(section, mutation, reason, mlstest.Plan{Path: true, ChangePath: change})
	}
	node := func(section, mutation, reason string, change func(*mls.UpdatePathNode)) *check {
		return row(section, mutation, reason, func(p *mls.UpdatePath) { change(&p.Nodes[0]) })
	}
	octets := r.Octets(64)
	row("RFC 9420 §7.6", "a node too many", "filtered direct path of leaf 0 has 3", func(p *mls.UpdatePath) {
		p.Nodes = append(p.Nodes, mls.UpdatePathNode{EncryptionKey: r.Octets(32)})
	})
	row("RFC 9420 §7.6", "a node too few", "has 2 nodes", func(p *mls.UpdatePath) { p.Nodes = p.Nodes[:2] }).also("there is no node to merge")
	node("RFC 9420 §7.6", "a ciphertext too many", "2 secrets for a resolution of 1", func(n *mls.UpdatePathNode) { n.Secrets = append(n.Secrets, n.Secrets[0]) })
	node("RFC 9420 §7.6", "a ciphertext too few", "0 secrets for", func(n *mls.UpdatePathNode) { n.Secrets = nil })
	r.commit("RFC 9420 §7.6", "a ciphertext for a new member", "secrets for a resolution", r.secretForAdded())
	node("RFC 9420 §7.6", "a key of low order", "key of path node 0 is not", func(n *mls.UpdatePathNode) { n.EncryptionKey = lowOrder })
	node("RFC 9420 §7.6", "a kem_output of low order", "no ciphertext", func(n *mls.UpdatePathNode) { n.Secrets[0].KEMOutput = lowOrder })
	node("RFC 9420 §7.6", "a ciphertext of another length", "no ciphertext of", func(n *mls.UpdatePathNode) { n.Secrets[0].Ciphertext = octets[:47] })
	row("RFC 9420 §12.4.2", "a key that stands twice in the path", "twice in the path", func(p *mls.UpdatePath) { p.Nodes[1].EncryptionKey = p.Nodes[0].EncryptionKey })
	row("RFC 9420 §12.4.2", "the leaf's key at a node", "node 0 stands twice", func(p *mls.UpdatePath) { p.Nodes[0].EncryptionKey = p.Leaf.EncryptionKey }).also("§7.3, the leaf's key")
	node("RFC 9420 §12.4.2", "a member's key", "in the tree already", func(n *mls.UpdatePathNode) { n.EncryptionKey = r.Leaf(2).EncryptionKey })
	row("RFC 9420 §12.4.2", "the root keeps its key", "stands in the tree already",
		func(p *mls.UpdatePath) { p.Nodes[2].EncryptionKey = r.Parent(r.Root()).EncryptionKey })
	row("RFC 9420 §12.4.2", "the leaf keeps its key", "old encryption key", func(p *mls.UpdatePath) { p.Leaf.EncryptionKey = r.Leaf(0).EncryptionKey }).
		also("the key stands in the tree already")
	row("RFC 9420 §7.1", "a leaf with a key of low order", "not a key", func(p *mls.UpdatePath) { p.Leaf.EncryptionKey = lowOrder })
	row("RFC 9420 §5.3", "a leaf with a chain of no certificates", "no certificate", func(p *mls.UpdatePath) { p.Leaf.Credential = mls.X509Credential{} }).
		also("§7.3, the credential type")
	row("RFC 9420 §7.3", "a leaf with an extension that it does not list", "does not list", func(p *mls.UpdatePath) { p.Leaf.Extensions = mls.Extensions{{Type: 0xf00f}} })
	row("RFC 9420 §7.3", "a leaf with another member's signature key", "signature key of leaf", func(p *mls.UpdatePath) { p.Leaf.SignatureKey = r.Leaf(2).SignatureKey })
	row("RFC 9420 §7.3", "a leaf that drops the credential type", "credential type", func(p *mls.UpdatePath) { p.Leaf.Capabilities.Credentials = nil })
	r.commit("RFC 9420 §7.3", "a wrong signature of the new leaf", "committer's new leaf", mlstest.Plan{Path: true, ChangeSignedLeaf: func(n *mls.LeafNode) { n.Signature = octets }})
	r.commit("RFC 9420 §7.9.2", "a wrong parent hash in the leaf", "parent hash of the committer's leaf", mlstest.Plan{Path: true,
		ChangeLeaf: func(n *mls.LeafNode) { n.Source = mls.LeafCommit{ParentHash: octets[:32]} }})
	alone := newRoom(panicking{}, r.list, mlstest.Config{Suite: 1, Seed: 7, Members: 1})
	alone.name = r.name
	alone.commit("RFC 9420 §7.3", "a leaf of another source than commit", "another source than commit", mlstest.Plan{Path: true,
		ChangeLeaf: func(n *mls.LeafNode) { n.Source = mls.LeafUpdate{} }})
	r.add("RFC 9420 §7.7", "an Add to a tree of 131,072 leaves that is full", "more than 131072 leaves", r.fullTree)
}

// secretForAdded is a Commit of an Add with a path that has a ciphertext for the new leaf too.
func (r room) secretForAdded() mlstest.Plan {
	p := inline(part(r.Add("new")))
	p.Committer = 5
	p.ChangePath = func(p *mls.UpdatePath) { p.Nodes[1].Secrets = p.Nodes[0].Secrets }
	return p
}

// fullTree adds a member to a tree that must not grow. All its leaves are alike, which the hub does not look at anew.
func (r room) fullTree() error {
	nodes := make([][]byte, 2*mls.LeavesMax-1)
	for i := 0; i < len(nodes); i += 2 {
		nodes[i] = r.hub.Tree().Node(0)
	}
	tree, err := mls.NewRatchetTree(nodes)
	if err != nil {
		return err
	}
	context := r.Context()
	context.TreeHash = tree.TreeHash(r.hub.Suite())
	hub, err := mls.RestorePublicGroup(context.Marshal(), tree, r.hub.InterimTranscriptHash())
	if err != nil {
		return err
	}
	m := &mls.PublicMessage{Content: mls.FramedContent{GroupID: context.GroupID, Epoch: context.Epoch, Sender: mls.MemberSender{},
		Body: mls.Commit{Proposals: []mls.ProposalOrRef{mls.InlineProposal{Proposal: part(r.Add("new"))}}}}}
	m.Auth.ConfirmationTag, m.MembershipTag = r.Octets(32), r.Octets(32)
	if err := m.Sign(r.Member(0).Key, context.Marshal()); err != nil {
		return err
	}
	_, err = hub.Stage(m, r.Input())
	return err
}
