package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// The bodies that go out are put together from parts that were checked before the log, and are stamped with hub time.

func fanout(write func(*mls.Writer)) []byte {
	var w mls.Writer
	write(&w)
	return w.Bytes()
}

// fanoutCommit staples the hub's Proposals of the new epoch to the Commit.
func (t *tx) fanoutCommit(commit []byte, renewed []PendingProposal) []byte {
	return fanout(func(w *mls.Writer) { mimi.AppendFanoutCommit(w, t.now, commit, messagesOf(renewed)) })
}

func messagesOf(proposals []PendingProposal) [][]byte {
	messages := make([][]byte, len(proposals))
	for i, p := range proposals {
		messages[i] = p.Message
	}
	return messages
}

func (t *tx) fanoutWelcome(d WelcomeDelivery) []byte {
	return fanout(func(w *mls.Writer) { mimi.AppendFanoutWelcome(w, t.now, d.Welcome, d.RatchetTree) })
}

// fanoutProposals keeps a bundle together as it came.
func (t *tx) fanoutProposals(bundle []PendingProposal) []byte {
	return fanout(func(w *mls.Writer) { mimi.AppendFanoutProposals(w, t.now, messagesOf(bundle)) })
}
