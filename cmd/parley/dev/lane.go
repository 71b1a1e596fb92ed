package dev

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"slices"
	"time"

	"parley/mimi"
	"parley/mls"
)

// lane submits the letters of one side's speakers in some rooms, a batch at a time. A speaker has one lane, which goes on to its next
// letters only when those before are decided, or kept by the provider: so there is an order to hold the deliveries to.
type lane struct {
	*exchange
	origin *side
	forums []*forum
	gate   gate
	to     destinations // who has to receive the letters, as far as the account is concerned

	keeper *node // that holds what is in held
	held   []submission

	turn   uint32 // of the next submission
	room   int    // where the next batch begins
	made   int
	random *randv2.ChaCha8
}

func newLane(x *exchange, origin *side, forums []*forum, g gate, to destinations) *lane {
	var seed [32]byte
	rand.Read(seed[:])
	return &lane{exchange: x, origin: origin, forums: forums, gate: g, to: to, random: randv2.NewChaCha8(seed)}
}

const (
	batchLetters  = 100 // in a request
	lettersAtOnce = 10  // of one speaker in a batch
	// wrongEvery: one letter in so many is wrong, in one way or another, and has to be rejected.
	wrongEvery = 97
)

func (l *lane) run(ctx context.Context) error {
	for l.pace(ctx, batchLetters) {
		if err := l.bring(ctx, l.batch()); err != nil {
			return err
		}
	}
	return l.redeem(ctx)
}

// redeem waits until nothing is held any more, and submits again what the node that held it has lost.
func (l *lane) redeem(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	return until(ctx, "have what is held decided", func(ctx context.Context) error {
		if orphans := l.orphans(); len(orphans) > 0 {
			return l.bring(ctx, l.anew(orphans))
		}
		if len(l.held) > 0 {
			return fmt.Errorf("%s holds %d letters", l.keeper.process.name, len(l.held))
		}
		return nil
	})
}

// batch makes the next letters.
func (l *lane) batch() (batch []submission) {
	for len(batch) < batchLetters {
		f := l.forums[l.room%len(l.forums)]
		l.room++
		for range lettersAtOnce {
			batch = append(batch, l.write(f))
		}
	}
	return batch
}

// write makes a letter and enters it in the book.
func (l *lane) write(f *forum) submission {
	about := letter{kind: kindLetter, forum: f, to: l.to, origin: l.origin.place, gate: l.gate, epoch: mls.Epoch(f.epoch.Load())}
	m := &mls.PrivateMessage{GroupID: f.groupID, Epoch: about.epoch, ContentType: mls.ContentApplication,
		EncryptedSenderData: l.octets(28), Ciphertext: l.octets(l.size.Bytes)}
	sender := f.speakers[l.origin.place]
	if l.made++; !l.size.allRight && l.made%wrongEvery == 0 {
		about.want = l.spoil(f, m, &sender)
		about.epoch = m.Epoch
	}
	raw := mls.MLSMessage{Body: m}.Marshal()
	about.first, about.last, about.bytes = l.turn, l.turn, len(raw)
	l.turn++
	s := submission{forum: f, hash: sha256.Sum256(raw), kind: mimi.SubmissionMessage, body: mimi.SubmitMessageRequest{Message: m, Sender: sender}.Marshal()}
	l.book.enter(s.hash, about)
	return s
}

// spoil makes a letter wrong, and says as what it has to be rejected.
func (l *lane) spoil(f *forum, m *mls.PrivateMessage, sender *mimi.UserURI) mimi.VerdictCode {
	ways := 3
	if f.removed.Provider() == sender.Provider() {
		ways = 4
	}
	switch l.made / wrongEvery % ways {
	case 0:
		m.Epoch = f.began - 3
		return mimi.VerdictEpochTooOld
	case 1:
		m.Epoch += 1000
		return mimi.VerdictFutureEpoch
	case 2:
		m.GroupID += " or another"
		return mimi.VerdictWrongGroup
	default:
		*sender = f.removed
		return mimi.VerdictNotParticipant
	}
}

func (l *lane) octets(n int) []byte {
	b := make([]byte, n)
	l.random.Read(b) // a ChaCha8's Read always fills b
	return b
}

// bring submits a batch until every letter is decided or kept.
func (l *lane) bring(ctx context.Context, batch []submission) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if orphans := l.orphans(); len(orphans) > 0 {
			batch = l.anew(append(orphans, batch...))
		}
		told, err := l.way().submit(ctx, batch)
		switch {
		case errors.Is(err, errHopeless):
			return err
		case err == nil:
			batch = l.note(batch, told)
		}
		if len(batch) == 0 {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("submit %d letters of %s: %w (last: %v)", len(batch), l.origin.provider.domain, ctx.Err(), err)
		}
		l.anew(batch)
	}
}

// anew gives letters their next turn.
func (l *lane) anew(batch []submission) []submission {
	for _, s := range batch {
		l.book.again(s.hash, l.turn)
		l.turn++
	}
	return batch
}

// way is where the next letters go in: at the node that holds letters before them, until the verdicts on those are told. Another node knows
// nothing of them, and what it takes may go past them.
func (l *lane) way() gate {
	if len(l.held) > 0 {
		return l.gate.keptAt(l.keeper)
	}
	return l.gate
}

// orphans are letters that were held by a node which is gone for good, perhaps with its disk: they are to be submitted again, before what
// comes behind them.
func (l *lane) orphans() (again []submission) {
	l.held = slices.DeleteFunc(l.held, func(s submission) bool { return l.book.fateOf(s.hash) != fateOpen })
	if len(l.held) > 0 && !l.origin.backend.knows(l.keeper) && !l.forums[0].hub.backend.knows(l.keeper) {
		again, l.held = l.held, nil
	}
	return again
}

// note enters the receipts in the book, and returns what has to be submitted again, in its order.
func (l *lane) note(batch []submission, told []receipt) (again []submission) {
	for i, s := range batch {
		switch told[i].state {
		case receiptAccepted:
			l.book.accepted(s.hash)
		case receiptRejected:
			l.book.rejects(s.hash, told[i].verdict, told[i].current)
		case receiptHeld:
			l.keeper, l.held = told[i].at, append(l.held, s)
			l.book.keeps(s.hash, receiptHeld)
		case receiptQueued:
			l.book.keeps(s.hash, receiptQueued)
		default:
			again = append(again, s)
		}
	}
	return again
}
