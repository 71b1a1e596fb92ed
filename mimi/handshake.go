package mimi

import (
	"fmt"

	"parley/mls"
)

// ProposalsMax bounds the Proposals of one bundle, and those that one FanoutMessage staples to a Commit.
const ProposalsMax = 4096

// HandshakeBundle is what an UpdateRequest carries (mimi-protocol-06 §5.3): a CommitBundle or a ProposalBundle, told apart by
// the content type of the first message. With MLS 1.0 the UpdateRequest has no octet of its own, so the two are the same.
//
//	struct {
//	    MLSMessage proposalOrCommit;       // PublicMessage
//	    select (content_type) {
//	        case commit:
//	            optional<Welcome> welcome; // bare
//	            GroupInfoOption groupInfoOption;
//	            RatchetTreeOption ratchetTreeOption;
//	        case proposal:
//	            MLSMessage moreProposals<V>;
//	    };
//	} HandshakeBundle;
type HandshakeBundle interface {
	AppendTo(w *mls.Writer)
	Marshal() []byte
	handshakeBundle()
}

// CommitBundle is a Commit with what the hub passes on to those whom it brings in.
type CommitBundle struct {
	Commit    mls.MLSMessage // a handshake message with a Commit
	Welcome   *mls.Welcome   // nil where the Commit adds nobody; names at least one KeyPackage
	GroupInfo GroupInfoOption
	Tree      RatchetTreeOption
}

// ProposalBundle is one or more Proposals, the draft's moreProposals behind the first, all or none of which are accepted.
type ProposalBundle struct {
	Proposals []mls.MLSMessage // handshake messages with a Proposal each, at least one
}

func ReadHandshakeBundle(r *mls.Reader) HandshakeBundle {
	first, content := readHandshake(r, "proposalOrCommit")
	switch content {
	case mls.ContentCommit:
		return CommitBundle{
			Commit:    first,
			Welcome:   readOptionalWelcome(r, "welcome"),
			GroupInfo: mls.ReadIn(r, "groupInfoOption", ReadGroupInfoOption),
			Tree:      mls.ReadIn(r, "ratchetTreeOption", ReadRatchetTreeOption),
		}
	case mls.ContentProposal:
		return ProposalBundle{append([]mls.MLSMessage{first}, readProposals(r, "moreProposals", ProposalsMax-1)...)}
	default: // failed
		return nil
	}
}

// ParseUpdateRequest reads the body of POST update/{roomId}.
func ParseUpdateRequest(b []byte) (HandshakeBundle, error) {
	return mls.Parse("UpdateRequest", b, ReadHandshakeBundle)
}

func ParseHandshakeBundle(b []byte) (HandshakeBundle, error) {
	return mls.Parse("HandshakeBundle", b, ReadHandshakeBundle)
}

func (b CommitBundle) AppendTo(w *mls.Writer) {
	b.Commit.AppendTo(w)
	w.Bool(b.Welcome != nil)
	if b.Welcome != nil {
		b.Welcome.AppendTo(w)
	}
	b.GroupInfo.AppendTo(w)
	b.Tree.AppendTo(w)
}

func (b ProposalBundle) AppendTo(w *mls.Writer) {
	b.Proposals[0].AppendTo(w)
	mls.AppendList(w, b.Proposals[1:])
}

func (b CommitBundle) Marshal() []byte   { return marshal(b) }
func (b ProposalBundle) Marshal() []byte { return marshal(b) }

func (CommitBundle) handshakeBundle()   {}
func (ProposalBundle) handshakeBundle() {}

// readHandshake reads an MLSMessage that must carry a Proposal or a Commit which the hub can see. The content type is 0 after
// a failure.
func readHandshake(r *mls.Reader, field string) (mls.MLSMessage, mls.ContentType) {
	m := readMessage(r, field)
	if r.Failed() {
		return m, 0
	}
	content := handshakeContent(m)
	if content == 0 {
		r.Fail(field, "it is not a PublicMessage with a Proposal or a Commit")
	}
	return m, content
}

// readMessage reads an MLSMessage; with no field name it is an element of a list, whose place is already told.
func readMessage(r *mls.Reader, field string) mls.MLSMessage {
	if field == "" {
		return mls.ReadMLSMessage(r)
	}
	return mls.ReadIn(r, field, mls.ReadMLSMessage)
}

// handshakeContent is the content type of a handshake message that a hub can read, or 0.
func handshakeContent(m mls.MLSMessage) mls.ContentType {
	public, ok := m.Body.(*mls.PublicMessage)
	if !ok {
		return 0
	}
	switch content := public.Content.Body.ContentType(); content {
	case mls.ContentProposal, mls.ContentCommit:
		return content
	default:
		return 0
	}
}

// readProposals reads `MLSMessage field<V>` of Proposals.
func readProposals(r *mls.Reader, field string, limit int) []mls.MLSMessage {
	count := 0
	return mls.ReadList(r, field, func(r *mls.Reader) mls.MLSMessage {
		if count++; count > limit {
			r.Fail("", fmt.Sprintf("more than %d Proposals", limit))
			return mls.MLSMessage{}
		}
		m, content := readHandshake(r, "")
		if content == mls.ContentCommit {
			r.Fail("", "it is a Commit, not a Proposal")
		}
		return m
	})
}

// readOptionalWelcome reads optional<Welcome>. Some senders wrap the Welcome in an MLSMessage; its header cannot be mistaken
// for a bare Welcome's beginning, since that would be of suite 1 and for nobody.
func readOptionalWelcome(r *mls.Reader, field string) *mls.Welcome {
	if !r.Optional(field) {
		return nil
	}
	ahead := *r
	if header := ahead.Fixed(field, len(welcomeHeader)); string(header) == welcomeHeader {
		r.Fixed(field, len(welcomeHeader))
	}
	welcome := mls.ReadIn(r, field, mls.ReadWelcome)
	if !r.Failed() && len(welcome.Secrets) == 0 {
		r.Fail(field+".secrets", "the Welcome is for nobody")
	}
	return &welcome
}

// welcomeHeader is how an MLSMessage with a Welcome begins: mls10, mls_welcome.
const welcomeHeader = "\x00\x01\x00\x03"
