package dev

import (
	"context"
	"fmt"

	"parley/mimi"
)

// inquiry is what one gate is asked of one room: what became of submissions that were rejected.
type inquiry struct {
	gate  bulkGate
	forum *forum
}

// inquiries lists the receipts of the letters that were rejected, by whom to ask.
func (b *book) inquiries() map[inquiry][]mimi.Receipt {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make(map[inquiry][]mimi.Receipt)
	for hash, l := range b.letters {
		if gate, yes := l.gate.(bulkGate); yes && l.fate == fateRejected {
			q := inquiry{gate, l.forum}
			all[q] = append(all[q], hash)
		}
	}
	return all
}

// confirm holds what became of a letter to what its receipt is answered with.
func (b *book) confirm(hash [32]byte, r receipt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.letters[hash]
	if r.state == receiptRejected && r.verdict == l.code {
		b.byReceipt++
		return
	}
	b.broke(promiseTold, "%s: it was rejected as %s, and its receipt is answered with state %d, verdict %s", b.name(hash, l), l.code, r.state, r.verdict)
}

// inquire asks for every rejection by its receipt, where it was submitted.
func (x *exchange) inquire(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	for q, receipts := range x.book.inquiries() {
		var told []receipt
		err := until(ctx, "ask by receipt", func(ctx context.Context) (err error) {
			told, err = q.gate.known(ctx, q.forum.room, receipts)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", q.forum.room, err)
		}
		for i, r := range told {
			x.book.confirm(receipts[i], r)
		}
	}
	return nil
}
