package dev

import (
	"fmt"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// judgeDeliveries: of each room came every Commit of the log once, epoch by epoch; and every Welcome of one of them came once, for
// exactly the clients that the Commit added, and no other did.
func (v *verdict) judgeDeliveries(inbox *delivered, winners map[roomEpoch]taken, arenas []*arena) {
	inbox.mu.Lock()
	defer inbox.mu.Unlock()
	commits, welcomes := 0, 0
	for _, a := range arenas {
		commits += len(inbox.commits[a.room])
		welcomes += len(inbox.welcomes[a.room])
		v.judgeDeliveredCommits(a.room, inbox.commits[a.room], winners)
		v.judgeDeliveredWelcomes(a, inbox.welcomes[a.room], winners)
	}
	v.checked[promiseDelivery] = fmt.Sprintf("%d Commits, Welcomes in %d items", commits, welcomes)
}

func (v *verdict) judgeDeliveredCommits(room mimi.RoomURI, came []deliveredCommit, winners map[roomEpoch]taken) {
	for i, c := range came {
		if c.epoch != mls.Epoch(i) {
			v.broke(promiseDelivery, "%s: the Commit of epoch %d came where that of epoch %d was due", room, c.epoch, i)
			return
		}
		if won := winners[roomEpoch{room, c.epoch}]; won.hash != c.hash {
			v.broke(promiseDelivery, "%s: Commit %x of epoch %d was delivered, and in the log it is %x", room, c.hash[:4], c.epoch, won.hash[:4])
		}
	}
	if _, there := winners[roomEpoch{room, mls.Epoch(len(came))}]; there {
		v.broke(promiseDelivery, "%s: the Commit of epoch %d was not delivered", room, len(came))
	}
}

func (v *verdict) judgeDeliveredWelcomes(a *arena, came []deliveredWelcome, winners map[roomEpoch]taken) {
	a.mu.Lock()
	defer a.mu.Unlock()
	due := make(map[mls.KeyPackageRef]invitation)
	for at, won := range winners {
		if at.room != a.room {
			continue
		}
		for _, i := range a.welcomes[won.hash] {
			due[i.ref] = i
		}
	}
	for _, w := range came {
		for _, ref := range w.refs {
			want, known := due[ref]
			delete(due, ref)
			switch {
			case !known:
				v.broke(promiseDelivery, "%s: item %s has a Welcome for %x, whom no accepted Commit added, or it came before", a.room, w.item, ref)
			case !slices.Contains(w.to, want):
				v.broke(promiseDelivery, "%s: item %s has a Welcome for %s, and does not say so", a.room, w.item, want.client)
			}
		}
		for _, to := range w.to {
			if !slices.Contains(w.refs, to.ref) {
				v.broke(promiseDelivery, "%s: item %s sends a Welcome to %s, for whom it is not", a.room, w.item, to.client)
			}
		}
	}
	for _, missing := range due {
		v.broke(promiseDelivery, "%s: the Welcome for %s was not delivered", a.room, missing.client)
	}
}
