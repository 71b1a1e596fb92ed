package mimi

import (
	"fmt"

	"parley/mls"
)

// FanoutMessagesMax bounds the FanoutMessages of one notify body that we take; we send at most 500.
const FanoutMessagesMax = 4096

// FanoutMessage is an event of a room on its way to a provider (mimi-protocol-06 §5.5). It does not name the room.
//
//	struct {
//	    uint64 timestamp;
//	    MLSMessage message;
//	    select (what message is) {
//	        case PrivateMessage, application: optional<Frank> frank;
//	        case Welcome:                     RatchetTreeOption ratchetTreeOption;
//	        case PublicMessage, proposal:     MLSMessage moreProposals<V>;
//	        case PublicMessage, commit:       MLSMessage externalProposals<V>;
//	    };
//	} FanoutMessage;
type FanoutMessage struct {
	Millis uint64 // hub time of the acceptance, milliseconds since 1970
	Event  FanoutEvent
}

// FanoutEvent is a FanoutApplication, FanoutWelcome, FanoutProposals or FanoutCommit.
type FanoutEvent interface {
	// MLSMessages are the messages of the event in their order, those behind the first included.
	MLSMessages() []mls.MLSMessage
	appendEvent(w *mls.Writer)
}

// FanoutApplication is an application message, with the hub's frank if it has one.
type FanoutApplication struct {
	Message *mls.PrivateMessage // of content type application
	Frank   *Frank
}

// FanoutWelcome brings clients of the receiving provider in. The tree is a FullTree or an HTTPSTree: a new follower could do
// nothing with the other options.
type FanoutWelcome struct {
	Welcome *mls.Welcome
	Tree    RatchetTreeOption
}

// FanoutProposals is a ProposalBundle, unchanged.
type FanoutProposals struct{ Proposals []mls.MLSMessage }

// FanoutCommit is a Commit with the Proposals of the hub that replace, in the new epoch, those that an external Commit
// invalidated.
type FanoutCommit struct {
	Commit            mls.MLSMessage
	ExternalProposals []mls.MLSMessage
}

func ReadFanoutMessage(r *mls.Reader) FanoutMessage {
	millis := r.Uint64("timestamp")
	message := mls.ReadIn(r, "message", mls.ReadMLSMessage)
	if r.Failed() {
		return FanoutMessage{}
	}
	return FanoutMessage{Millis: millis, Event: readFanoutEvent(r, message)}
}

func readFanoutEvent(r *mls.Reader, message mls.MLSMessage) FanoutEvent {
	switch body := message.Body.(type) {
	case *mls.Welcome:
		return FanoutWelcome{Welcome: body, Tree: readFanoutTree(r, "ratchetTreeOption")}
	case *mls.PrivateMessage:
		return FanoutApplication{
			Message: readApplication(r, "message", message),
			Frank:   mls.ReadOptional(r, "frank", ReadFrank),
		}
	}
	switch handshakeContent(message) {
	case mls.ContentProposal:
		return FanoutProposals{append([]mls.MLSMessage{message}, readProposals(r, "moreProposals", ProposalsMax-1)...)}
	case mls.ContentCommit:
		return FanoutCommit{Commit: message, ExternalProposals: readProposals(r, "externalProposals", ProposalsMax)}
	default:
		r.Fail("message", "it is no application message, Welcome, Proposal or Commit")
		return nil
	}
}

func readFanoutTree(r *mls.Reader, field string) RatchetTreeOption {
	tree := mls.ReadIn(r, field, ReadRatchetTreeOption)
	switch tree.(type) {
	case OutOfBandTree, DistributionServiceTree:
		r.Fail(field, fmt.Sprintf("%s: a new follower has no such tree", tree.Representation()))
	}
	return tree
}

func ParseFanoutMessage(b []byte) (FanoutMessage, error) {
	return mls.Parse("FanoutMessage", b, ReadFanoutMessage)
}

// ParseFanout reads the body of POST notify/{roomId}: one or more FanoutMessages on end. Anything wrong refuses all of them.
func ParseFanout(body []byte) ([]FanoutMessage, error) {
	r := mls.NewReader("notify", body)
	if len(body) == 0 {
		r.Fail("", "the body is empty")
	}
	var messages []FanoutMessage
	for r.More() {
		if len(messages) == FanoutMessagesMax {
			r.Fail("", fmt.Sprintf("more than %d FanoutMessages", FanoutMessagesMax))
			break
		}
		messages = append(messages, mls.ReadIn(r, fmt.Sprintf("FanoutMessage[%d]", len(messages)), ReadFanoutMessage))
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	return messages, nil
}

func (m FanoutMessage) AppendTo(w *mls.Writer) {
	w.Uint64(m.Millis)
	m.Event.appendEvent(w)
}

func (m FanoutMessage) Marshal() []byte { return marshal(m) }

func (e FanoutApplication) MLSMessages() []mls.MLSMessage {
	return []mls.MLSMessage{{Body: e.Message}}
}

func (e FanoutWelcome) MLSMessages() []mls.MLSMessage { return []mls.MLSMessage{{Body: e.Welcome}} }

func (e FanoutProposals) MLSMessages() []mls.MLSMessage { return e.Proposals }

func (e FanoutCommit) MLSMessages() []mls.MLSMessage {
	return append([]mls.MLSMessage{e.Commit}, e.ExternalProposals...)
}

func (e FanoutApplication) appendEvent(w *mls.Writer) {
	mls.MLSMessage{Body: e.Message}.AppendTo(w)
	appendOptionalFrank(w, e.Frank)
}

func (e FanoutWelcome) appendEvent(w *mls.Writer) {
	mls.MLSMessage{Body: e.Welcome}.AppendTo(w)
	e.Tree.AppendTo(w)
}

func (e FanoutProposals) appendEvent(w *mls.Writer) {
	e.Proposals[0].AppendTo(w)
	mls.AppendList(w, e.Proposals[1:])
}

func (e FanoutCommit) appendEvent(w *mls.Writer) {
	e.Commit.AppendTo(w)
	mls.AppendList(w, e.ExternalProposals)
}
