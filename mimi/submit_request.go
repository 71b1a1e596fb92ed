package mimi

import (
	"parley/mls"
)

// SubmitMessageRequest hands an application message to the hub (mimi-protocol-06 §5.4).
//
//	struct {
//	    Protocol protocol;
//	    MLSMessage appMessage;     // PrivateMessage of content type application
//	    IdentifierURI sendingUri;  // who the sender says it is; the message does not show it
//	} SubmitMessageRequest;
type SubmitMessageRequest struct {
	Message *mls.PrivateMessage // of content type application
	Sender  UserURI

	senderSpelling spelling
	encoded        []byte // of the MLSMessage, where it was read; aliases the input
}

// MLSMessage is the message in the form in which it is hashed and distributed.
func (m SubmitMessageRequest) MLSMessage() mls.MLSMessage { return mls.MLSMessage{Body: m.Message} }

// Encoded is MLSMessage's encoding. Of a request that was read it aliases what it was read from: an MLSMessage has but one encoding.
func (m SubmitMessageRequest) Encoded() []byte {
	if m.encoded != nil {
		return m.encoded
	}
	return m.MLSMessage().Marshal()
}

func ReadSubmitMessageRequest(r *mls.Reader) SubmitMessageRequest {
	var m SubmitMessageRequest
	readProtocol(r, "protocol")
	begin := r.Offset()
	m.Message = readApplication(r, "appMessage", mls.ReadIn(r, "appMessage", mls.ReadMLSMessage))
	m.encoded = r.Since(begin)
	m.Sender, m.senderSpelling = readSpelled(r, "sendingUri", ParseUserURI, false)
	return m
}

func ParseSubmitMessageRequest(b []byte) (SubmitMessageRequest, error) {
	return mls.Parse("SubmitMessageRequest", b, ReadSubmitMessageRequest)
}

func (m SubmitMessageRequest) AppendTo(w *mls.Writer) {
	appendProtocol(w)
	m.MLSMessage().AppendTo(w)
	m.senderSpelling.appendTo(w, m.Sender.String())
}

func (m SubmitMessageRequest) Marshal() []byte { return marshal(m) }

// readApplication makes sure that a message is a PrivateMessage with application data, as far as can be seen from outside.
func readApplication(r *mls.Reader, field string, m mls.MLSMessage) *mls.PrivateMessage {
	if r.Failed() {
		return nil
	}
	private, ok := m.Body.(*mls.PrivateMessage)
	if !ok || private.ContentType != mls.ContentApplication {
		r.Fail(field, "it is not a PrivateMessage with application data")
		return nil
	}
	return private
}
