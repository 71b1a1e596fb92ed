package dev

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// promise is one that the contest puts to the test.
type promise int

const (
	promiseEpoch promise = iota
	promiseKeyPackage
	promiseLease
	promiseRetry
	promiseDelivery
	promiseLog
	promises // how many there are
)

func (p promise) String() string {
	return [promises]string{
		"one Commit an epoch, and no gap",
		"no KeyPackage in two answers",
		"no two leases at a time",
		"every retry answered alike",
		"every Commit and Welcome delivered once, in order",
		"every replica has the same log and its state",
	}[p]
}

// verdict is what the account comes to: for each promise what was looked at, and the evidence against it.
type verdict struct {
	checked [promises]string
	broken  [promises][]string
	epochs  string // what they were taken for
}

func (v *verdict) broke(p promise, format string, arguments ...any) {
	v.broken[p] = append(v.broken[p], fmt.Sprintf(format, arguments...))
}

// judgeContest holds the answers, and what was delivered, to one another and to the logs. arenas know what was made of each epoch.
func judgeContest(a *answers, log *chronicle, arenas []*arena, inbox *delivered) *verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &verdict{}
	for p, evidence := range a.broken {
		v.broken[p] = slices.Clone(evidence)
	}
	winners := v.winners(log.decisions)
	v.judgeEpochs(a.commits, winners, arenas)
	v.judgeDeliveries(inbox, winners, arenas)
	v.judgeClaims(a.claims, v.claimsOf(log.decisions))
	v.judgeLeases(a.lent, log.decisions)
	v.judgeLent(a.lent, arenas)
	v.checked[promiseRetry] = fmt.Sprintf("%d retries through other nodes", a.again)
	v.checked[promiseLog] = fmt.Sprintf("%d logs, %d entries", log.replicas, log.entries)
	v.broken[promiseLog] = append(v.broken[promiseLog], log.broken...)
	return v
}

// roomEpoch is an epoch of a room.
type roomEpoch struct {
	room  mimi.RoomURI
	epoch mls.Epoch
}

// taken is the Commit that the log gave an epoch to.
type taken struct {
	hash   [32]byte
	millis uint64
}

// judgeEpochs: the log gives each epoch to one Commit and leaves none out, and nobody was told otherwise.
func (v *verdict) judgeEpochs(told []commitAnswer, winners map[roomEpoch]taken, arenas []*arena) {
	next := make(map[mimi.RoomURI]mls.Epoch)
	for at := range winners {
		next[at.room] = max(next[at.room], at.epoch+1)
	}
	for room, n := range next {
		for epoch := range n {
			if _, there := winners[roomEpoch{room, epoch}]; !there {
				v.broke(promiseEpoch, "%s is in epoch %d, and no Commit of epoch %d is in the log", room, n, epoch)
			}
		}
	}
	for _, c := range told {
		at := roomEpoch{c.room, c.epoch}
		won, there := winners[at]
		switch {
		case !there:
			v.broke(promiseEpoch, "%s: %s said that %x took epoch %d, which nothing in the log took", c.room, c.node.ID, c.winner[:4], c.epoch)
		case won.hash != c.winner:
			v.broke(promiseEpoch, "%s: %s said that %x took epoch %d, and in the log it is %x", c.room, c.node.ID, c.winner[:4], c.epoch, won.hash[:4])
		case c.accepted && won.millis != c.millis:
			v.broke(promiseEpoch, "%s: %s said that epoch %d was taken at %d, and in the log it is %d", c.room, c.node.ID, c.epoch, c.millis, won.millis)
		}
	}
	v.checked[promiseEpoch] = fmt.Sprintf("%d epochs of %d rooms, %d answers", len(winners), len(arenas), len(told))
	v.epochs = epochsByMove(arenas)
}

// epochsByMove says for what the epochs were taken.
func epochsByMove(arenas []*arena) string {
	var all []string
	for m := range moves {
		count := 0
		for _, a := range arenas {
			count += a.done(m)
		}
		all = append(all, fmt.Sprintf("%s (%d)", m, count))
	}
	proposals := 0
	for _, a := range arenas {
		proposals += a.referenced()
	}
	return fmt.Sprintf("%s, and with %d Proposals of others", strings.Join(all, ", "), proposals)
}

// winners are the accepted Commits of the log. One that comes again is the same; another one for the same epoch breaks the promise.
func (v *verdict) winners(log []decision) map[roomEpoch]taken {
	winners := make(map[roomEpoch]taken)
	for _, d := range log {
		commit, is := d.command.(fsm.AcceptCommit)
		accepted, yes := d.outcome.(fsm.Accepted)
		if !is || !yes {
			continue
		}
		at := roomEpoch{commit.Room, commit.Reads.Epoch}
		before, there := winners[at]
		switch {
		case !there:
			winners[at] = taken{commit.CommitHash, accepted.Millis}
		case before.hash != commit.CommitHash:
			v.broke(promiseEpoch, "%s: the log gives epoch %d to %x and, at %d of shard %d, to %x",
				at.room, at.epoch, before.hash[:4], d.index, d.shard, commit.CommitHash[:4])
		}
		if accepted.Epoch != at.epoch+1 {
			v.broke(promiseEpoch, "%s: a Commit of epoch %d brought it into epoch %d", at.room, at.epoch, accepted.Epoch)
		}
	}
	return winners
}

// claimsOf says to which claim the log gives each KeyPackage, by its hash: to one.
func (v *verdict) claimsOf(log []decision) map[[32]byte][32]byte {
	inLog := make(map[[32]byte][32]byte)
	for _, d := range log {
		claim, is := d.command.(fsm.ClaimKeyPackages)
		claimed, yes := d.outcome.(fsm.Claimed)
		if !is || !yes {
			continue
		}
		for _, one := range claimed.Clients {
			if one.Code != mimi.KeyMaterialClientSuccess {
				continue
			}
			hash := sha256.Sum256(one.KeyPackage)
			if before, there := inLog[hash]; there && before != claim.ReplayKey {
				v.broke(promiseKeyPackage, "the log gives KeyPackage %x to two claims, at last at %d of shard %d", one.Ref, d.index, d.shard)
			}
			inLog[hash] = claim.ReplayKey
		}
	}
	return inLog
}

// judgeClaims: no two claims were told of the same KeyPackage, and all that was told is in the log; nil where there is none to look at.
func (v *verdict) judgeClaims(told []claimAnswer, inLog map[[32]byte][32]byte) {
	holder := make(map[[32]byte]claimAnswer)
	claims := make(map[string]claimAnswer)
	for _, c := range told {
		if before, there := claims[c.key]; there && len(before.packages) > 0 && !slices.Equal(before.packages, c.packages) {
			v.broke(promiseKeyPackage, "the claim %q got %d KeyPackages from %s and other ones, %d, from %s",
				c.key, len(before.packages), before.node.ID, len(c.packages), c.node.ID)
		}
		claims[c.key] = c
		for _, hash := range c.packages {
			if before, there := holder[hash]; there && before.key != c.key {
				v.broke(promiseKeyPackage, "KeyPackage %x is in an answer of %s to the claim %q and in one of %s to %q",
					hash[:4], before.node.ID, before.key, c.node.ID, c.key)
			}
			holder[hash] = c
			if _, there := inLog[hash]; !there && inLog != nil {
				v.broke(promiseKeyPackage, "%s gave KeyPackage %x to the claim %q, and no claim in the log has it", c.node.ID, hash[:4], c.key)
			}
		}
	}
	v.checked[promiseKeyPackage] = fmt.Sprintf("%d KeyPackages in answers to %d claims", len(holder), len(claims))
	if inLog != nil {
		v.checked[promiseKeyPackage] += fmt.Sprintf(", %d in the log", len(inLog))
	}
}

// lease is one of the log.
type lease struct {
	fsm.LeaseGranted
	holder string
	void   bool // a Commit has ended it
}

// judgeLeases: in the order of the log and by its time, a lease begins only when the one before it is over.
func (v *verdict) judgeLeases(told []leaseAnswer, log []decision) {
	now := make(map[mimi.RoomURI]*lease)
	had := make(map[roomEpoch]map[string]bool)
	count := 0
	for _, d := range log {
		switch c := d.command.(type) {
		case fsm.AcceptCommit:
			if _, yes := d.outcome.(fsm.Accepted); yes && now[c.Room] != nil && c.Reads.Epoch >= now[c.Room].Epoch {
				now[c.Room].void = true
			}
		case fsm.TakeLease:
			granted, yes := d.outcome.(fsm.LeaseGranted)
			if !yes {
				continue
			}
			v.judgeGrant(d, c, granted, now[c.Room])
			if now[c.Room] == nil || now[c.Room].Token != granted.Token {
				now[c.Room] = &lease{LeaseGranted: granted, holder: holderOf(c)}
				count++
			}
			at := roomEpoch{c.Room, granted.Epoch}
			if had[at] == nil {
				had[at] = make(map[string]bool)
			}
			had[at][c.Requester.String()] = true
		}
	}
	for _, l := range told {
		if !had[roomEpoch{l.room, l.epoch}][l.holder] {
			v.broke(promiseLease, "%s: %s lent the GroupInfo of epoch %d to %s, to whom the log gives no lease of it", l.room, l.node.ID, l.epoch, l.holder)
		}
	}
	v.checked[promiseLease] = fmt.Sprintf("%d leases in the log, %d answers", count, len(told))
}

func holderOf(c fsm.TakeLease) string { return c.Requester.String() + " " + c.Client }

// judgeGrant compares a grant with the lease before it.
func (v *verdict) judgeGrant(d decision, c fsm.TakeLease, granted fsm.LeaseGranted, before *lease) {
	switch {
	case before == nil:
	case granted.Token == before.Token && (before.holder != holderOf(c) || granted != before.LeaseGranted):
		v.broke(promiseLease, "%s, at %d of shard %d: the lease %+v of %s is given again as %+v to %s",
			c.Room, d.index, d.shard, before.LeaseGranted, before.holder, granted, holderOf(c))
	case granted.Token < before.Token:
		v.broke(promiseLease, "%s, at %d of shard %d: token %d after %d", c.Room, d.index, d.shard, granted.Token, before.Token)
	case granted.Token > before.Token && !before.void && d.millis < before.UntilMillis:
		v.broke(promiseLease, "%s, at %d of shard %d: %s gets lease %d at %d, while %s has lease %d until %d",
			c.Room, d.index, d.shard, holderOf(c), granted.Token, d.millis, before.holder, before.Token, before.UntilMillis)
	}
}

const (
	leaseLeast = 10 * time.Second // what a lease lasts by default, where no Commit ends it
	leaseSlack = time.Second      // by which the hub's time may run beside this machine's
)

// judgeLent looks at the answers alone: what was lent is what the epoch's committer made; and who was lent it after another had been,
// in the same epoch, was not before the other's lease could have run out.
func (v *verdict) judgeLent(told []leaseAnswer, arenas []*arena) {
	rooms := make(map[mimi.RoomURI]*arena)
	for _, a := range arenas {
		rooms[a.room] = a
	}
	by := make(map[roomEpoch][]leaseAnswer)
	for _, l := range told {
		by[roomEpoch{l.room, l.epoch}] = append(by[roomEpoch{l.room, l.epoch}], l)
		if a := rooms[l.room]; a != nil {
			if made, known := a.lentOf(l.epoch); !known || made != l.lent {
				v.broke(promiseLease, "%s: %s lent %s something else than the committer made of epoch %d", l.room, l.node.ID, l.holder, l.epoch)
			}
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(by), compareRoomEpochs) {
		v.judgeTurns(by[at])
	}
}

func compareRoomEpochs(a, b roomEpoch) int {
	return cmp.Or(cmp.Compare(a.room.String(), b.room.String()), cmp.Compare(a.epoch, b.epoch))
}

// judgeTurns looks at what was lent of one epoch, which ends by time alone. Only an answer that was the first of its lease says when
// that began; and only a request that was sent after another's answer had come was certainly decided after it.
func (v *verdict) judgeTurns(told []leaseAnswer) {
	slices.SortFunc(told, func(a, b leaseAnswer) int { return a.received.Compare(b.received) })
	for i, first := range told {
		if slices.ContainsFunc(told[:i], func(l leaseAnswer) bool {
			return l.holder == first.holder && first.sent.Sub(l.received) < leaseLeast+leaseSlack
		}) {
			continue // of a lease that may have begun earlier
		}
		for _, later := range told[i+1:] {
			if later.holder != first.holder && later.sent.After(first.received) && later.received.Before(first.sent.Add(leaseLeast-leaseSlack)) {
				v.broke(promiseLease, "%s: %s lent epoch %d to %s, and %s later %s to %s", first.room, first.node.ID, first.epoch, first.holder,
					later.received.Sub(first.sent).Round(time.Millisecond), later.node.ID, later.holder)
			}
		}
	}
}

// findings are the lines of the account.
func (v *verdict) findings() (list []finding) {
	for p := range promises {
		list = append(list, finding{p.String(), v.checked[p], v.broken[p]})
	}
	return list
}

// print writes the table, and the evidence below it; the error says which promises were broken.
func (v *verdict) print(out io.Writer) error {
	if _, err := fmt.Fprintf(out, "\nThe epochs were taken to %s.\n", v.epochs); err != nil {
		return err
	}
	return printFindings(out, v.findings())
}
