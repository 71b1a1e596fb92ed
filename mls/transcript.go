package mls

// ConfirmedTranscriptHash is the transcript after a Commit (RFC 9420 §8.2), from the interim hash of the epoch before.
//
//	struct {
//	    WireFormat wire_format;
//	    FramedContent content; // a Commit
//	    opaque signature<V>;
//	} ConfirmedTranscriptHashInput;
func (s *Suite) ConfirmedTranscriptHash(interimBefore []byte, commit AuthenticatedContent) []byte {
	w := newWriter(1024)
	w.Uint16(uint16(commit.WireFormat))
	commit.Content.AppendTo(w)
	w.Opaque(commit.Auth.Signature)
	return s.Hash(interimBefore, w.Bytes())
}

// InterimTranscriptHash is the confirmed transcript with its confirmation tag (RFC 9420 §8.2). At epoch 0 the confirmed
// transcript is empty (§11).
//
//	struct {
//	    MAC confirmation_tag;
//	} InterimTranscriptHashInput;
func (s *Suite) InterimTranscriptHash(confirmed, confirmationTag []byte) []byte {
	var w Writer
	w.Opaque(confirmationTag)
	return s.Hash(confirmed, w.Bytes())
}
