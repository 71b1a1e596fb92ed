package mimi

import (
	"parley/mls"
)

// PendingProposal is a Proposal that waits for a Commit (mimi-protocol-06 §5.6).
//
//	struct {
//	    MLSMessage proposal;
//	    uint64 hub_accepted_time;
//	} PendingProposal;
type PendingProposal struct {
	Proposal       mls.MLSMessage // a handshake message with a Proposal
	AcceptedMillis uint64         // hub time, milliseconds since 1970
}

// GroupInfoRatchetTree is what an external joiner gets, encrypted to it: the draft's GroupInfoRatchetTreeTBE
// (mimi-protocol-06 §5.6).
//
//	struct {
//	    GroupInfo groupInfo;                 // without ratchet_tree
//	    RatchetTreeOption ratchetTreeOption;
//	    PendingProposal pending_proposals<V>; // of the epoch, in order of acceptance
//	} GroupInfoRatchetTreeTBE;
type GroupInfoRatchetTree struct {
	GroupInfo mls.GroupInfo
	Tree      RatchetTreeOption
	Pending   []PendingProposal
}

func ReadPendingProposal(r *mls.Reader) PendingProposal {
	m, content := readHandshake(r, "proposal")
	if content == mls.ContentCommit {
		r.Fail("proposal", "it is a Commit, not a Proposal")
	}
	return PendingProposal{Proposal: m, AcceptedMillis: r.Uint64("hub_accepted_time")}
}

func (p PendingProposal) AppendTo(w *mls.Writer) {
	p.Proposal.AppendTo(w)
	w.Uint64(p.AcceptedMillis)
}

func ReadGroupInfoRatchetTree(r *mls.Reader) GroupInfoRatchetTree {
	m := GroupInfoRatchetTree{GroupInfo: mls.ReadIn(r, "groupInfo", mls.ReadGroupInfo)}
	checkGroupInfoExtensions(r, "groupInfo.extensions", m.GroupInfo.Extensions)
	m.Tree = mls.ReadIn(r, "ratchetTreeOption", ReadRatchetTreeOption)
	m.Pending = mls.ReadList(r, "pending_proposals", ReadPendingProposal)
	return m
}

func ParseGroupInfoRatchetTree(b []byte) (GroupInfoRatchetTree, error) {
	return mls.Parse("GroupInfoRatchetTreeTBE", b, ReadGroupInfoRatchetTree)
}

func (m GroupInfoRatchetTree) AppendTo(w *mls.Writer) {
	m.GroupInfo.AppendTo(w)
	m.Tree.AppendTo(w)
	mls.AppendList(w, m.Pending)
}

func (m GroupInfoRatchetTree) Marshal() []byte { return marshal(m) }
