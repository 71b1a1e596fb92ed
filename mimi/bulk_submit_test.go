package mimi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"parley/mls"
)

func sampleSubmissions() []Submission {
	message := SubmitMessageRequest{Message: samplePrivate(), Sender: sampleBob}
	return []Submission{
		{Room: sampleRoom.String(), Kind: SubmissionMessage, Body: message.Marshal()},
		{Room: sampleRoom.String(), Kind: SubmissionProposals, Body: ProposalBundle{[]mls.MLSMessage{sampleProposal()}}.Marshal()},
		{Room: "no room", Kind: 9, Body: []byte("no body")},
		{},
	}
}

func sampleVerdict() Verdict {
	return Verdict{Receipt: Receipt{1, 2}, Code: VerdictEpochTooOld, Current: 12, Reason: "seven is over"}
}

func sampleSubmitResponse() BulkSubmitResponse {
	return BulkSubmitResponse{[]SubmissionAnswer{
		DecidedAnswer(Verdict{Receipt: Receipt{9}, Code: VerdictAccepted, AcceptedMillis: 1234, Current: 7}),
		DecidedAnswer(sampleVerdict()),
		{State: SubmissionHeld, Verdict: Verdict{Receipt: Receipt{3}}},
		{State: SubmissionQueued, Verdict: Verdict{Receipt: Receipt{4}}},
		{State: SubmissionNotTaken, Verdict: Verdict{Receipt: Receipt{5}, Reason: "too many"}, RetryAfterSeconds: 2},
		{State: SubmissionUndecided, Verdict: Verdict{Receipt: Receipt{6}}, RetryAfterSeconds: 1},
		{State: SubmissionUnknown, Verdict: Verdict{Receipt: Receipt{7}}},
	}}
}

func init() {
	codecs = append(codecs,
		codecOf("BulkSubmitRequest", ParseBulkSubmitRequest, BulkSubmitRequest{sampleSubmissions()}),
		codecOf("BulkSubmitResponse", ParseBulkSubmitResponse, BulkSubmitResponse{}, sampleSubmitResponse()),
		codecOf("SubmissionsRequest", ParseSubmissionsRequest, SubmissionsRequest{Room: sampleRoom, Receipts: []Receipt{{1}, {2}}}))
}

func FuzzBulkSubmitResponse(f *testing.F) { fuzzIdentity(f, "BulkSubmitResponse", nil) }
func FuzzSubmissionsRequest(f *testing.F) { fuzzIdentity(f, "SubmissionsRequest", nil) }

// FuzzBulkSubmitRequest reads the frame, and all that stands in it.
func FuzzBulkSubmitRequest(f *testing.F) {
	f.Add(BulkSubmitRequest{sampleSubmissions()}.Marshal())
	f.Fuzz(func(t *testing.T, in []byte) {
		request, err := ParseBulkSubmitRequest(in)
		if err != nil {
			if !isMalformed(err) {
				t.Fatalf("not a MalformedError: %v", err)
			}
			return
		}
		if out := request.Marshal(); !bytes.Equal(in, out) {
			t.Fatalf("read  %x\nwrote %x", in, out)
		}
		for _, submission := range request.Submissions {
			if submitted, err := submission.Read(); (submitted == nil) != isMalformed(err) {
				t.Fatalf("%v, %v", submitted, err)
			}
		}
	})
}

// What is submitted is known by the hash of its message, which its sender can work out beforehand.
func TestSubmissionRead(t *testing.T) {
	samples := sampleSubmissions()
	read, err := samples[0].Read()
	if err != nil {
		t.Fatal(err)
	}
	message := mls.MLSMessage{Body: samplePrivate()}.Marshal()
	m, ok := read.(SubmittedMessage)
	if !ok || m.Room != sampleRoom || m.Request.Sender != sampleBob || !bytes.Equal(m.Encoded, message) || m.Receipt() != sha256.Sum256(message) {
		t.Errorf("a message: %+v", read)
	}
	if read, err = samples[1].Read(); err != nil {
		t.Fatal(err)
	}
	p, ok := read.(SubmittedProposals)
	if !ok || p.Room != sampleRoom || len(p.Bundle.Proposals) != 1 || !bytes.Equal(p.Body, samples[1].Body) ||
		p.Receipt() != sha256.Sum256(sampleProposal().Marshal()) {
		t.Errorf("Proposals: %+v", read)
	}
	if got := samples[2].UnreadReceipt(); got != sha256.Sum256([]byte("no body")) {
		t.Errorf("what cannot be read is known by %x", got)
	}
}

// A submission that cannot be read is a fault of its own, and names its field; the frame stands.
func TestSubmissionRefusals(t *testing.T) {
	good := sampleSubmissions()[0]
	commit := sampleBundles()[0].Marshal()
	for name, test := range map[string]struct {
		submission Submission
		field      string
	}{
		"no room":           {Submission{"mimi://a.example/u/alice", good.Kind, good.Body}, "Submission.roomId"},
		"another kind":      {Submission{good.Room, 3, good.Body}, "Submission.kind"},
		"no kind":           {Submission{good.Room, 0, good.Body}, "Submission.kind"},
		"no message":        {Submission{good.Room, SubmissionMessage, nil}, "Submission.body.protocol"},
		"a sender missing":  {Submission{good.Room, SubmissionMessage, good.Body[:len(good.Body)-10]}, "Submission.body.sendingUri"},
		"something behind":  {Submission{good.Room, SubmissionMessage, append(bytes.Clone(good.Body), 0)}, "Submission"},
		"a Commit":          {Submission{good.Room, SubmissionProposals, commit}, "Submission.body"},
		"message, not MLS":  {Submission{good.Room, SubmissionMessage, poke(good.Body, 1, 9)}, "Submission.body.appMessage.version"},
		"Proposals: no MLS": {Submission{good.Room, SubmissionProposals, good.Body}, "Submission.body.proposalOrCommit.version"},
	} {
		var malformed *mls.MalformedError
		if read, err := test.submission.Read(); !errors.As(err, &malformed) || malformed.Field != test.field || read != nil {
			t.Errorf("%s: %v, %v", name, read, err)
		}
		frame := BulkSubmitRequest{[]Submission{good, test.submission}}.Marshal()
		if request, err := ParseBulkSubmitRequest(frame); err != nil || len(request.Submissions) != 2 {
			t.Errorf("%s: the frame: %v", name, err)
		}
	}
}

// A frame that cannot be read is refused whole.
func TestBulkSubmitFrames(t *testing.T) {
	many := make([]Submission, SubmissionsMax+1)
	receipts := func(n int) []byte {
		return SubmissionsRequest{Room: sampleRoom, Receipts: make([]Receipt, n)}.Marshal()
	}
	request := func(b []byte) error { _, err := ParseBulkSubmitRequest(b); return err }
	response := func(b []byte) error { _, err := ParseBulkSubmitResponse(b); return err }
	question := func(b []byte) error { _, err := ParseSubmissionsRequest(b); return err }
	accepted := Verdict{Code: VerdictAccepted}
	for name, test := range map[string]struct {
		parse func([]byte) error
		body  []byte
		field string
	}{
		"another format":     {request, poke(BulkSubmitRequest{many[:1]}.Marshal(), 0, 2), "BulkSubmitRequest.format"},
		"nothing":            {request, BulkSubmitRequest{}.Marshal(), "BulkSubmitRequest.submissions"},
		"too many":           {request, BulkSubmitRequest{many}.Marshal(), "BulkSubmitRequest.submissions[1000]"},
		"no receipt":         {question, receipts(0), "SubmissionsRequest.receipts"},
		"too many receipts":  {question, receipts(SubmissionsMax + 1), "SubmissionsRequest.receipts"},
		"of another format":  {question, poke(receipts(1), 0, 0), "SubmissionsRequest.format"},
		"no state":           {response, BulkSubmitResponse{make([]SubmissionAnswer, 1)}.Marshal(), "BulkSubmitResponse.answers[0].state"},
		"rejected, accepted": {response, BulkSubmitResponse{[]SubmissionAnswer{{State: SubmissionRejected, Verdict: accepted}}}.Marshal(), "BulkSubmitResponse.answers[0].verdict.code"},
		"accepted, rejected": {response, BulkSubmitResponse{[]SubmissionAnswer{{State: SubmissionAccepted, Verdict: sampleVerdict()}}}.Marshal(), "BulkSubmitResponse.answers[0].verdict.code"},
	} {
		var malformed *mls.MalformedError
		if err := test.parse(test.body); !errors.As(err, &malformed) || malformed.Field != test.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := errors.Join(request(BulkSubmitRequest{many[1:]}.Marshal()), question(receipts(SubmissionsMax))); err != nil {
		t.Errorf("as many as are taken: %v", err)
	}
}
