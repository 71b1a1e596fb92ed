package dev

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"parley/mimi"
	"parley/mls"
)

// book keeps account of the scenario bulk: what was submitted, what became of it, what arrived where and in which order. Of a letter it
// keeps a hash and some numbers. Evidence is noted where it is seen. Safe for concurrent use.
type book struct {
	mu        sync.Mutex
	letters   map[[32]byte]*letter
	proposals map[mls.ProposalRef][32]byte
	items     [2]map[string]bool       // of the inboxes, by side: those that were read
	order     [2]map[*forum]*roomOrder // of arrivals, by side
	between   [2][2]traffic            // by the side of the hub and that of the receiver
	rejected  map[mimi.VerdictCode]int // by what was answered
	overtook  int                      // letters whose epoch had left the window when they came to the hub
	tells     bool                     // whether rejections are told on the streams, as those of bulk submissions are
	coarse    bool                     // whether rejections come with the draft's codes, which tell too old an epoch from anything else and nothing more
	kept      map[receiptState]int     // letters that were held or queued
	byReceipt int                      // verdicts that were asked for by their receipts
	broken    [bulkPromises][]string
}

// roomOrder is how far what a side has received of a room has come.
type roomOrder struct {
	next    uint32                  // place of the next handshake
	epoch   mls.Epoch               // that the last Commit has begun
	senders [2]map[mls.Epoch]uint32 // by side: the latest turn of what arrived of an epoch
}

// bulkPromise is one that the scenario bulk puts to the test.
type bulkPromise int

const (
	promiseDelivered bulkPromise = iota
	promiseOrder
	promiseVerdict
	promiseTold
	promiseKept
	promiseExplained
	bulkPromises // how many there are
)

func (p bulkPromise) String() string {
	return [bulkPromises]string{
		"what was accepted has arrived, and nothing else",
		"each in its order",
		"each submission decided as it must be",
		"each rejection told, and readable by its receipt",
		"what was held or queued came to one verdict, told",
		"nothing open, nothing unexplained",
	}[p]
}

func newBook() *book {
	b := &book{letters: make(map[[32]byte]*letter), proposals: make(map[mls.ProposalRef][32]byte), rejected: make(map[mimi.VerdictCode]int),
		kept: make(map[receiptState]int)}
	for s := range b.items {
		b.items[s], b.order[s] = make(map[string]bool), make(map[*forum]*roomOrder)
	}
	return b
}

// enter notes a letter before it is submitted.
func (b *book) enter(hash [32]byte, l letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters[hash] = &l
}

// names says which Proposal a reference means.
func (b *book) names(ref mls.ProposalRef, hash [32]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.proposals[ref] = hash
}

// again notes that a letter is submitted once more, in a later turn.
func (b *book) again(hash [32]byte, turn uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letters[hash].last = turn
}

// accepted notes that the hub has accepted a letter.
func (b *book) accepted(hash [32]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accept(hash, b.letters[hash])
}

func (b *book) accept(hash [32]byte, l *letter) {
	switch {
	case l.fate == fateAccepted:
		return
	case l.fate == fateRejected:
		b.broke(promiseVerdict, "%s: it was rejected as %s, and then accepted", b.name(hash, l), l.code)
	case l.want != 0:
		b.broke(promiseVerdict, "%s: it was accepted, and must be rejected as %s", b.name(hash, l), l.want)
	}
	l.fate = fateAccepted
	for to, must := range l.to {
		if must {
			t := &b.between[l.forum.hub.place][to]
			t.accepted++
			t.acceptedBytes += l.bytes
			if l.kind == kindLetter {
				t.messages++
			}
		}
	}
}

// rejects notes that a letter was rejected, while its room was in an epoch.
func (b *book) rejects(hash [32]byte, code mimi.VerdictCode, current mls.Epoch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reject(hash, b.letters[hash], code, current)
}

func (b *book) reject(hash [32]byte, l *letter, code mimi.VerdictCode, current mls.Epoch) {
	switch {
	case l.fate == fateRejected && l.code == code:
		return
	case l.fate == fateRejected:
		b.broke(promiseVerdict, "%s: it was rejected as %s, and then as %s", b.name(hash, l), l.code, code)
	case l.fate == fateAccepted:
		b.broke(promiseVerdict, "%s: it was accepted, and then rejected as %s", b.name(hash, l), code)
	case l.overtaken(code, current):
		b.overtook++
	case l.want == 0:
		b.broke(promiseVerdict, "%s: it was rejected as %s in epoch %d, and nothing is wrong with it", b.name(hash, l), code, current)
	case b.coarse && code == mimi.VerdictNotAllowed && l.want != mimi.VerdictEpochTooOld:
	case l.want != code:
		b.broke(promiseVerdict, "%s: it was rejected as %s, and must be as %s", b.name(hash, l), code, l.want)
	}
	if l.fate == fateOpen {
		b.rejected[code]++
	}
	l.fate, l.code = fateRejected, code
}

// keeps notes that a letter is held or queued, so that its verdict is owed.
func (b *book) keeps(hash [32]byte, as receiptState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.letters[hash]
	if l.kept == receiptUnknown {
		b.kept[as]++
	}
	l.kept = as
}

// keptSoFar counts the letters that were held or queued.
func (b *book) keptSoFar(as receiptState) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept[as]
}

// told notes a verdict that came on a side's stream.
func (b *book) told(s *side, receipt [32]byte, code mimi.VerdictCode, current mls.Epoch) {
	l, known := b.letters[receipt]
	switch {
	case !known:
		b.broke(promiseExplained, "%s was told %s of %x, which nobody submitted", s.provider.domain, code, receipt[:4])
		return
	case l.origin != s.place:
		b.broke(promiseTold, "%s: the verdict %s came to %s, who did not submit it", b.name(receipt, l), code, s.provider.domain)
	case l.told > 0 && l.toldAs != code:
		b.broke(promiseTold, "%s: its submitter was told %s, and then %s", b.name(receipt, l), l.toldAs, code)
	}
	if l.told++; l.told > 1 && l.kept.waits() && code == mimi.VerdictAccepted {
		b.broke(promiseKept, "%s: its submitter was told %d times that it is accepted", b.name(receipt, l), l.told)
	}
	l.toldAs = code
	if code == mimi.VerdictAccepted {
		b.accept(receipt, l)
	} else {
		b.reject(receipt, l, code, current)
	}
}

// fateOf is what has become of a letter so far.
func (b *book) fateOf(hash [32]byte) fate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.letters[hash].fate
}

// inboxBody is what the book needs of an item of an inbox.
type inboxBody struct {
	id       string
	messages []mimi.FanoutMessage
	verdicts []mimi.Verdict
	fates    []mimi.ProposalFate
}

// receive enters an item of a side's inbox, and says how many letters of either hub are in it. An item that is read again, because its
// acknowledgement is not in, counts once.
func (b *book) receive(s *side, item inboxBody) (counts [2]int) {
	now := time.Now().UnixMilli()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.items[s.place][item.id] {
		return counts
	}
	b.items[s.place][item.id] = true
	for _, v := range item.verdicts {
		b.told(s, v.Receipt, v.Code, v.Current)
	}
	for _, f := range item.fates {
		b.fated(s, f)
	}
	for _, m := range item.messages {
		for _, message := range m.Event.MLSMessages() {
			if l := b.arrive(s, item.id, sha256.Sum256(message.Marshal())); l != nil {
				hub := l.forum.hub.place
				counts[hub]++
				if l.kind == kindLetter {
					b.between[hub][s.place].latency(time.Duration(now-int64(m.Millis)) * time.Millisecond)
				}
			}
		}
	}
	return counts
}

// fated notes what a side was told of a Proposal. All that wait in the scenario are committed.
func (b *book) fated(s *side, f mimi.ProposalFate) {
	hash, known := b.proposals[f.Ref]
	switch {
	case !known:
		b.broke(promiseExplained, "%s was told the fate of a Proposal %x that nobody made", s.provider.domain, string(f.Ref))
	case b.letters[hash].origin != s.place:
		b.broke(promiseTold, "%s: its fate was told to %s, who did not propose it", b.name(hash, b.letters[hash]), s.provider.domain)
	case f.End != mimi.ProposalCommitted:
		b.broke(promiseTold, "%s: its provider was told that it was dropped", b.name(hash, b.letters[hash]))
	default:
		b.letters[hash].fates++
	}
}

// arrive notes one letter of an item; nil where it arrived before, or is nobody's.
func (b *book) arrive(s *side, item string, hash [32]byte) *letter {
	l, known := b.letters[hash]
	if !known {
		b.broke(promiseExplained, "%s received %x in item %s, which nobody submitted", s.provider.domain, hash[:4], item)
		return nil
	}
	l.arrived[s.place]++
	t := &b.between[l.forum.hub.place][s.place]
	if l.arrived[s.place] > 1 {
		t.twice++
		return nil
	}
	if !l.to[s.place] {
		b.broke(promiseDelivered, "%s: %s received it, and is not concerned", b.name(hash, l), s.provider.domain)
	}
	t.delivered++
	t.deliveredBytes += l.bytes
	b.follow(s, hash, l)
	return l
}

// follow holds the order of what arrives to the order in which it was submitted.
func (b *book) follow(s *side, hash [32]byte, l *letter) {
	at := b.order[s.place][l.forum]
	if at == nil {
		at = &roomOrder{epoch: l.forum.began, senders: [2]map[mls.Epoch]uint32{{}, {}}}
		b.order[s.place][l.forum] = at
	}
	switch l.kind {
	case kindForumProposal, kindForumCommit:
		if l.first != at.next {
			b.disorder(s, "%s: it is handshake %d of the room, and arrived in place of %d", b.name(hash, l), l.first, at.next)
		}
		at.next = l.first + 1
		if l.kind == kindForumCommit {
			at.epoch = l.epoch + 1
		}
	case kindLetter:
		if l.epoch > at.epoch {
			b.disorder(s, "%s: it arrived while only the Commits up to epoch %d had", b.name(hash, l), at.epoch)
		}
		if latest := at.senders[l.origin][l.epoch]; l.last < latest {
			b.disorder(s, "%s: its sender submitted it in turn %d, and what was submitted in turn %d arrived before it", b.name(hash, l), l.last, latest)
		} else {
			at.senders[l.origin][l.epoch] = max(latest, l.first)
		}
	}
}

func (b *book) disorder(s *side, format string, arguments ...any) {
	b.broke(promiseOrder, "at "+s.provider.domain+", "+format, arguments...)
}

// acknowledged notes that a side has acknowledged letters, by their hubs.
func (b *book) acknowledged(s *side, counts [2]int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for hub, n := range counts {
		b.between[hub][s.place].acknowledged += n
	}
}

func (b *book) broke(p bulkPromise, format string, arguments ...any) {
	b.broken[p] = append(b.broken[p], fmt.Sprintf(format, arguments...))
}

// unexplained notes evidence that is no letter's.
func (b *book) unexplained(format string, arguments ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broke(promiseExplained, format, arguments...)
}

func (b *book) name(hash [32]byte, l *letter) string {
	return fmt.Sprintf("%s %x of epoch %d in %s", l.kind, hash[:4], l.epoch, l.forum.room)
}
