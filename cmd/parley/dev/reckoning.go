package dev

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// outstanding counts the letters that are not decided, have not arrived everywhere, or whose verdict is still to be told.
func (b *book) outstanding() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.letters {
		if l.missing() || b.untold(l) {
			n++
		}
	}
	return n
}

// missing: it is not decided, or was accepted and lacks somewhere.
func (l *letter) missing() bool {
	if l.fate != fateAccepted {
		return l.fate == fateOpen
	}
	return slices.ContainsFunc([]int{0, 1}, func(s int) bool { return l.to[s] && l.arrived[s] == 0 })
}

// untold: its submitter's stream owes its verdict, or the fate of a Proposal whose epoch is over. A rejection is told where the submission
// was one of many; a letter that waited is told of whatever becomes of it.
func (b *book) untold(l *letter) bool {
	if l.kind == kindForumProposal && b.tells && l.fate == fateAccepted && l.fates == 0 && l.epoch < mls.Epoch(l.forum.epoch.Load()) {
		return true
	}
	return l.told == 0 && (l.kept.waits() || b.tells && l.fate == fateRejected)
}

// judge reckons up. It can be done once, when nothing more comes.
func (b *book) judge() (findings []finding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := map[letterKind]int{}
	var told, fates int
	ends := map[receiptState]map[fate]int{receiptHeld: {}, receiptQueued: {}}
	for _, hash := range slices.SortedFunc(maps.Keys(b.letters), func(a, c [32]byte) int { return cmp.Compare(string(a[:]), string(c[:])) }) {
		l := b.letters[hash]
		counts[l.kind]++
		if l.told > 0 {
			told++
		}
		if l.kept.waits() {
			ends[l.kept][l.fate]++
		}
		if l.fates > 0 {
			fates++
		}
		b.judgeLetter(hash, l)
	}
	checked := [bulkPromises]string{
		promiseDelivered: fmt.Sprintf("%d messages, %d Commits, %d Proposals, %d Welcomes, at two providers",
			counts[kindLetter], counts[kindForumCommit], counts[kindForumProposal], counts[kindForumWelcome]),
		promiseOrder:   fmt.Sprintf("%d rooms at two providers", len(b.order[0])),
		promiseVerdict: fmt.Sprintf("%s; %d more came too late for their epoch", b.rejections(), b.overtook),
		promiseTold:    fmt.Sprintf("%d verdicts on the streams; %d read by receipt; %d Proposals' fates", told, b.byReceipt, fates),
		promiseKept: fmt.Sprintf("held: %d accepted, %d rejected; queued: %d accepted, %d rejected",
			ends[receiptHeld][fateAccepted], ends[receiptHeld][fateRejected], ends[receiptQueued][fateAccepted], ends[receiptQueued][fateRejected]),
		promiseExplained: fmt.Sprintf("%d items of two inboxes", len(b.items[0])+len(b.items[1])),
	}
	for p := range bulkPromises {
		findings = append(findings, finding{p.String(), checked[p], b.broken[p]})
	}
	return findings
}

func (b *book) judgeLetter(hash [32]byte, l *letter) {
	switch l.fate {
	case fateOpen:
		b.broke(promiseExplained, "%s: nobody knows what became of it", b.name(hash, l))
	case fateAccepted:
		for s, must := range l.to {
			if must && l.arrived[s] == 0 {
				b.broke(promiseDelivered, "%s: it was accepted, and did not arrive at %s", b.name(hash, l), l.forum.side(s).provider.domain)
			}
		}
	case fateRejected:
		if l.arrived[0]+l.arrived[1] > 0 {
			b.broke(promiseDelivered, "%s: it was rejected as %s, and arrived", b.name(hash, l), l.code)
		}
	}
	if l.fate != fateOpen && b.untold(l) {
		p := promiseTold
		if l.kept.waits() && l.told == 0 {
			p = promiseKept
		}
		b.broke(p, "%s: its verdict never came on its submitter's stream", b.name(hash, l))
	}
}

// rejections lists how many letters were rejected as what.
func (b *book) rejections() string {
	text := ""
	for _, code := range slices.Sorted(maps.Keys(b.rejected)) {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%d %s", b.rejected[code], mimi.VerdictCode(code))
	}
	return cmp.Or(text, "nothing rejected")
}
