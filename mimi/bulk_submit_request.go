package mimi

import (
	"crypto/sha256"
	"fmt"

	"parley/mls"
)

// EndpointBulkSubmit is where a directory document lists the submission of many messages and Proposals at once, an extension of ours
// (docs/extensions.md). Its template has no variable.
const EndpointBulkSubmit Endpoint = "parley.bulkSubmit"

// Bounds of one BulkSubmitRequest.
const (
	SubmissionsMax     = 1000
	BulkSubmitBytesMax = 4 << 20 // the whole of it

	// MessageBytesMax bounds a message that is submitted in bulk, as an MLSMessage. With the names that are added on the way it fits an
	// entry of the hub's log, and a follower's.
	MessageBytesMax = 448 << 10
)

// SubmissionKind tells what is submitted.
type SubmissionKind uint8

const (
	SubmissionMessage   SubmissionKind = 1 // an application message
	SubmissionProposals SubmissionKind = 2 // Proposals, all or none of which are taken
)

func (k SubmissionKind) String() string {
	return enumName(uint8(k), "SubmissionKind", "reserved", "message", "proposals")
}

// BulkSubmitRequest hands in messages and Proposals for many rooms.
//
//	struct {
//	    uint8 format = 1;
//	    Submission submissions<V>; // 1 to 1,000
//	} BulkSubmitRequest;
type BulkSubmitRequest struct{ Submissions []Submission }

// Submission is one of them as it came. Of its parts nothing has been looked at: one that cannot be read is to be rejected alone,
// and the others are taken.
//
//	struct {
//	    IdentifierUri roomId;
//	    SubmissionKind kind;
//	    opaque body<V>;
//	} Submission;
type Submission struct {
	Room string // see Read
	Kind SubmissionKind
	Body []byte // message: a SubmitMessageRequest; proposals: an UpdateRequest with Proposals
}

// ReadBulkSubmitRequest reads the frame of a request.
func ReadBulkSubmitRequest(r *mls.Reader) BulkSubmitRequest {
	readBulkFormat(r)
	count := 0
	submissions := mls.ReadList(r, "submissions", func(r *mls.Reader) Submission {
		if count++; count > SubmissionsMax {
			r.Fail("", fmt.Sprintf("more than %d submissions", SubmissionsMax))
		}
		return readSubmission(r)
	})
	if !r.Failed() && count == 0 {
		r.Fail("submissions", "there is none")
	}
	return BulkSubmitRequest{submissions}
}

// ParseBulkSubmitRequest reads the frame of a request. What it returns aliases b.
func ParseBulkSubmitRequest(b []byte) (BulkSubmitRequest, error) {
	return mls.Parse("BulkSubmitRequest", b, ReadBulkSubmitRequest)
}

func readSubmission(r *mls.Reader) Submission {
	return Submission{Room: string(r.Opaque("roomId")), Kind: SubmissionKind(r.Uint8("kind")), Body: r.Opaque("body")}
}

func (m BulkSubmitRequest) AppendTo(w *mls.Writer) {
	w.Uint8(bulkFormat)
	mls.AppendList(w, m.Submissions)
}

func (m BulkSubmitRequest) Marshal() []byte { return marshal(m) }

func (s Submission) AppendTo(w *mls.Writer) {
	w.Opaque([]byte(s.Room))
	w.Uint8(uint8(s.Kind))
	w.Opaque(s.Body)
}

// Submitted is a submission that could be read: a SubmittedMessage or SubmittedProposals.
type Submitted interface {
	// ForRoom is the room that it is for.
	ForRoom() RoomURI
	// Receipt is what it is known by.
	Receipt() Receipt
}

// SubmittedMessage is an application message.
type SubmittedMessage struct {
	Room    RoomURI
	Request SubmitMessageRequest
	Encoded []byte // the MLSMessage, in the form in which it is hashed and distributed

	receipt Receipt
}

// SubmittedProposals are the Proposals of one bundle.
type SubmittedProposals struct {
	Room   RoomURI
	Bundle ProposalBundle
	Body   []byte // the UpdateRequest

	receipt Receipt
}

func (m SubmittedMessage) ForRoom() RoomURI   { return m.Room }
func (m SubmittedProposals) ForRoom() RoomURI { return m.Room }
func (m SubmittedMessage) Receipt() Receipt   { return m.receipt }
func (m SubmittedProposals) Receipt() Receipt { return m.receipt }

// Read reads the submission's parts, which go on aliasing it. The error is a *mls.MalformedError; then UnreadReceipt is what the
// submission is known by.
func (s Submission) Read() (Submitted, error) {
	return mls.Parse("Submission", s.Body, func(r *mls.Reader) Submitted {
		room, err := ParseRoomURI(s.Room)
		if err != nil {
			r.Fail("roomId", reasonOf(err))
			return nil
		}
		switch s.Kind {
		case SubmissionMessage:
			return s.readMessage(r, room)
		case SubmissionProposals:
			return s.readProposals(r, room)
		default:
			failEnum(r, "kind", uint8(s.Kind))
			return nil
		}
	})
}

func (s Submission) readMessage(r *mls.Reader, room RoomURI) Submitted {
	request := mls.ReadIn(r, "body", ReadSubmitMessageRequest)
	if r.Failed() {
		return nil
	}
	return newSubmittedMessage(room, request)
}

func newSubmittedMessage(room RoomURI, request SubmitMessageRequest) SubmittedMessage {
	encoded := request.Encoded()
	return SubmittedMessage{Room: room, Request: request, Encoded: encoded, receipt: sha256.Sum256(encoded)}
}

// ParseSubmittedMessage reads a SubmitMessageRequest for a room, which the result aliases.
func ParseSubmittedMessage(room RoomURI, body []byte) (SubmittedMessage, error) {
	request, err := ParseSubmitMessageRequest(body)
	if err != nil {
		return SubmittedMessage{}, err
	}
	return newSubmittedMessage(room, request), nil
}

func (s Submission) readProposals(r *mls.Reader, room RoomURI) Submitted {
	bundle := mls.ReadIn(r, "body", ReadHandshakeBundle)
	if r.Failed() {
		return nil
	}
	proposals, ok := bundle.(ProposalBundle)
	if !ok {
		r.Fail("body", "it is a Commit, which is handed in by itself")
		return nil
	}
	return SubmittedProposals{Room: room, Bundle: proposals, Body: s.Body, receipt: proposals.Receipt()}
}

// Receipt is what the bundle is known by where it is submitted in bulk.
func (b ProposalBundle) Receipt() Receipt { return sha256.Sum256(b.Proposals[0].Marshal()) }

// UnreadReceipt is what a submission that cannot be read is known by: the SHA-256 of its body.
func (s Submission) UnreadReceipt() Receipt { return sha256.Sum256(s.Body) }
