package mls_test

import (
	"parley/mls"
	"parley/mls/mlstest"
)

func (r room) componentChecks() {
	r = r.under("Components (mls-extensions AppDataUpdate, AppEphemeral, Safe AAD)")
	text, log := mlstest.ComponentText, mlstest.ComponentLog
	update := func(id mls.ComponentID, data string) mls.Proposal {
		return mls.AppDataUpdate{Component: id, Operation: mls.ComponentUpdate{Update: []byte(data)}}
	}
	remove := func(id mls.ComponentID) mls.Proposal {
		return mls.AppDataUpdate{Component: id, Operation: mls.ComponentRemove{}}
	}
	row := func(section, mutation, reason string, list ...mls.Proposal) *check {
		return r.commit("mls-extensions "+section, mutation, reason, framed(mlstest.Plan{Inline: list}))
	}
	row("AppDataUpdate", "an update of an unknown component", "0xf222 is not known", update(0xf222, "x")).also("there is no logic to ask")
	row("AppDataUpdate", "an update that the component refuses", "text is too long", update(text, string(make([]byte, 65)))).also("there is no data to store")
	row("AppDataUpdate", "an update after a removal", "both updated and removed", remove(text), update(text, "x"))
	row("AppDataUpdate", "a removal after an update", "0xf100 cannot be removed", update(text, "x"), remove(text))
	row("AppDataUpdate", "two removals", "component 0xf100 cannot be removed", remove(text), remove(text))
	row("AppDataUpdate", "a removal of what is not there", "0xf101 cannot be removed", remove(log))
	row("AppDataUpdate", "a removal of an unknown component", "0x0002 cannot be removed", remove(mls.ComponentSafeAAD))
	row("AppEphemeral", "an AppEphemeral of an unknown component", "0xf222 is not known", mls.AppEphemeral{Component: 0xf222})
	row("AppEphemeral", "an app_ack that cannot be read", "needs 12 bytes", mls.AppEphemeral{Component: mls.ComponentAppAck, Data: []byte{1, 1}}).reason = "component 0x0005"
	row("AppEphemeral", "an app_ack of a range that ends before it begins", "before the first",
		mls.AppEphemeral{Component: mls.ComponentAppAck, Data: mls.AppAck{{Sender: 1, First: 2, Last: 1}}.Marshal()})
	extensions := r.Context().Extensions
	dictionary := part(extensions.Dictionary()).With(text, []byte("another"))
	guarded := framed(inline(mls.GroupContextExtensions{Extensions: extensions.With(mls.ExtensionAppDataDictionary, dictionary.Marshal())}))
	r.commit("mls-extensions AppDataUpdate", "a GroupContextExtensions that changes the dictionary, where app_data_update is required", "changes the app_data_dictionary", guarded)
	r.commit("mls-extensions Safe AAD", "authenticated data that is no SafeAAD", "cannot be read", mlstest.Plan{Path: true, AuthenticatedData: []byte{9}})
	unordered := mls.SafeAAD{{Component: 9}, {Component: 7}}
	r.commit("mls-extensions Safe AAD", "a SafeAAD out of order", "stands after", mlstest.Plan{Path: true, AuthenticatedData: unordered.Marshal()})
	r.add("mls-extensions Application Data Dictionary", "a message under a GroupContext whose dictionary cannot be read", "cannot be read", func() error {
		return mls.GroupContext{Extensions: mls.Extensions{{Type: mls.ExtensionAppDataDictionary, Data: []byte{9}}}}.CheckAuthenticatedData(nil)
	})
	r.add("mls-extensions Safe AAD", "a PrivateMessage whose authenticated data is no SafeAAD", "authenticated data", func() error {
		return r.Context().CheckAuthenticatedData([]byte{9})
	})
}

// bundle is a row of a legal Commit, what comes with which is changed.
func (r room) bundle(section, mutation, reason string, plan mlstest.Plan, change func(*mlstest.Step)) *check {
	return r.add(section, mutation, reason, func() error {
		step, err := r.Commit(plan)
		if err != nil {
			return err
		}
		change(step)
		return r.take(r.Input(), step)
	})
}

func (r room) bundleChecks() {
	r = r.under("GroupInfo (§12.4.3) and Welcome (§12.4.3.1) of a Commit")
	octets := r.Octets(64)
	info := func(section, mutation, reason string, change func(*mls.GroupInfo)) *check {
		return r.commit(section, mutation, reason, mlstest.Plan{Path: true, ChangeInfo: change})
	}
	info("RFC 9420 §12.4.3", "another epoch", "epoch (7, not 6) differs", func(g *mls.GroupInfo) { g.Context.Epoch++ })
	info("RFC 9420 §12.4.3", "another group_id", "group_id differs", func(g *mls.GroupInfo) { g.Context.GroupID = "another" })
	info("RFC 9420 §12.4.3", "another suite", "cipher_suite differs", func(g *mls.GroupInfo) { g.Context.Suite = 3 })
	info("RFC 9420 §7.8", "another tree hash", "tree_hash differs", func(g *mls.GroupInfo) { g.Context.TreeHash = octets[:32] }).section = "RFC 9420 §12.4.3"
	info("RFC 9420 §8.2", "another transcript", "confirmed_transcript_hash differs", func(g *mls.GroupInfo) { g.Context.ConfirmedTranscriptHash = octets[:32] }).section = "RFC 9420 §12.4.3"
	info("RFC 9420 §12.4.3", "other extensions", "extensions differs", func(g *mls.GroupInfo) { g.Context.Extensions = mls.Extensions{{Type: 0xf000}} })
	info("RFC 9420 §12.4.3", "another confirmation tag than the Commit's", "confirmation tag is not", func(g *mls.GroupInfo) { g.ConfirmationTag = octets[:32] })
	info("RFC 9420 §12.4.3.2", "no external_pub", "no external_pub", func(g *mls.GroupInfo) { g.Extensions = nil }).also("the key cannot be read")
	info("RFC 9420 §12.4.3.2", "an external_pub of low order", "external_pub is not a key", func(g *mls.GroupInfo) {
		g.Extensions = mls.Extensions{{Type: mls.ExtensionExternalPub, Data: mls.ExternalPub{Key: lowOrder}.Marshal()}}
	})
	info("RFC 9420 §12.4.3.3", "a ratchet_tree inside", "carries a ratchet_tree", func(g *mls.GroupInfo) { g.Extensions = g.Extensions.With(mls.ExtensionRatchetTree, nil) })
	info("RFC 9420 §12.4.3", "a signer that is no member", "signer 7 is not a member", func(g *mls.GroupInfo) { g.Signer = 7 }).also("there is no key to verify with")
	info("RFC 9420 §12.4.3", "another member as the signer", "signature of the GroupInfo", func(g *mls.GroupInfo) { g.Signer = 2 })

	add := mlstest.Plan{Inline: []mls.Proposal{part(r.Add("one")), part(r.Add("two"))}}
	welcome := func(mutation, reason string, change func(*mls.Welcome)) *check {
		return r.bundle("RFC 9420 §12.4.3.1", mutation, reason, add, func(s *mlstest.Step) { change(s.Welcome) })
	}
	welcome("a Welcome of another suite", "Welcome is of suite 0x0003", func(w *mls.Welcome) { w.Suite = 3 })
	welcome("a Welcome that leaves out one who is added", "1 clients", func(w *mls.Welcome) { w.Secrets = w.Secrets[1:] })
	welcome("a Welcome for one more", "3 clients", func(w *mls.Welcome) {
		w.Secrets = append(w.Secrets, mls.EncryptedGroupSecrets{NewMember: mls.KeyPackageRef(octets[:32]), Secrets: w.Secrets[0].Secrets})
	})
	welcome("a Welcome for one twice", "2 clients that are not", func(w *mls.Welcome) { w.Secrets[1] = w.Secrets[0] })
	r.bundle("RFC 9420 §12.4.3.1", "no Welcome for those who are added", "for 0 clients", add, func(s *mlstest.Step) { s.Welcome = nil })
	r.bundle("RFC 9420 §12.4.3.1", "a Welcome for nobody", "for nobody", mlstest.Plan{Path: true},
		func(s *mlstest.Step) { s.Welcome = &mls.Welcome{Suite: 1, EncryptedGroupInfo: octets} })
	r.add("RFC 9420 §7.8", "the tree of the epoch before", "not this epoch's", func() error {
		step, err := r.Commit(mlstest.Plan{Path: true})
		if err != nil {
			return err
		}
		staged, err := step.Check(r.hub, r.Input())
		if err != nil {
			return err
		}
		return staged.After.CheckTree(r.hub.Tree())
	})
}

func (r room) treeChecks() {
	r = r.under("The tree and GroupInfo with which a room begins (§12.4.3.1, §12.4.3.3, §7.9.2)")
	row := func(section, mutation, reason string, spoil mlstest.Spoil) *check {
		return r.add(section, mutation, reason, func() error {
			group, err := mlstest.New(mlstest.Config{Suite: 1, Seed: 8, Members: 6, Parents: true, Epoch: 5, Spoil: &spoil})
			if err != nil {
				return err
			}
			_, err = group.Public()
			return err
		})
	}
	octets := r.Octets(64)
	leaf := func(at mls.LeafIndex, change func(*mls.LeafNode)) mlstest.Spoil {
		return mlstest.Spoil{Leaf: func(i mls.LeafIndex, n *mls.LeafNode) {
			if i == at {
				change(n)
			}
		}}
	}
	parent := func(at mls.NodeIndex, change func(*mls.ParentNode)) mlstest.Spoil {
		return mlstest.Spoil{Parent: func(x mls.NodeIndex, p *mls.ParentNode) {
			if x == at {
				change(p)
			}
		}}
	}
	var first []byte // of the node or leaf that was made first
	again := func(key *[]byte) {
		if first == nil {
			first = *key
		}
		*key = first
	}
	row("RFC 9420 §12.4.3.1", "a tree that the GroupInfo does not hash", "not the one that the GroupContext", mlstest.Spoil{Info: func(g *mls.GroupInfo) { g.Context.TreeHash = octets[:32] }})
	row("RFC 9420 §12.4.3", "a confirmation tag that is too short", "tag has 31 bytes", mlstest.Spoil{Info: func(g *mls.GroupInfo) { g.ConfirmationTag = g.ConfirmationTag[1:] }})
	row("RFC 9420 §12.4.3", "another signer", "signature of the GroupInfo", mlstest.Spoil{Info: func(g *mls.GroupInfo) { g.Signer = 2 }}).reason = "signature of the GroupInfo is wrong"
	row("RFC 9420 §7.9.2", "a parent without its parent hash", "has the parent hash of 0 nodes", leaf(0, func(n *mls.LeafNode) { n.Source = mls.LeafCommit{ParentHash: octets[:32]} }))
	row("RFC 9420 §7.9.2", "a parent over a node that its path did not make, and that was not added since", "parent node 7 has the parent hash of 0",
		mlstest.Spoil{Blank: func(x mls.NodeIndex) bool { return x == 3 }})
	row("RFC 9420 §12.4.3.1", "an unmerged leaf that is blank", "unmerged leaf 6 is blank", parent(7, func(p *mls.ParentNode) { p.UnmergedLeaves = []mls.LeafIndex{6} }))
	row("RFC 9420 §12.4.3.1", "an unmerged leaf that is not below", "not a member under it", parent(3, func(p *mls.ParentNode) { p.UnmergedLeaves = []mls.LeafIndex{5} })).also("unmerged above node 5 and not there")
	row("RFC 9420 §12.4.3.1", "a leaf that is unmerged above and not below", "is unmerged above node", parent(7, func(p *mls.ParentNode) { p.UnmergedLeaves = []mls.LeafIndex{1} })).also("§7.9.2")
	row("syntax", "unmerged leaves out of order", "do not increase", parent(7, func(p *mls.ParentNode) { p.UnmergedLeaves = []mls.LeafIndex{5, 4} })).also("§12.4.3.1, their order is relied on")
	row("RFC 9420 §7.1", "a parent's key of low order", "encryption key of node 7", parent(7, func(p *mls.ParentNode) { p.EncryptionKey = lowOrder }))
	row("RFC 9420 §12.4.3.1", "one key for two parents", "stands at another node", mlstest.Spoil{Parent: func(_ mls.NodeIndex, p *mls.ParentNode) { again(&p.EncryptionKey) }})
	row("RFC 9420 §7.1", "a leaf's key of low order", "key of the leaf is not", leaf(1, func(n *mls.LeafNode) { n.EncryptionKey = lowOrder }))
	row("RFC 9420 §7.3", "one encryption key for two leaves", "encryption key of leaf", mlstest.Spoil{Leaf: keepFirst(func(n *mls.LeafNode) *[]byte { return &n.EncryptionKey })})
	row("RFC 9420 §7.3", "one signature key for two leaves", "signature key of leaf", mlstest.Spoil{Leaf: keepFirst(func(n *mls.LeafNode) *[]byte { return &n.SignatureKey })})
	row("RFC 9420 §7.3", "a wrong signature of a leaf", "signature of leaf 1", mlstest.Spoil{Signed: func(i mls.LeafIndex, n *mls.LeafNode) {
		if i == 1 {
			n.Signature = octets
		}
	}})
	row("RFC 9420 §11.1", "a member that does not support the suite", "a member does not support the group's cipher suite", leaf(1, func(n *mls.LeafNode) { n.Capabilities.Suites = nil }))
	r.add("mls-extensions Application Data Dictionary", "a GroupContext whose dictionary cannot be read", "GroupContext cannot be read", func() error {
		group, err := mlstest.New(mlstest.Config{Suite: 1, Members: 1, Extensions: mls.Extensions{{Type: mls.ExtensionAppDataDictionary, Data: []byte{9}}}})
		if err != nil {
			return err
		}
		_, err = group.Public()
		return err
	}).also("mls-extensions Negotiation")
}

// keepFirst gives the leaves a key of the first that is made.
func keepFirst(key func(*mls.LeafNode) *[]byte) func(mls.LeafIndex, *mls.LeafNode) {
	var first []byte
	return func(_ mls.LeafIndex, n *mls.LeafNode) {
		if k := key(n); first == nil {
			first = *k
		} else {
			*k = first
		}
	}
}
