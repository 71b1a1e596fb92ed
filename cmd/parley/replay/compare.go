package replay

import (
	"bytes"
	"fmt"

	"parley/cmd/parley/inspect"
	"parley/mls"
)

// compareEpoch compares the hub's epoch, with its confirmation tag, with all that a step says holds after it.
func compareEpoch(r *Result, s step, g *mls.PublicGroup, tag []byte) {
	context := g.Context()
	if s.Epoch.given && s.Epoch.value != uint64(g.Epoch()) {
		r.differs("epoch", fmt.Sprint(s.Epoch.value), fmt.Sprint(g.Epoch()))
	}
	for _, f := range []struct {
		name string
		said optional[[]byte]
		got  []byte
	}{
		{"tree_hash", s.TreeHash, context.TreeHash},
		{"confirmed_transcript_hash", s.Confirmed, context.ConfirmedTranscriptHash},
		{"confirmation_tag", s.ConfirmationTag, tag},
	} {
		if f.said.given {
			compareOctets(r, f.name, f.said.value, f.got)
		}
	}
	if s.Context != nil && !bytes.Equal(s.Context.content, g.ContextBytes()) {
		said, err := mls.ParseGroupContext(s.Context.content)
		if err != nil {
			r.differs("group_context", "a GroupContext", unreadable(s.Context, err))
		} else {
			compareContext(r, "group_context", said, context)
		}
	}
	if s.Tree != nil {
		compareTree(r, "ratchet_tree", s.Tree, g.Tree())
	}
	if s.GroupInfo != nil {
		info, err := parseGroupInfo(s.GroupInfo)
		if err != nil {
			r.differs("group_info", "a GroupInfo", err.Error())
		} else {
			compareGroupInfo(r, "group_info", g, tag, info)
		}
	}
}

func compareOctets(r *Result, field string, said, got []byte) {
	if !bytes.Equal(said, got) {
		r.differs(field, octets(said), octets(got))
	}
}

func octets(b []byte) string {
	if len(b) == 0 {
		return "(empty)"
	}
	return fmt.Sprintf("%x", b)
}

// compareContext names each field in which two GroupContexts differ.
func compareContext(r *Result, field string, said, got mls.GroupContext) {
	if said.Suite != got.Suite {
		r.differs(field+".cipher_suite", inspect.SuiteName(said.Suite), inspect.SuiteName(got.Suite))
	}
	compareOctets(r, field+".group_id", []byte(said.GroupID), []byte(got.GroupID))
	if said.Epoch != got.Epoch {
		r.differs(field+".epoch", fmt.Sprint(said.Epoch), fmt.Sprint(got.Epoch))
	}
	compareOctets(r, field+".tree_hash", said.TreeHash, got.TreeHash)
	compareOctets(r, field+".confirmed_transcript_hash", said.ConfirmedTranscriptHash, got.ConfirmedTranscriptHash)
	compareExtensions(r, field+".extensions", said.Extensions, got.Extensions)
}

// compareExtensions names each extension in which two lists differ, or else says that their order does.
func compareExtensions(r *Result, field string, said, got mls.Extensions) {
	if bytes.Equal(said.Marshal(), got.Marshal()) {
		return
	}
	before := len(r.Differences)
	for _, e := range said {
		data, present := got.Get(e.Type)
		switch name := fmt.Sprintf("%s.%s", field, inspect.ExtensionName(e.Type)); {
		case !present:
			r.differs(name, octets(e.Data), "absent")
		default:
			compareOctets(r, name, e.Data, data)
		}
	}
	for _, e := range got {
		if _, present := said.Get(e.Type); !present {
			r.differs(fmt.Sprintf("%s.%s", field, inspect.ExtensionName(e.Type)), "absent", octets(e.Data))
		}
	}
	if len(r.Differences) == before {
		r.differs(field, order(said), order(got))
	}
}

// order lists extensions as they stand.
func order(l mls.Extensions) (out string) {
	for i, e := range l {
		if i > 0 {
			out += ", "
		}
		out += inspect.ExtensionName(e.Type)
	}
	return out
}

// nodesShown bounds how many differing nodes of a tree are told one by one.
const nodesShown = 5

// compareTree compares a clients' tree, bare, with the hub's, node by node.
func compareTree(r *Result, field string, said *file, got *mls.RatchetTree) {
	if bytes.Equal(said.content, got.Marshal()) {
		return
	}
	tree, err := mls.ParseRatchetTree(said.content)
	if err != nil {
		r.differs(field, "a ratchet_tree", unreadable(said, err))
		return
	}
	differing := 0
	for x := range mls.NodeIndex(max(tree.Width(), got.Width())) {
		theirs, ours := tree.Node(x), got.Node(x)
		if bytes.Equal(theirs, ours) {
			continue
		}
		if differing++; differing <= nodesShown {
			r.differs(fmt.Sprintf("%s: %s", field, nodeName(x)), nodeOf(tree, x), nodeOf(got, x))
		}
	}
	if differing > nodesShown {
		r.note("%s: %d nodes differ; the first %d are shown", field, differing, nodesShown)
	}
}

// nodeName names a node by its index in the array, and a leaf by its own as well.
func nodeName(x mls.NodeIndex) string {
	if x%2 == 0 {
		return fmt.Sprintf("node %d (leaf %d)", x, x/2)
	}
	return fmt.Sprintf("node %d (parent)", x)
}

func nodeOf(t *mls.RatchetTree, x mls.NodeIndex) string {
	raw := t.Node(x)
	switch {
	case raw == nil:
		return "blank"
	case x%2 == 0:
		leaf := t.Leaf(mls.LeafIndex(x / 2))
		return fmt.Sprintf("%s, %d bytes, encryption key %s", inspect.Identity(leaf.Credential), len(raw), octets(leaf.EncryptionKey))
	}
	// The node's type stands first; the tree has been read, so the rest is a ParentNode.
	parent := mls.ReadParentNode(mls.NewReader("parent_node", raw[1:]))
	return fmt.Sprintf("%d bytes, encryption key %s, parent hash %s, unmerged leaves %d",
		len(raw), octets(parent.EncryptionKey), octets(parent.ParentHash), parent.UnmergedLeaves)
}

// compareGroupInfo holds a clients' GroupInfo to the hub's epoch: the GroupContext field by field, the Commit's confirmation tag, a
// member's signature, and an embedded tree. What of it this hub would not take with a Commit, and says nothing of the epoch, is
// noted: a transcript's GroupInfo is a record of the epoch.
func compareGroupInfo(r *Result, field string, g *mls.PublicGroup, tag []byte, info mls.GroupInfo) {
	if !bytes.Equal(info.Context.Marshal(), g.ContextBytes()) {
		compareContext(r, field+".group_context", info.Context, g.Context())
		return
	}
	compareOctets(r, field+".confirmation_tag", info.ConfirmationTag, tag)
	switch signer := g.Tree().Leaf(info.Signer); {
	case signer == nil:
		r.differs(field+".signer", "a member", fmt.Sprintf("leaf %d is blank (RFC 9420 §12.4.3)", info.Signer))
	case !info.Verify(g.Suite(), signer.SignatureKey):
		r.differs(field+".signature", fmt.Sprintf("of leaf %d, %s", info.Signer, inspect.Identity(signer.Credential)), "the signature is wrong (RFC 9420 §12.4.3)")
	}
	if tree, embedded := info.Extensions.Get(mls.ExtensionRatchetTree); embedded {
		compareTree(r, field+".extensions.ratchet_tree", &file{"the embedded ratchet_tree", tree}, g.Tree())
		r.note("%s embeds its ratchet_tree; with a Commit this hub wants it beside the GroupInfo", field)
	}
	checkExternalPub(r, field, g, info)
}

func checkExternalPub(r *Result, field string, g *mls.PublicGroup, info mls.GroupInfo) {
	data, present := info.Extensions.Get(mls.ExtensionExternalPub)
	if !present {
		r.note("%s has no external_pub; with a Commit this hub wants it, so that others can join", field)
		return
	}
	pub, err := mls.ParseExternalPub(data)
	switch {
	case err != nil:
		r.differs(field+".extensions.external_pub", "an HPKE key of the suite", err.Error())
	case !g.Suite().ValidHPKEKey(pub.Key):
		r.differs(field+".extensions.external_pub", "an HPKE key of the suite", octets(pub.Key))
	}
}

// compareUsed compares what one who joined by an external Commit had been given with the hub's epoch before it.
func compareUsed(r *Result, s step, before *mls.PublicGroup, tag []byte) {
	if s.UsedGroupInfo != nil {
		info, err := parseGroupInfo(s.UsedGroupInfo)
		if err != nil {
			r.differs("used_group_info", "a GroupInfo", err.Error())
		} else {
			compareGroupInfo(r, "used_group_info", before, tag, info)
		}
	}
	if s.UsedTree != nil {
		compareTree(r, "used_tree", s.UsedTree, before.Tree())
	}
}
