package judge

import (
	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// rulingOf is what apply has to know of a Commit beside its facts. Shards of an older format are not told.
func rulingOf(state *roomState, staged *mls.Staged, after *policy.Policy, committer mimi.UserURI) fsm.Ruling {
	if state.format < fsm.FormatExclusive {
		return fsm.Ruling{}
	}
	ruling := fsm.Ruling{Made: true, Member: !staged.External, Rules: rulesOf(after)}
	if ruling.Member {
		ruling.Committer = staged.Committer
	}
	for _, c := range staged.Proposals {
		switch p := c.Proposal.(type) {
		case mls.Remove:
			ruling.Removals = append(ruling.Removals, fsm.Removal{Leaf: p.Removed})
		case mls.SelfRemove:
			ruling.Removals = append(ruling.Removals, fsm.Removal{Leaf: c.From.(mls.MemberSender).Leaf, Self: true}) // Stage let no other through
		}
	}
	if client := clientOf(staged.CommitterLeaf.Credential); staged.External && !client.IsZero() {
		ruling.Clients = []fsm.ClientOfUser{{Client: client, User: committer}} // a mapping that is there stands
	}
	return ruling
}

// rulesOf are the parts of a policy that apply keeps.
func rulesOf(p *policy.Policy) fsm.RoomRules {
	return fsm.RoomRules{Silent: p.Silent(), EpochTolerance: p.EpochTolerance()}
}
