package dev

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"parley/mimi"
	"parley/mls"
)

// ledger keeps account of what a hub accepted and of what each provider then received, and finds what was lost, came twice or
// came out of order. Safe for concurrent use.
type ledger struct {
	mu       sync.Mutex
	accepted []entry                // in the order of acceptance
	received map[string][]reception // by provider, in the order of arrival
}

// entry is something that a hub said it accepted.
type entry struct {
	name string
	kind mls.ContentType // 0 for a Welcome
	hash [32]byte        // of the MLSMessage
	// to are the providers that must receive it.
	to []string
}

type reception struct {
	item string // the inbox item's ID
	hash [32]byte
}

func newLedger() *ledger { return &ledger{received: make(map[string][]reception)} }

// accept records what was accepted, once: a retry is the same thing.
func (l *ledger) accept(name string, kind mls.ContentType, message []byte, to ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	hash := sha256.Sum256(message)
	if !slices.ContainsFunc(l.accepted, func(e entry) bool { return e.hash == hash }) {
		l.accepted = append(l.accepted, entry{name: name, kind: kind, hash: hash, to: to})
	}
}

// enter records an inbox item in raw form. One without a body is what the provider is told of its own users; nothing that anybody sent.
func (l *ledger) enter(provider string, item inboxItem) error {
	if len(item.Body) == 0 {
		return nil
	}
	return l.receive(provider, item.ID, item.Body)
}

// receive records an inbox item of a provider. The same item read again, because its acknowledgement was not yet in, counts once.
func (l *ledger) receive(provider, item string, body []byte) error {
	messages, err := mimi.ParseFanout(body)
	if err != nil {
		return fmt.Errorf("inbox item %s of %s: %w", item, provider, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.received[provider], func(r reception) bool { return r.item == item }) {
		return nil
	}
	for _, m := range messages {
		for _, message := range m.Event.MLSMessages() {
			l.received[provider] = append(l.received[provider], reception{item: item, hash: sha256.Sum256(message.Marshal())})
		}
	}
	return nil
}

// missing lists what a provider has yet to receive.
func (l *ledger) missing(provider string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for _, e := range l.accepted {
		if slices.Contains(e.to, provider) && l.count(provider, e.hash) == 0 {
			names = append(names, e.name)
		}
	}
	return names
}

func (l *ledger) count(provider string, hash [32]byte) int {
	n := 0
	for _, r := range l.received[provider] {
		if r.hash == hash {
			n++
		}
	}
	return n
}

// tally counts for the closing table.
type tally struct{ accepted, messages, delivered, twice int }

func (l *ledger) tally(provider string) tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	var t tally
	for _, e := range l.accepted {
		if !slices.Contains(e.to, provider) {
			continue
		}
		t.accepted++
		if e.kind == mls.ContentApplication {
			t.messages++
		}
		if n := l.count(provider, e.hash); n > 0 {
			t.delivered++
			t.twice += n - 1
		}
	}
	return t
}

// check returns everything that is wrong with what a provider received: lost, twice, never accepted, or handshakes out of order.
func (l *ledger) check(provider string) error {
	var wrong []error
	for _, name := range l.missing(provider) {
		wrong = append(wrong, fmt.Errorf("%s never received %s", provider, name))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	place := make(map[[32]byte]int) // of each handshake among those accepted
	known := make(map[[32]byte]string)
	for i, e := range l.accepted {
		known[e.hash] = e.name
		if e.kind == mls.ContentProposal || e.kind == mls.ContentCommit {
			place[e.hash] = i
		}
	}
	last, lastName := -1, ""
	seen := make(map[[32]byte]bool)
	for _, r := range l.received[provider] {
		name, ok := known[r.hash]
		switch {
		case !ok:
			wrong = append(wrong, fmt.Errorf("%s received something that no one was told was accepted (item %s)", provider, r.item))
		case seen[r.hash]:
			wrong = append(wrong, fmt.Errorf("%s received %s twice", provider, name))
		}
		seen[r.hash] = true
		if i, handshake := place[r.hash]; handshake {
			if i < last {
				wrong = append(wrong, fmt.Errorf("%s received %s after %s", provider, name, lastName))
			}
			last, lastName = i, name
		}
	}
	return errors.Join(wrong...)
}
