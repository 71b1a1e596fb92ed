package httpapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// courierWorld is a provider whose clients submit for rooms of a hub that the test plays. It runs in a synctest bubble.
type courierWorld struct {
	t       *testing.T
	hub     *memoryHub // ours
	peer    *playedHub
	courier *Courier
	stop    func()
}

// playedHub is another provider's hub. It recognises what it has accepted, where forgetful is not set.
type playedHub struct {
	mu        sync.Mutex
	bulk      bool
	forgetful bool
	fault     func(receipt mimi.Receipt, attempt int) playedFault
	down      bool
	posts     []time.Time
	attempts  map[mimi.Receipt]int
	times     map[mimi.Receipt][]time.Time // of the attempts
	largest   int                          // submissions in one request
	now, most int                          // requests at once
	mangled   func(*mimi.BulkSubmitResponse)
	noAsking  bool                            // it cannot be asked by receipt
	mute      bool                            // it answers nothing to that for now
	asked     int                             // how often it was asked so
	empty     int                             // bulk requests that cannot be read, as those with nothing in them
	refuses   bool                            // every bulk request, whole
	accepted  map[mimi.RoomURI][]mimi.Receipt // in order
	verdicts  map[mimi.Receipt]mimi.Verdict
	held      map[mimi.Receipt]mimi.RoomURI
}

// playedFault is what happens to one submission instead of its acceptance.
type playedFault struct {
	verdict    mimi.VerdictCode     // 0: accepted
	state      mimi.SubmissionState // of a bulk answer, instead of a verdict
	status     int                  // of a single answer, likewise
	retryAfter string
	lost       bool // the answer is lost, behind the decision
	broken     int  // likewise, of a bulk request: it is answered with this status
	forgotten  bool // with state held: it is lost at the hub
	unsent     bool
	garbage    bool
	strange    bool // an error that says nothing of whether it was sent
}

func newCourierWorld(t *testing.T, bulk bool, cfg CourierConfig) *courierWorld {
	w := &courierWorld{t: t, hub: newMemoryHub(t, func(*fsm.Settings) {}, hubDomain), peer: &playedHub{
		bulk: bulk, attempts: map[mimi.Receipt]int{}, accepted: map[mimi.RoomURI][]mimi.Receipt{}, verdicts: map[mimi.Receipt]mimi.Verdict{},
		held: map[mimi.Receipt]mimi.RoomURI{}, times: map[mimi.Receipt][]time.Time{},
	}}
	w.hub.mu.Lock()
	w.hub.now = uint64(time.Now().UnixMilli())
	w.hub.mu.Unlock()
	w.start(cfg)
	return w
}

// start begins with a courier that knows nothing of what was tried before.
func (w *courierWorld) start(cfg CourierConfig) {
	w.t.Helper()
	metrics, err := NewCourierMetrics(prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	pulse := NewPulse(w.hub.woken)
	w.courier = NewCourier(cfg, w.hub, w.hub, w.peer, pulse, metrics, quiet())
	var running sync.WaitGroup
	running.Go(func() { pulse.Run(ctx) })
	running.Go(func() { w.courier.Run(ctx) })
	w.stop = func() { cancel(); running.Wait() }
}

func peerRoom(n int) mimi.RoomURI { return room(fmt.Sprintf("mimi://%s/r/%d", peerDomain, n)) }

// outboundMessage is a message of ours, for a room of the peer.
func outboundMessage(room mimi.RoomURI, label string) mimi.Submission {
	message := &mls.PrivateMessage{GroupID: mls.GroupID(room.String()), Epoch: 3, ContentType: mls.ContentApplication,
		EncryptedSenderData: []byte("sender"), Ciphertext: []byte(label)}
	sender := must(mimi.ParseUserURI(fmt.Sprintf("mimi://%s/u/alice", hubDomain)))
	return mimi.Submission{Room: room.String(), Kind: mimi.SubmissionMessage, Body: mimi.SubmitMessageRequest{Message: message, Sender: sender}.Marshal()}
}

func outboundReceipt(t *testing.T, s mimi.Submission) mimi.Receipt {
	t.Helper()
	read, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	return read.Receipt()
}

// submit queues messages of one room and returns their receipts.
func (w *courierWorld) submit(room mimi.RoomURI, labels ...string) (receipts []mimi.Receipt) {
	w.t.Helper()
	var all []mimi.Submission
	for _, label := range labels {
		s := outboundMessage(room, label)
		all = append(all, s)
		receipts = append(receipts, outboundReceipt(w.t, s))
	}
	w.queue(room, all...)
	return receipts
}

// queue has submissions of one room wait.
func (w *courierWorld) queue(room mimi.RoomURI, all ...mimi.Submission) {
	w.t.Helper()
	request, err := judge.NewQueue(room, all)
	got := want[fsm.SubmissionsQueued](w.t, w.hub, request, err)
	for _, a := range got.Answers {
		if a.State != mimi.SubmissionQueued {
			w.t.Fatalf("answered %+v", a)
		}
	}
}

// verdicts are those in the local inbox, each receipt's in order.
func (w *courierWorld) verdicts() map[mimi.Receipt][]mimi.Verdict {
	w.t.Helper()
	w.hub.mu.Lock()
	items := w.hub.items(hubDomain)
	w.hub.mu.Unlock()
	found := map[mimi.Receipt][]mimi.Verdict{}
	for _, item := range items {
		for _, note := range item.Notes {
			if n, ok := note.(fsm.Noticed); ok {
				if v, ok := n.Notice.(mimi.Verdict); ok {
					found[v.Receipt] = append(found[v.Receipt], v)
				}
			}
		}
	}
	return found
}

// expectOne looks that each receipt has one verdict, of this code.
func (w *courierWorld) expectOne(code mimi.VerdictCode, receipts ...mimi.Receipt) {
	w.t.Helper()
	found := w.verdicts()
	for i, receipt := range receipts {
		if got := found[receipt]; len(got) != 1 || got[0].Code != code {
			w.t.Errorf("submission %d has the verdicts %+v, not %s alone", i, got, code)
		}
	}
}

// Post implements Poster.
func (p *playedHub) Post(ctx context.Context, to mimi.Provider, target Target, body []byte, _ string) (*Reply, error) {
	p.mu.Lock()
	p.posts = append(p.posts, time.Now())
	down := p.down
	p.now++
	p.most = max(p.most, p.now)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.now--
	}()
	if to != peerDomain {
		return nil, &SendError{To: to, Err: errNoPeer}
	}
	if !p.bulk && target == BulkSubmitTarget() || (!p.bulk || p.noAsking) && target == SubmissionsTarget() {
		return nil, &SendError{To: to, Err: fmt.Errorf("%s: %w", target, errNotOffered)}
	}
	if down {
		return nil, &SendError{To: to, Err: errors.New("it is down")}
	}
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		return nil, &SendError{To: to, MaybeSent: true, Err: ctx.Err()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch target {
	case BulkSubmitTarget():
		return p.submitMany(body)
	case SubmissionsTarget():
		return p.tell(body)
	default:
		return p.submitOne(target, body)
	}
}

func (p *playedHub) plan(receipt mimi.Receipt) (f playedFault) {
	p.attempts[receipt]++
	p.times[receipt] = append(p.times[receipt], time.Now())
	if p.fault != nil {
		f = p.fault(receipt, p.attempts[receipt])
	}
	return f
}

// rule decides on a submission once; of what it has decided it knows the verdict, unless it is forgetful.
func (p *playedHub) rule(room mimi.RoomURI, receipt mimi.Receipt, code mimi.VerdictCode) mimi.Verdict {
	if v, known := p.verdicts[receipt]; known && !p.forgetful {
		return v
	}
	v := mimi.Verdict{Receipt: receipt, Code: code, Current: 9}
	if code == 0 {
		v.Code, v.AcceptedMillis = mimi.VerdictAccepted, 77
		p.accepted[room] = append(p.accepted[room], receipt)
	}
	p.verdicts[receipt] = v
	return v
}

func (p *playedHub) submitMany(body []byte) (*Reply, error) {
	request, err := mimi.ParseBulkSubmitRequest(body)
	if err != nil {
		p.empty++
	}
	if err != nil || p.refuses {
		return &Reply{Status: http.StatusBadRequest}, nil
	}
	p.largest = max(p.largest, len(request.Submissions))
	var response mimi.BulkSubmitResponse
	lost, broken, retryAfter := false, 0, ""
	stopped := map[string]bool{} // a hub takes nothing out of turn
	for _, s := range request.Submissions {
		read := must(s.Read())
		f := p.plan(read.Receipt())
		a := mimi.SubmissionAnswer{State: f.state, Verdict: mimi.Verdict{Receipt: read.Receipt()}, RetryAfterSeconds: 1}
		if seconds, err := strconv.Atoi(f.retryAfter); err == nil {
			a.RetryAfterSeconds = uint32(seconds)
		}
		switch {
		case f.unsent:
			return nil, &SendError{To: peerDomain, Err: errors.New("not sent")}
		case f.strange:
			return nil, errors.New("strange")
		case stopped[s.Room]:
			a.State = mimi.SubmissionNotTaken
		case f.state == mimi.SubmissionHeld:
			a.RetryAfterSeconds = 0
			if !f.forgotten {
				p.held[read.Receipt()] = read.ForRoom()
			}
			stopped[s.Room] = true
		case f.state != 0:
			stopped[s.Room] = true
		default:
			a = mimi.DecidedAnswer(p.rule(read.ForRoom(), read.Receipt(), f.verdict))
		}
		if lost = lost || f.lost; f.broken > 0 {
			broken, retryAfter = f.broken, f.retryAfter
		}
		response.Answers = append(response.Answers, a)
	}
	if lost {
		return nil, &SendError{To: peerDomain, MaybeSent: true, Err: errors.New("the answer is lost")}
	}
	if broken > 0 {
		return &Reply{Status: broken, Header: http.Header{"Retry-After": {retryAfter}}}, nil
	}
	if p.mangled != nil {
		p.mangled(&response)
		p.mangled = nil
	}
	return &Reply{Status: http.StatusOK, Body: response.Marshal()}, nil
}

// tell answers for receipts. What is held is decided when it is first asked for.
func (p *playedHub) tell(body []byte) (*Reply, error) {
	request := must(mimi.ParseSubmissionsRequest(body))
	if p.asked++; p.mute {
		return &Reply{Status: http.StatusServiceUnavailable, Header: http.Header{}}, nil
	}
	var response mimi.BulkSubmitResponse
	for _, receipt := range request.Receipts {
		v, known := p.verdicts[receipt]
		if room, held := p.held[receipt]; held && !known {
			delete(p.held, receipt)
			v, known = p.rule(room, receipt, 0), true
		}
		if !known {
			response.Answers = append(response.Answers, mimi.SubmissionAnswer{State: mimi.SubmissionUnknown, Verdict: mimi.Verdict{Receipt: receipt}})
			continue
		}
		response.Answers = append(response.Answers, mimi.DecidedAnswer(v))
	}
	return &Reply{Status: http.StatusOK, Body: response.Marshal()}, nil
}

// propose decides on a bundle of Proposals.
func (p *playedHub) propose(target Target, body []byte) (*Reply, error) {
	bundle := must(mimi.ParseHandshakeBundle(body)).(mimi.ProposalBundle)
	f := p.plan(bundle.Receipt())
	response := mimi.UpdateRoomResponse{Description: "as it is played", Result: mimi.UpdateNotAllowed{}}
	switch v := p.rule(must(mimi.ParseRoomURI(target.value.String())), bundle.Receipt(), f.verdict); v.Code {
	case mimi.VerdictAccepted:
		response.Result = mimi.UpdateSuccess{AcceptedMillis: v.AcceptedMillis}
	case mimi.VerdictWrongEpoch:
		response.Result = mimi.UpdateWrongEpoch{Current: v.Current}
	case mimi.VerdictInvalid:
		response.Result = mimi.UpdateInvalidProposal{}
	}
	return &Reply{Status: http.StatusOK, Body: response.Marshal()}, nil
}

func (p *playedHub) submitOne(target Target, body []byte) (*Reply, error) {
	if target.endpoint == mimi.EndpointUpdate {
		return p.propose(target, body)
	}
	request := must(mimi.ParseSubmitMessageRequest(body))
	receipt := mimi.Receipt(sha256.Sum256(request.Encoded()))
	room := must(mimi.ParseRoomURI(target.value.String()))
	f := p.plan(receipt)
	switch {
	case f.unsent:
		return nil, &SendError{To: peerDomain, Err: errors.New("not sent")}
	case f.strange:
		return nil, errors.New("strange")
	case f.status != 0:
		return &Reply{Status: f.status, Header: http.Header{"Retry-After": {f.retryAfter}}}, nil
	}
	var response mimi.SubmitMessageResponse
	switch v := p.rule(room, receipt, f.verdict); v.Code {
	case mimi.VerdictAccepted:
		response = mimi.SubmitAccepted{AcceptedMillis: v.AcceptedMillis}
	case mimi.VerdictEpochTooOld:
		response = mimi.SubmitEpochTooOld{Current: v.Current}
	default:
		response = mimi.SubmitNotAllowed{}
	}
	switch {
	case f.lost:
		return nil, &SendError{To: peerDomain, MaybeSent: true, Err: errors.New("the answer is lost")}
	case f.garbage:
		return &Reply{Status: http.StatusOK, Body: []byte("no answer")}, nil
	}
	return &Reply{Status: http.StatusOK, Body: response.Marshal()}, nil
}

func bothKinds(t *testing.T, test func(t *testing.T, bulk bool)) {
	for _, bulk := range []bool{false, true} {
		name := map[bool]string{false: "standard", true: "bulk"}[bulk]
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, bulk) }) })
	}
}

func TestCourierBringsInOrder(t *testing.T) {
	bothKinds(t, func(t *testing.T, bulk bool) {
		w := newCourierWorld(t, bulk, CourierConfig{PerRequest: 30})
		var all []mimi.Receipt
		sent := map[mimi.RoomURI][]mimi.Receipt{}
		for n := range 10 {
			for i := range 20 {
				receipts := w.submit(peerRoom(n), fmt.Sprint(n, " ", i))
				all = append(all, receipts...)
				sent[peerRoom(n)] = append(sent[peerRoom(n)], receipts...)
			}
		}
		time.Sleep(2 * time.Second)
		if open := w.lanes(); open > 0 {
			t.Errorf("%d lanes stay open though nothing waits", open)
		}
		w.stop()
		if w.peer.largest > 30 {
			t.Errorf("%d submissions in a request", w.peer.largest)
		}
		w.expectOne(mimi.VerdictAccepted, all...)
		for room, receipts := range sent {
			if !slices.Equal(w.peer.accepted[room], receipts) {
				t.Errorf("in %s %d of %d came, or not in order", room, len(w.peer.accepted[room]), len(receipts))
			}
		}
		if v := w.verdicts()[all[0]][0]; v.AcceptedMillis != 77 {
			t.Errorf("the verdict is %+v", v)
		}
		if left := w.hub.QueuedHubs(); len(left) > 0 {
			t.Errorf("something is left for %v", left)
		}
	})
}

// A hub that loses answers, is overloaded, holds, and fails in other ways: each submission is accepted once, in order, and has one verdict.
func TestCourierToAFlakyHub(t *testing.T) {
	for seed := range uint64(8) {
		bothKinds(t, func(t *testing.T, bulk bool) {
			w := newCourierWorld(t, bulk, CourierConfig{PerRequest: 15})
			rng := rand.New(rand.NewPCG(seed, 1))
			faults := []playedFault{
				{lost: true, state: mimi.SubmissionUndecided}, {lost: true}, {unsent: true}, {status: 503, retryAfter: "2", state: mimi.SubmissionNotTaken},
				{status: 500, state: mimi.SubmissionUndecided}, {garbage: true, state: mimi.SubmissionHeld}, {status: 429, state: mimi.SubmissionHeld},
				{status: 403, state: mimi.SubmissionNotTaken},
			}
			w.peer.fault = func(_ mimi.Receipt, attempt int) (f playedFault) {
				if attempt <= 3 && rng.IntN(10) == 0 {
					f = faults[rng.IntN(len(faults))]
				}
				return f
			}
			var all []mimi.Receipt
			sent := map[mimi.RoomURI][]mimi.Receipt{}
			for n := range 5 {
				for i := range 20 {
					receipts := w.submit(peerRoom(n), fmt.Sprint(n, " ", i))
					all = append(all, receipts...)
					sent[peerRoom(n)] = append(sent[peerRoom(n)], receipts...)
				}
			}
			time.Sleep(20 * time.Minute)
			w.stop()
			w.expectOne(mimi.VerdictAccepted, all...)
			for room, receipts := range sent {
				if !slices.Equal(w.peer.accepted[room], receipts) {
					t.Errorf("in %s %d of %d were accepted, or not in order", room, len(w.peer.accepted[room]), len(receipts))
				}
			}
		})
	}
}

// What a hub refuses is told with its reason, and does not hold up what stands behind it.
func TestCourierTellsRefusals(t *testing.T) {
	for _, c := range []struct {
		fault playedFault
		want  mimi.VerdictCode
	}{
		{playedFault{verdict: mimi.VerdictEpochTooOld}, mimi.VerdictEpochTooOld},
		{playedFault{verdict: mimi.VerdictNotAllowed}, mimi.VerdictNotAllowed},
		{playedFault{status: http.StatusBadRequest}, mimi.VerdictMalformed},
		{playedFault{status: http.StatusGone}, mimi.VerdictRoomEnded},
		{playedFault{status: http.StatusRequestEntityTooLarge}, mimi.VerdictTooLarge},
		{playedFault{status: http.StatusNotFound}, mimi.VerdictNoSuchRoom},
		{playedFault{status: http.StatusForbidden}, mimi.VerdictNotAllowed},
	} {
		bothKinds(t, func(t *testing.T, bulk bool) {
			if bulk && c.fault.status != 0 {
				return
			}
			w := newCourierWorld(t, bulk, CourierConfig{})
			poison := outboundReceipt(t, outboundMessage(peerRoom(1), "poison"))
			w.peer.fault = func(receipt mimi.Receipt, _ int) playedFault {
				if receipt == poison {
					return c.fault
				}
				return playedFault{}
			}
			w.submit(peerRoom(1), "poison")
			behind := w.submit(peerRoom(1), "behind")
			time.Sleep(time.Minute)
			w.stop()
			w.expectOne(c.want, poison)
			w.expectOne(mimi.VerdictAccepted, behind...)
			tries := 1
			if c.fault.status == http.StatusNotFound || c.fault.status == http.StatusForbidden {
				tries = refusalsMax // it may be about us
			}
			if got := w.peer.attempts[poison]; got != tries {
				t.Errorf("%+v: brought %d times, not %d", c.fault, got, tries)
			}
			if v := w.verdicts()[poison]; len(v) == 1 && (v[0].Reason == "" && c.fault.verdict != mimi.VerdictEpochTooOld && !bulk || v[0].Current != 9 && c.fault.verdict == mimi.VerdictEpochTooOld) {
				t.Errorf("the verdict is %+v", v)
			}
		})
	}
}

// A hub that is away for hours costs an attempt every half a minute at most, and gets everything when it is back.
func TestCourierWaitsForAHub(t *testing.T) {
	bothKinds(t, func(t *testing.T, bulk bool) {
		w := newCourierWorld(t, bulk, CourierConfig{})
		w.peer.mu.Lock()
		w.peer.down = true
		w.peer.mu.Unlock()
		receipts := w.submit(peerRoom(1), "one", "two", "three")
		time.Sleep(2 * time.Hour)
		w.peer.mu.Lock()
		if n := len(w.peer.posts); n < 120 || n > 2000 {
			t.Errorf("%d attempts in two hours", n)
		}
		w.peer.down = false
		w.peer.mu.Unlock()
		time.Sleep(time.Minute)
		w.stop()
		w.expectOne(mimi.VerdictAccepted, receipts...)
	})
}

// A hub that accepts, loses its answer, and refuses the same message later as one of an epoch that is over: that is no verdict while the room's events
// may still tell that it was accepted, and those settle it.
func TestCourierDoubtsARefusal(t *testing.T) {
	for _, told := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newCourierWorld(t, false, CourierConfig{})
			w.peer.forgetful = true
			w.peer.fault = func(_ mimi.Receipt, attempt int) playedFault {
				if attempt == 1 {
					return playedFault{lost: true}
				}
				return playedFault{verdict: mimi.VerdictEpochTooOld}
			}
			receipt := w.submit(peerRoom(1), "one")[0]
			time.Sleep(5 * time.Second)
			if got := w.verdicts()[receipt]; len(got) > 0 {
				t.Fatalf("a verdict before the hub's events could come: %+v", got)
			}
			if told {
				read := must(outboundMessage(peerRoom(1), "one").Read()).(mimi.SubmittedMessage)
				var body mls.Writer
				mimi.AppendFanoutApplication(&body, 99, read.Encoded, nil)
				request, err := judge.NewNotify(peerDomain, peerRoom(1), body.Bytes())
				want[fsm.Accepted](t, w.hub, request, err)
			}
			time.Sleep(5 * time.Minute)
			w.stop()
			if told {
				w.expectOne(mimi.VerdictAccepted, receipt)
				if v := w.verdicts()[receipt][0]; v.AcceptedMillis != 99 {
					t.Errorf("the verdict is %+v", v)
				}
				return
			}
			w.expectOne(mimi.VerdictEpochTooOld, receipt)
			if v := w.verdicts()[receipt]; len(v) == 1 && !strings.Contains(v[0].Reason, "earlier attempt was lost") {
				t.Errorf("it is not told that it may be otherwise: %q", v[0].Reason)
			}
		})
	}
}
