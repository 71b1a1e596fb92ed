package httpapi

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// submissionRead is one SubmissionAnswer (docs/extensions.md, "Submitting in bulk").
type submissionRead struct {
	state      uint8 // 1 accepted, 2 rejected, 3 held, 4 queued, 5 notTaken, 6 undecided, 7 unknown
	receipt    [32]byte
	code       uint8 // of a verdict
	accepted   uint64
	current    uint64
	retryAfter uint32
	reason     string
}

func readSubmissions(t testing.TB, body []byte) (list []submissionRead) {
	t.Helper()
	o := &octets{t, body}
	if format := o.uint8(); format != 1 {
		t.Fatalf("format %d", format)
	}
	for answers := o.inside(); len(answers.rest) > 0; {
		a := submissionRead{state: answers.uint8()}
		copy(a.receipt[:], answers.take(32))
		switch a.state {
		case 1, 2:
			a.code, a.accepted, a.current, a.reason = answers.uint8(), answers.uint64(), answers.uint64(), answers.text()
		case 5, 6:
			a.retryAfter, a.reason = answers.uint32(), answers.text()
		}
		list = append(list, a)
	}
	o.end()
	return list
}

// submitTable is the room of updateTable three epochs on.
type submitTable struct {
	*updateTable
	now mls.Epoch
}

func newSubmitTable(t *testing.T) *submitTable {
	s := &submitTable{updateTable: newUpdateTable(t)}
	for range 3 {
		step := s.room.commit(mlstest.Plan{Committer: bobsLeaf, Path: true})
		if _, got := s.send(bundleOf(step).Marshal()); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		s.room.group = step.After
	}
	s.now = s.room.group.Context().Epoch
	return s
}

// message is an application message of an epoch of the room's group.
func (s *submitTable) message(label string, sender mimi.UserURI, epoch mls.Epoch) mimi.SubmitMessageRequest {
	return mimi.SubmitMessageRequest{Sender: sender, Message: &mls.PrivateMessage{
		GroupID: s.room.group.Context().GroupID, Epoch: epoch, ContentType: mls.ContentApplication,
		EncryptedSenderData: []byte{1}, Ciphertext: []byte(label),
	}}
}

func submission(room string, kind mimi.SubmissionKind, body []byte) mimi.Submission {
	return mimi.Submission{Room: room, Kind: kind, Body: body}
}

func bulkOf(submissions ...mimi.Submission) []byte {
	return mimi.BulkSubmitRequest{Submissions: submissions}.Marshal()
}

func receiptOf(m mimi.SubmitMessageRequest) [32]byte { return sha256.Sum256(m.MLSMessage().Marshal()) }

// Every verdict has its code, its reason and its receipt, in the order of the request, and costs its submission alone.
func TestBulkSubmitTable(t *testing.T) {
	s := newSubmitTable(t)
	own := mls.MemberSender{Leaf: bobsLeaf}
	good, _ := s.propose(own, mls.Remove{Removed: 2})
	bad, _ := s.propose(own, mls.Remove{Removed: 9})
	late, _ := s.propose(own, mls.Remove{Removed: 2}, func(m *mls.PublicMessage) { m.Content.Epoch-- })
	proposals := func(m mls.MLSMessage) mimi.Submission {
		return submission(ourRoom.String(), mimi.SubmissionProposals, mimi.ProposalBundle{Proposals: []mls.MLSMessage{m}}.Marshal())
	}
	message := func(m mimi.SubmitMessageRequest) mimi.Submission {
		return submission(ourRoom.String(), mimi.SubmissionMessage, m.Marshal())
	}
	fine, stranger := s.message("fine", bob, s.now), s.message("stranger", user("mimi://b.example/u/nobody"), s.now)
	other := s.message("other", bob, s.now)
	other.Message.GroupID = "another"
	large := s.message(string(make([]byte, mimi.MessageBytesMax)), bob, s.now)
	rows := []struct {
		name       string
		submission mimi.Submission
		receipt    [32]byte
		code       uint8
		current    mls.Epoch
		reason     string
	}{
		{"accepted", message(fine), receiptOf(fine), 1, s.now, ""},
		{"of the oldest epoch", message(s.message("old", bob, s.now-2)), receiptOf(s.message("old", bob, s.now-2)), 1, s.now, ""},
		{"the same again", message(fine), receiptOf(fine), 1, s.now, ""},
		{"too old", message(s.message("older", bob, s.now-3)), receiptOf(s.message("older", bob, s.now-3)), 3, s.now, "window"},
		{"of the future", message(s.message("future", bob, s.now+1)), receiptOf(s.message("future", bob, s.now+1)), 4, s.now, "future"},
		{"no participant", message(stranger), receiptOf(stranger), 5, s.now, "not a participant"},
		{"no room", submission("mimi://a.example/r/nowhere", mimi.SubmissionMessage, fine.Marshal()), receiptOf(fine), 6, 0, "no such room"},
		{"another's room", submission(theirRoom.String(), mimi.SubmissionMessage, fine.Marshal()), receiptOf(fine), 6, 0, "belongs to"},
		{"another group", message(other), receiptOf(other), 8, s.now, "another group"},
		{"no message", submission(ourRoom.String(), mimi.SubmissionMessage, []byte("x")), sha256.Sum256([]byte("x")), 9, 0, "Submission.body.protocol"},
		{"no URI", submission("https://a.example", mimi.SubmissionMessage, fine.Marshal()), sha256.Sum256(fine.Marshal()), 9, 0, "Submission.roomId"},
		{"another kind", submission(ourRoom.String(), 7, fine.Marshal()), sha256.Sum256(fine.Marshal()), 9, 0, "Submission.kind"},
		{"too large", message(large), receiptOf(large), 10, 0, "458752"},
		{"another's user", message(s.message("mine", alice, s.now)), receiptOf(s.message("mine", alice, s.now)), 13, 0, "sendingUri"},
		{"a Proposal", proposals(good), sha256.Sum256(good.Marshal()), 1, s.now, ""},
		{"an invalid Proposal", proposals(bad), sha256.Sum256(bad.Marshal()), 11, 0, "leaf 9"},
		{"a Proposal of another epoch", proposals(late), sha256.Sum256(late.Marshal()), 12, s.now, "another epoch"},
	}
	var all []mimi.Submission
	for _, row := range rows {
		all = append(all, row.submission)
	}
	a := s.b.post(s.a, bulkSubmitPath, bulkOf(all...))
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got := readSubmissions(t, a.body)
	if len(got) != len(rows) {
		t.Fatalf("%d answers for %d submissions", len(got), len(rows))
	}
	for i, row := range rows {
		state := uint8(2)
		if row.code == 1 {
			state = 1
		}
		answer := got[i]
		if answer.state != state || answer.code != row.code || answer.receipt != row.receipt || mls.Epoch(answer.current) != row.current ||
			!strings.Contains(answer.reason, row.reason) || (answer.reason == "") != (row.code == 1) || (answer.accepted > 0) != (row.code == 1) {
			t.Errorf("%s: %+v", row.name, answer)
		}
		for _, internal := range []string{"fsm", "judge", "replica", "goroutine", ".go"} {
			if strings.Contains(answer.reason, internal) {
				t.Errorf("%s: the reason speaks of %q", row.name, internal)
			}
		}
	}
	if again := readSubmissions(t, s.b.post(s.a, bulkSubmitPath, bulkOf(all...)).body); !equalAnswers(got, again) {
		t.Errorf("the same again: %+v", again)
	}
	s.checkReceipts(got)
	s.checkStream(got)
}

func equalAnswers(a, b []submissionRead) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// checkReceipts asks for what was submitted: what needed the room to be decided is known.
func (s *submitTable) checkReceipts(answers []submissionRead) {
	t := s.t
	t.Helper()
	question := mimi.SubmissionsRequest{Room: ourRoom, Receipts: []mimi.Receipt{{1}}}
	for _, a := range answers {
		question.Receipts = append(question.Receipts, a.receipt)
	}
	got := readSubmissions(t, s.b.post(s.a, submissionsPath, question.Marshal()).body)
	if len(got) != len(question.Receipts) || got[0].state != 7 || got[0].receipt != [32]byte{1} {
		t.Fatalf("%+v", got)
	}
	for i, a := range answers {
		switch a.code {
		case 6, 9, 10, 13: // rejected without looking at the room
		default:
			if got[i+1] != a {
				t.Errorf("asked for %+v: %+v", a, got[i+1])
			}
		}
	}
	elsewhere := mimi.SubmissionsRequest{Room: theirRoom, Receipts: []mimi.Receipt{{1}}}
	if a := s.b.post(s.a, submissionsPath, elsewhere.Marshal()); a.status != http.StatusNotFound {
		t.Errorf("for a room of another provider: %d", a.status)
	}
	// Another provider is told nothing of it, and the hub's own of its own alone.
	for i, a := range readSubmissions(t, s.a.ask(submissionsPath, question.Marshal()).body) {
		if a.state != 7 {
			t.Errorf("the hub's own provider is told of %d: %+v", i, a)
		}
	}
}

// checkStream reads what the submitter's provider is told: each rejection that the room decided, once.
func (s *submitTable) checkStream(answers []submissionRead) {
	t := s.t
	t.Helper()
	told := s.a.hub.verdictsTo(peerDomain)
	rejected := 0
	for _, a := range answers {
		switch a.code {
		case 3, 4, 5, 8, 11, 12:
			rejected++
			if told[a.receipt] != 1 {
				t.Errorf("of %+v the submitter was told %d times", a, told[a.receipt])
			}
		}
	}
	if len(told) != rejected {
		t.Errorf("%d verdicts were told of %d", len(told), rejected)
	}
}

// A destroyed room, a user who is on the way out: what the room itself decides has its own code.
func TestBulkSubmitOfEnded(t *testing.T) {
	s := newSubmitTable(t)
	leave, ref := s.propose(mls.MemberSender{Leaf: 0}, mls.Remove{Removed: bobsLeaf})
	s.a.hub.mu.Lock()
	accepted := s.a.hub.apply(fsm.SubmitProposals{
		Room: ourRoom, GroupID: s.room.group.Context().GroupID, Epoch: s.now, Sender: alice,
		Proposals: []fsm.PendingProposal{{Ref: ref, Message: leave.Marshal()}}, Leaves: []fsm.Leave{{Ref: ref, User: bob}},
	})
	s.a.hub.mu.Unlock()
	if _, yes := accepted.(fsm.Accepted); !yes {
		t.Fatalf("%+v", accepted)
	}
	ask := func(label string) submissionRead {
		body := s.message(label, bob, s.now).Marshal()
		return readSubmissions(t, s.b.post(s.a, bulkSubmitPath, bulkOf(submission(ourRoom.String(), mimi.SubmissionMessage, body))).body)[0]
	}
	if a := ask("leaving"); a.code != 2 || !strings.Contains(a.reason, "leaving") {
		t.Errorf("on the way out: %+v", a)
	}
	want[fsm.Accepted](t, s.a.hub, must(judge.NewDestroyRoom(ourRoom)), nil)
	if a := ask("destroyed"); a.code != 7 || !strings.Contains(a.reason, "destroyed") {
		t.Errorf("destroyed: %+v", a)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A frame that cannot be read, or is too large, is refused as a whole.
func TestBulkSubmitFrame(t *testing.T) {
	d := openPeerDoor(t, nil)
	for name, test := range map[string]struct {
		body  []byte
		field string
	}{
		"nothing":   {mimi.BulkSubmitRequest{}.Marshal(), "BulkSubmitRequest.submissions"},
		"cut short": {bulkOf(submission("r", 1, []byte("b")))[:4], "BulkSubmitRequest.submissions"},
		"too large": {make([]byte, mimi.BulkSubmitBytesMax+1), "body"},
	} {
		if a := d.post(t, bulkSubmitPath, test.body); a.status != http.StatusBadRequest || problemIn(t, a).Field != test.field {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := d.post(t, submissionsPath, []byte{1}); a.status != http.StatusBadRequest || problemIn(t, a).Field != "SubmissionsRequest.roomId" {
		t.Errorf("a question: %d %s", a.status, a.body)
	}
}

// What the cluster could not decide is told apart: what was not written, and what may have been. Only a request of which nothing was taken is
// refused as a whole.
func TestBulkSubmitUnavailable(t *testing.T) {
	d := openPeerDoor(t, nil)
	body := func(label string) []byte {
		return mimi.SubmitMessageRequest{Sender: bob, Message: &mls.PrivateMessage{
			GroupID: "group", Epoch: 7, ContentType: mls.ContentApplication, Ciphertext: []byte(label),
		}}.Marshal()
	}
	rooms := []string{ourRoom.String(), ourRoom.String() + "2", ourRoom.String() + "3", ourRoom.String() + "4"}
	var all []mimi.Submission
	for i, room := range rooms {
		all = append(all, submission(room, mimi.SubmissionMessage, body(fmt.Sprint(i))))
	}
	slots := map[fsm.SlotID]error{}
	for i, err := range []error{
		fmt.Errorf("%w: no leader", fsm.ErrNotProposed), fmt.Errorf("%w: lost", fsm.ErrUnknownOutcome), errors.New("disk"), fsm.ErrOverloaded,
	} {
		slots[fsm.SlotOfRoom(must(mimi.ParseRoomURI(rooms[i])))] = err
	}
	d.hub.answer = func(r judge.Request) (fsm.Outcome, error) { return nil, slots[r.Slot()] }
	got := readSubmissions(t, d.post(t, bulkSubmitPath, bulkOf(all...)).body)
	for i, state := range []uint8{5, 6, 6, 5} {
		if got[i].state != state || got[i].retryAfter != 1 || got[i].reason == "" || got[i].receipt != sha256.Sum256(must(all[i].Read()).(mimi.SubmittedMessage).Encoded) {
			t.Errorf("%d: %+v", i, got[i])
		}
		if strings.Contains(got[i].reason, "disk") {
			t.Errorf("%d speaks of what is internal", i)
		}
	}
	a := d.post(t, bulkSubmitPath, bulkOf(all[0], all[3]))
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "1" {
		t.Errorf("nothing taken: %d %s", a.status, a.body)
	}
	if a := d.post(t, bulkSubmitPath, bulkOf(all[0])); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") != "1" {
		t.Errorf("nothing taken: %d %s", a.status, a.body)
	}
	// One message of a batch may be open while its neighbour is decided.
	d.hub.answer = func(judge.Request) (fsm.Outcome, error) {
		return fsm.BatchDecided{Verdicts: []fsm.BatchVerdict{
			{Verdict: mimi.Verdict{Receipt: mimi.Receipt{1}, Code: mimi.VerdictAccepted, AcceptedMillis: 5}},
			{Verdict: mimi.Verdict{Receipt: mimi.Receipt{2}, Code: mimi.VerdictEpochTooOld}, Undecided: true},
		}}, nil
	}
	got = readSubmissions(t, d.post(t, bulkSubmitPath, bulkOf(all[0], submission(rooms[0], mimi.SubmissionMessage, body("next")))).body)
	if got[0].state != 1 || got[1].state != 6 || got[1].receipt != [32]byte{2} {
		t.Errorf("%+v", got)
	}
}

// A shard of an older format takes the messages one by one.
func TestBulkSubmitInOlderFormat(t *testing.T) {
	s := newSubmitTable(t)
	d := openPeerDoor(t, nil)
	d.hub.answer = func(r judge.Request) (fsm.Outcome, error) {
		if _, batch := r.(*judge.SubmitBatch); batch {
			return fsm.FormatNotReached{Needs: fsm.FormatBulk, Has: fsm.FormatExclusive}, nil
		}
		if len(d.hub.requests)%2 == 0 {
			return fsm.Accepted{Millis: 9, Epoch: 3}, nil
		}
		return fsm.EpochTooOld{Current: 4}, nil
	}
	message := func(label string) mimi.Submission {
		return submission(ourRoom.String(), mimi.SubmissionMessage, s.message(label, bob, s.now).Marshal())
	}
	got := readSubmissions(t, d.post(t, bulkSubmitPath, bulkOf(message("one"), message("two"))).body)
	if got[0].code != 1 || got[0].accepted != 9 || got[1].code != 3 || got[1].current != 4 || got[1].receipt != receiptOf(s.message("two", bob, s.now)) {
		t.Errorf("%+v", got)
	}
}

// Messages of a room go in order into few commands; one of another provider's user, or a Proposal, begins another.
func TestBulkSubmitParts(t *testing.T) {
	in := &bulkIntake{desk: &Desk{config: &fakeCluster{domains: []mimi.Provider{hubDomain}}}, from: submitter{
		domain: peerDomain, speaksFor: func(p mimi.Provider) bool { return p == peerDomain || p == thirdParty },
	}}
	message := func(label string, sender mimi.UserURI) mimi.Submission {
		return submission(ourRoom.String(), mimi.SubmissionMessage, mimi.SubmitMessageRequest{Sender: sender, Message: &mls.PrivateMessage{
			GroupID: "group", ContentType: mls.ContentApplication, Ciphertext: []byte(label),
		}}.Marshal())
	}
	var all []mimi.Submission
	for i := range batchMessagesMax + 1 {
		all = append(all, message(fmt.Sprint(i), bob))
	}
	all = append(all, message("cathy's", cathy), submission(ourRoom.String(), mimi.SubmissionProposals, updateBody()), message("last", cathy),
		message(string(make([]byte, batchBytesMax)), cathy), message("behind", cathy))
	in.answers = make([]mimi.SubmissionAnswer, len(all))
	var sizes []int
	next := 0
	for _, p := range in.sort(all) {
		sizes = append(sizes, len(p.places))
		for _, place := range p.places {
			if place != next {
				t.Fatalf("place %d comes at %d", place, next)
			}
			next++
		}
	}
	if want := []int{batchMessagesMax, 1, 1, 1, 1, 1, 1}; fmt.Sprint(sizes) != fmt.Sprint(want) {
		t.Errorf("parts of %v submissions, not %v", sizes, want)
	}
}

// The local listener speaks for local users alone, queues what is for other hubs, and is told of rejections in the inbox.
func TestLocalBulkSubmit(t *testing.T) {
	s := newSubmitTable(t)
	message := func(label string, sender mimi.UserURI, epoch mls.Epoch) mimi.Submission {
		return submission(ourRoom.String(), mimi.SubmissionMessage, s.message(label, sender, epoch).Marshal())
	}
	elsewhere := submission(theirRoom.String(), mimi.SubmissionMessage, s.message("there", alice, s.now).Marshal())
	body := bulkOf(message("fine", alice, s.now), message("future", alice, s.now+1), message("not mine", bob, s.now), elsewhere)
	a := s.a.ask(bulkSubmitPath, body)
	got := readSubmissions(t, a.body)
	if got[0].code != 1 || got[1].code != 4 || got[2].code != 13 || got[3].state != 4 {
		t.Errorf("%d %+v", a.status, got)
	}
	question := mimi.SubmissionsRequest{Room: ourRoom, Receipts: []mimi.Receipt{got[0].receipt, got[1].receipt}}.Marshal()
	if known := readSubmissions(t, s.a.ask(submissionsPath, question).body); known[0] != got[0] || known[1] != got[1] {
		t.Errorf("asked for: %+v", known)
	}
	question = mimi.SubmissionsRequest{Room: theirRoom, Receipts: []mimi.Receipt{got[3].receipt, got[0].receipt}}.Marshal()
	if known := readSubmissions(t, s.a.ask(submissionsPath, question).body); known[0] != got[3] || known[1].state != 7 {
		t.Errorf("asked for what waits for another hub: %+v", known)
	}
	if told := s.a.hub.verdictsTo(hubDomain); len(told) != 1 || told[got[1].receipt] != 1 {
		t.Errorf("the inbox is told %v", told)
	}
}

// Where the queue to a hub has no room, what has none is not taken, and named; a request of which nothing is taken is told when to come again.
func TestLocalBulkSubmitMeetsAFullQueue(t *testing.T) {
	s := newSubmitTable(t)
	s.a.hub.change(func(settings *fsm.Settings) { settings.Bulk.QueueItemsMax = 1 })
	elsewhere := func(label string) mimi.Submission {
		return submission(theirRoom.String(), mimi.SubmissionMessage, s.message(label, alice, s.now).Marshal())
	}
	a := s.a.ask(bulkSubmitPath, bulkOf(elsewhere("one"), elsewhere("two")))
	if got := readSubmissions(t, a.body); got[0].state != 4 || got[1].state != 5 {
		t.Errorf("%d %+v", a.status, got)
	}
	a = s.a.ask(bulkSubmitPath, bulkOf(elsewhere("three")))
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != fmt.Sprint(fsm.QueueRetrySeconds) {
		t.Errorf("a full queue answers %d, to come again after %q", a.status, a.header.Get("Retry-After"))
	}
}

// A peer's messages are counted, not its requests alone; what is over the limit is refused whole and leaves the limit as it was.
func TestBulkSubmitLimits(t *testing.T) {
	d := openPeerDoor(t, func(c *PeerConfig) { c.Limit = RateLimit{MessagesPerSecond: 0.001} })
	d.hub.set(fsm.Accepted{Millis: 1}, nil)
	many := make([]mimi.Submission, 600)
	for i := range many {
		many[i] = submission("nowhere", mimi.SubmissionMessage, nil)
	}
	codes := []int{
		d.post(t, bulkSubmitPath, bulkOf(many...)).status, d.post(t, bulkSubmitPath, bulkOf(many...)).status,
		d.post(t, bulkSubmitPath, bulkOf(many[:399]...)).status, d.post(t, path("submitMessage", ourRoom), submitBody(bob)).status,
	}
	if codes[0] != 200 || codes[1] != 429 || codes[2] != 200 || codes[3] != 200 {
		t.Errorf("%v", codes)
	}
	last := d.post(t, path("submitMessage", ourRoom), submitBody(bob))
	if last.status != 429 || last.header.Get("Retry-After") == "" {
		t.Errorf("a single one over the limit: %d", last.status)
	}
	d = openPeerDoor(t, func(c *PeerConfig) { c.Limit = RateLimit{BytesPerSecond: 0.001} })
	large := bulkOf(submission("nowhere", mimi.SubmissionMessage, bytes.Repeat([]byte{1}, 3<<20)))
	for i, want := range []int{200, 200, 429} {
		if got := d.post(t, bulkSubmitPath, large).status; got != want {
			t.Errorf("%d bytes, time %d: %d", len(large), i, got)
		}
	}
}

// One origin that fills its share leaves room for others, and room that was given back is there again.
func TestIntakeRoom(t *testing.T) {
	r := newIntakeRoom()
	var leave []func()
	fill := func(origin string) (n int, err error) {
		for {
			give, err := r.enter(origin, -1)
			if err != nil {
				return n, err
			}
			leave, n = append(leave, give), n+1
		}
	}
	status := func(err error) int { return err.(*Problem).Status }
	per := intakeBytesPerOriginMax / mimi.BulkSubmitBytesMax
	for _, origin := range []string{"a", "b"} {
		if n, err := fill(origin); n != per || status(err) != 429 {
			t.Errorf("%s: %d, %v", origin, n, err)
		}
	}
	if n, err := fill("c"); n != intakeBytesMax/mimi.BulkSubmitBytesMax-2*per || status(err) != 503 {
		t.Errorf("c: %d, %v", n, err)
	}
	for _, give := range leave {
		give()
	}
	if n, _ := fill("a"); n != per || len(r.byOrigin) != 1 {
		t.Errorf("afterwards: %d", n)
	}
}
