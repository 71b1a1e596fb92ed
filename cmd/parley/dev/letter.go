package dev

import (
	"parley/mimi"
	"parley/mls"
)

// letterKind says what a letter is.
type letterKind uint8

const (
	kindLetter letterKind = iota // an application message
	kindForumProposal
	kindForumCommit
	kindForumWelcome
)

func (k letterKind) String() string {
	return [...]string{"message", "Proposal", "Commit", "Welcome"}[k]
}

// fate is what has become of a letter, as far as its submitter knows.
type fate uint8

const (
	fateOpen fate = iota // not decided, or nobody knows
	fateAccepted
	fateRejected
)

// letter is one thing that was submitted in a forum. Its bytes are not kept.
type letter struct {
	kind   letterKind
	forum  *forum
	origin int          // the side that submits it
	to     destinations // who has to receive it, once it is accepted
	epoch  mls.Epoch
	bytes  int

	// first and last are the turns, among the submissions of its sender, in which it was submitted; it was taken in one of them. Of a
	// handshake both are its place among those of the room.
	first, last uint32

	want    mimi.VerdictCode // what has to become of it; 0 means accepted
	fate    fate
	code    mimi.VerdictCode // of a rejection
	kept    receiptState     // held or queued, if it was, so that a verdict is owed
	gate    gate             // that it went through; nil for what is not submitted in bulk
	fates   int              // of a Proposal: how often its provider was told that it was committed
	told    int              // verdicts on its submitter's stream
	toldAs  mimi.VerdictCode
	arrived [2]int // times, by side
}

// destinations says by side who has to receive a letter.
type destinations [2]bool

var everybody = destinations{true, true}

func only(s *side) (to destinations) {
	to[s.place] = true
	return to
}

// overtaken reports whether a room has left the window of a letter's epoch, so that nobody is to blame for its rejection.
func (l *letter) overtaken(code mimi.VerdictCode, current mls.Epoch) bool {
	const window = 2 // the hub's default
	return l.want == 0 && code == mimi.VerdictEpochTooOld && current > l.epoch+window
}
