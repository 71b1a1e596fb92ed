package dev

import (
	"fmt"
	"slices"
)

// judgeAnswers holds the answers, and what was delivered, to one another alone. It is for a contest during which shards came, went and moved:
// no node has their logs from the first entry on.
func judgeAnswers(a *answers, arenas []*arena, inbox *delivered) *verdict {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := &verdict{}
	for p, evidence := range a.broken {
		v.broken[p] = slices.Clone(evidence)
	}
	winners := v.winnersTold(a.commits)
	v.judgeEpochs(a.commits, winners, arenas)
	v.judgeDeliveries(inbox, winners, arenas)
	v.judgeClaims(a.claims, nil)
	v.judgeLent(a.lent, arenas)
	v.checked[promiseLease] = fmt.Sprintf("%d answers that lent, %d that another had it", len(a.lent), a.refused)
	v.checked[promiseRetry] = fmt.Sprintf("%d retries through other nodes", a.again)
	return v
}

// winnersTold are the Commits that somebody was told have won, each epoch's by the first who was told. Who was told of another one is found
// where the answers are held to them.
func (v *verdict) winnersTold(told []commitAnswer) map[roomEpoch]taken {
	winners := make(map[roomEpoch]taken)
	for _, c := range told {
		at := roomEpoch{c.room, c.epoch}
		before, there := winners[at]
		switch {
		case !there:
			winners[at] = taken{c.winner, c.millis}
		case c.accepted && before.hash == c.winner && before.millis == 0: // a loser is not told when
			winners[at] = taken{c.winner, c.millis}
		}
	}
	return winners
}
