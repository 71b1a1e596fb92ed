package mls

import "slices"

// CommittedProposal is a Proposal of a Commit with its sender. Ref is empty where it stood in the Commit itself.
type CommittedProposal struct {
	Proposal Proposal
	From     Sender
	Ref      ProposalRef
}

// resolve finds the Proposals of a Commit, in its order. Those by reference were verified when they came in, by
// VerifyProposal in this epoch; those in the Commit itself are verified here.
func (g *PublicGroup) resolve(commit Commit, committer Sender, in CommitInput) ([]CommittedProposal, error) {
	list := make([]CommittedProposal, 0, len(commit.Proposals))
	var unknown []ProposalRef
	seen := make(map[ProposalRef]bool)
	for _, entry := range commit.Proposals {
		switch entry := entry.(type) {
		case InlineProposal:
			if _, self := entry.Proposal.(SelfRemove); self {
				return nil, invalidExtension("SelfRemove", "a SelfRemove is committed by reference only")
			}
			if err := g.verifyOne(entry.Proposal, committer, in.AtSeconds); err != nil {
				return nil, err
			}
			list = append(list, CommittedProposal{Proposal: entry.Proposal, From: committer})
		case ProposalRef:
			if seen[entry] {
				return nil, invalid("12.2", "the Commit names a proposal twice")
			}
			seen[entry] = true
			m, known := in.Proposals(entry)
			if !known {
				unknown = append(unknown, entry)
				continue
			}
			p, ok := m.Content.Body.(Proposal)
			if !ok || m.Content.Epoch != g.context.Epoch || m.Content.GroupID != g.context.GroupID {
				return nil, invalid("12.4", "a referenced message is not a Proposal of this epoch")
			}
			if _, err := g.senderKey(m.Content); err != nil {
				return nil, err
			}
			list = append(list, CommittedProposal{Proposal: p, From: m.Content.Sender, Ref: entry})
		}
	}
	if len(unknown) > 0 {
		return nil, &UnknownProposalsError{Refs: unknown}
	}
	return list, nil
}

// proposalList is a Commit's Proposals by kind, each kind in the Commit's order.
type proposalList struct {
	context    *GroupContextExtensions
	updates    []sentUpdate
	removes    []LeafIndex // SelfRemoves first
	adds       []Add
	appData    []AppDataUpdate
	ephemerals []AppEphemeral
	reInit     *ReInit
	inits      int // of ExternalInit
}

type sentUpdate struct {
	from LeafIndex
	leaf LeafNode
}

// sortList puts a Commit's Proposals in the order in which they are applied, and refuses a list that RFC 9420 §12.2 calls
// invalid for its combination.
func sortList(list []CommittedProposal, committer Sender) (*proposalList, error) {
	sorted := &proposalList{
		appData:    make([]AppDataUpdate, 0, countOf(list, ProposalAppDataUpdate)),
		ephemerals: make([]AppEphemeral, 0, countOf(list, ProposalAppEphemeral)),
	}
	var selfRemoves []LeafIndex
	var psks []string
	for _, c := range list {
		switch p := c.Proposal.(type) {
		case GroupContextExtensions:
			if sorted.context != nil {
				return nil, invalid("12.2", "the Commit has two GroupContextExtensions")
			}
			sorted.context = &p
		case Update:
			sorted.updates = append(sorted.updates, sentUpdate{from: c.From.(MemberSender).Leaf, leaf: p.Leaf})
		case Remove:
			sorted.removes = append(sorted.removes, p.Removed)
		case SelfRemove:
			selfRemoves = append(selfRemoves, c.From.(MemberSender).Leaf)
		case Add:
			sorted.adds = append(sorted.adds, p)
		case PreSharedKey:
			psks = append(psks, string(p.PSK.Marshal()))
		case ReInit:
			sorted.reInit = &p
		case ExternalInit:
			sorted.inits++
		case AppDataUpdate:
			sorted.appData = append(sorted.appData, p)
		case AppEphemeral:
			sorted.ephemerals = append(sorted.ephemerals, p)
		}
	}
	if slices.Sort(psks); len(slices.Compact(psks)) != len(psks) {
		return nil, invalid("12.2", "the Commit has a PreSharedKey twice")
	}
	if sorted.reInit != nil && len(list) > 1 {
		return nil, invalid("12.2", "a ReInit must be committed alone")
	}
	for _, i := range selfRemoves {
		if slices.Contains(sorted.removes, i) {
			return nil, invalidExtension("SelfRemove", "the Commit has a Remove of leaf %d, which removes itself", i)
		}
	}
	if once := slices.Sorted(slices.Values(selfRemoves)); len(slices.Compact(once)) != len(selfRemoves) {
		return nil, invalidExtension("SelfRemove", "the Commit has two SelfRemoves of one member")
	}
	removed := len(sorted.removes)
	sorted.removes = slices.Concat(selfRemoves, sorted.removes)
	if err := sorted.checkLeaves(committer); err != nil {
		return nil, err
	}
	if _, external := committer.(NewMemberCommit); external {
		return sorted, checkExternalList(list, sorted.inits, removed)
	}
	if sorted.inits > 0 {
		return nil, invalid("12.2", "a member's Commit has an ExternalInit")
	}
	return sorted, nil
}

// countOf counts the Proposals of a type, so that the longest lists, those of what costs a sender least, are made once.
func countOf(list []CommittedProposal, t ProposalType) (n int) {
	for _, c := range list {
		if c.Proposal.ProposalType() == t {
			n++
		}
	}
	return n
}

// checkLeaves refuses two changes of one leaf, and a committer that would change its own leaf otherwise than by its path.
func (l *proposalList) checkLeaves(committer Sender) error {
	self, member := committer.(MemberSender)
	changed := make(map[LeafIndex]bool)
	change := func(i LeafIndex, what string) error {
		switch {
		case member && i == self.Leaf:
			return invalid("12.2", "the committer %s itself", what)
		case changed[i]:
			return invalid("12.2", "leaf %d is changed by two proposals", i)
		}
		changed[i] = true
		return nil
	}
	for _, u := range l.updates {
		if err := change(u.from, "updates"); err != nil {
			return err
		}
	}
	for _, i := range l.removes {
		if err := change(i, "removes"); err != nil {
			return err
		}
	}
	return nil
}

// checkExternalList is RFC 9420 §12.2 for an external Commit, with what mls-extensions allows beside it: SelfRemove, by
// reference, and AppDataUpdate and AppEphemeral.
func checkExternalList(list []CommittedProposal, inits, removes int) error {
	if inits != 1 || removes > 1 {
		return invalid("12.2", "an external Commit has %d ExternalInit and %d Remove, not one and at most one", inits, removes)
	}
	for _, c := range list {
		_, self := c.Proposal.(SelfRemove)
		if !self && c.Ref != "" {
			return invalid("12.4.3.2", "an external Commit names a proposal by reference")
		}
		switch c.Proposal.(type) {
		case ExternalInit, Remove, PreSharedKey, SelfRemove, AppDataUpdate, AppEphemeral:
		default:
			return invalid("12.2", "an external Commit has a proposal of type 0x%04x", uint16(c.Proposal.ProposalType()))
		}
	}
	return nil
}

// needsPath reports whether a Commit of these Proposals must have a path (RFC 9420 §12.4, §17.4).
func needsPath(list []CommittedProposal) bool {
	for _, c := range list {
		switch c.Proposal.(type) {
		case Update, Remove, SelfRemove, ExternalInit, GroupContextExtensions:
			return true
		case Add, PreSharedKey, ReInit, AppDataUpdate, AppEphemeral:
		}
	}
	return len(list) == 0
}
