package judge

import (
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// judged is a Commit's command as a replica of that store makes it.
func (m *maker) judged(replica fsm.Reader, domain string, bundle mimi.CommitBundle) fsm.AcceptCommit {
	m.t.Helper()
	r, err := NewUpdate(provider(m.t, domain), m.recording.Room.URI, bundle.Marshal())
	m.ok(err)
	verdict, err := r.Judge(replica)
	m.ok(err)
	propose, ok := verdict.(Propose)
	if !ok {
		m.t.Fatalf("judged %+v", verdict)
	}
	return propose.Command.(fsm.AcceptCommit)
}

// A replica that is behind cannot make the log accept what the newest state would not.
func TestStaleReplica(t *testing.T) {
	t.Run("epoch gone", func(t *testing.T) {
		m := openMaker(t)
		stale := m.store.Clone()
		late := m.judged(stale, "b.example", m.commit("bob1", false, inline(m.rename())))
		first := m.commit("alice1", false, inline(m.rename()))
		m.accepted("a.example", first)
		wrong := want[fsm.WrongEpoch](t, m.apply(late))
		if wrong != (fsm.WrongEpoch{Current: 4, Winner: sha256.Sum256(first.Commit.Marshal())}) {
			t.Errorf("told %+v", wrong)
		}
	})
	t.Run("settings changed", func(t *testing.T) {
		m := openMaker(t)
		bundle := m.commit("alice1", false, inline(m.rename()))
		command := m.judged(m.store.Clone(), "a.example", bundle)
		settings, version, err := fsm.ReadSettings(m.store)
		m.ok(err)
		m.apply(fsm.EnterSettings{Version: version + 1, Settings: settings})
		want[fsm.ReadSetChanged](t, m.apply(command))
		m.accepted("a.example", bundle)
	})
	t.Run("judged twice, accepted once", func(t *testing.T) {
		m := openMaker(t)
		command := m.judged(m.store.Clone(), "a.example", m.commit("alice1", false, inline(m.rename())))
		first := want[fsm.Accepted](t, m.apply(command))
		before := m.state().Epoch
		if second := want[fsm.Accepted](t, m.apply(command)); second != first || m.state().Epoch != before {
			t.Errorf("again: %+v in epoch %d, first %+v in epoch %d", second, m.state().Epoch, first, before)
		}
	})
	t.Run("Proposal not there yet", func(t *testing.T) {
		m := openMaker(t)
		stale := m.store.Clone()
		proposal := m.message(m.key("bob1"), mls.MemberSender{Leaf: m.leaf("bob1")}, m.rename())
		m.accepted("b.example", m.propose(proposal))
		bundle := m.commit("alice1", false, []mls.ProposalOrRef{m.refOf(proposal)})
		r, err := NewUpdate(provider(t, "a.example"), m.recording.Room.URI, bundle.Marshal())
		m.ok(err)
		verdict, err := r.Judge(stale)
		m.ok(err)
		want[fsm.InvalidProposal](t, verdict.(Refuse).Outcome) // a Refuse is fenced, and judged again
		m.accepted("a.example", bundle)
	})
}

// Of any number of Commits for one epoch, judged on one replica and applied in any order, exactly one is accepted, and every
// other is told which.
func TestOneWinnerOfAnEpoch(t *testing.T) {
	m := openMaker(t)
	var commands []fsm.AcceptCommit
	for i := range 6 {
		name, domain := "alice1", "a.example"
		if i%2 == 1 {
			name, domain = "bob1", "b.example"
		}
		commands = append(commands, m.judged(m.store.Clone(), domain, m.commit(name, i%3 == 0, inline(m.rename()))))
	}
	base, index := m.store, m.index
	rapid.Check(t, func(r *rapid.T) {
		m.store, m.index = base.Clone(), index
		order := rapid.SliceOfN(rapid.IntRange(0, len(commands)-1), 1, 3*len(commands)).Draw(r, "order")
		winner := commands[order[0]]
		for _, i := range order {
			outcome := m.apply(commands[i])
			if i == order[0] {
				if accepted, ok := outcome.(fsm.Accepted); !ok || accepted.Epoch != 4 {
					r.Fatalf("the winner got %+v", outcome)
				}
				continue
			}
			if outcome != (fsm.WrongEpoch{Current: 4, Winner: winner.CommitHash}) {
				r.Fatalf("a loser got %+v", outcome)
			}
		}
		if state := m.state(); state.Epoch != 4 || state.GroupContextHash != sha256.Sum256(winner.Facts.GroupContext) {
			r.Fatalf("the room is in epoch %d of another Commit", state.Epoch)
		}
	})
}
