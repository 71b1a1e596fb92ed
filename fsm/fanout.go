package fsm

import "parley/mls"

// The bodies that go out are written here, from parts that were checked before the log, and stamped with hub time
// (mimi-protocol-06 §5.5). What follows the message depends on what it carries:
//
//	struct {
//	    uint64 timestamp;
//	    MLSMessage message;
//	    select (message) {
//	        case application: optional<Frank> frank;
//	        case welcome:     RatchetTreeOption ratchetTreeOption;
//	        case proposal:    MLSMessage moreProposals<V>;
//	        case commit:      MLSMessage externalProposals<V>;
//	    };
//	} FanoutMessage;

func (t *tx) fanout(message []byte, rest func(*mls.Writer)) []byte {
	var w mls.Writer
	w.Uint64(t.now)
	w.Fixed(message)
	rest(&w)
	return w.Bytes()
}

// fanoutApplication carries no frank.
func (t *tx) fanoutApplication(message []byte) []byte {
	return t.fanout(message, func(w *mls.Writer) { w.Bool(false) })
}

// fanoutCommit staples no Proposals to the Commit.
func (t *tx) fanoutCommit(commit []byte) []byte {
	return t.fanout(commit, func(w *mls.Writer) { w.Opaque(nil) })
}

func (t *tx) fanoutWelcome(d WelcomeDelivery) []byte {
	return t.fanout(d.Welcome, func(w *mls.Writer) { w.Fixed(d.RatchetTree) })
}

// fanoutProposals keeps a bundle together as it came: the first Proposal with the rest as moreProposals.
func (t *tx) fanoutProposals(bundle []PendingProposal) []byte {
	return t.fanout(bundle[0].Message, func(w *mls.Writer) {
		appendList(w, bundle[1:], func(w *mls.Writer, p PendingProposal) { w.Fixed(p.Message) })
	})
}
