package clustertest

import (
	"slices"

	"github.com/anishathalye/porcupine"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// wish is a request for a room's lease. A holder always asks for the same duration, so that the end of a lease tells its beginning.
type wish struct {
	holder   string
	duration uint64
}

// lent notes a request for a lease with its answer. One that no answer came to says nothing.
func (h *history) lent(client int, room mimi.RoomURI, w wish, called int64, outcome fsm.Outcome) {
	if outcome == nil {
		return
	}
	returned := h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lendings[room] = append(h.lendings[room], porcupine.Operation{
		ClientId: client, Input: w, Call: called, Output: outcome, Return: returned,
	})
}

// tenure is the state of the model: the newest lease, and the latest moment of hub time that an answer has told.
type tenure struct {
	token  uint64
	holder string
	epoch  mls.Epoch
	until  uint64
	now    uint64
}

// lending is what a room's lease must look like from outside: one holder at a time, by hub time, unless a Commit has begun another
// epoch; a token that rises; the same lease for its holder's retry; and a time that never goes back.
var lending = porcupine.Model{
	Init:  func() any { return tenure{} },
	Equal: func(a, b any) bool { return a == b },
	Step: func(state, input, output any) (bool, any) {
		s, w := state.(tenure), input.(wish)
		switch o := output.(type) {
		case fsm.LeaseGranted:
			if o.Token == s.token {
				return s.holder == w.holder && s.until == o.UntilMillis && s.epoch == o.Epoch, s
			}
			begins := o.UntilMillis - w.duration
			free := o.Epoch > s.epoch || o.Epoch == s.epoch && begins >= s.until
			return o.Token > s.token && begins >= s.now && free, tenure{o.Token, w.holder, o.Epoch, o.UntilMillis, begins}
		case fsm.LeaseHeld:
			ok := o.NowMillis >= s.now && o.NowMillis <= o.UntilMillis
			s.now = o.NowMillis
			return ok, s
		default:
			return false, s
		}
	},
}

// misfits are those of several histories that fit no order of their model. Each has a few dozen operations for a while of time, so this takes no time.
func misfits[K comparable](model porcupine.Model, histories map[K][]porcupine.Operation, compare func(a, b K) int) (wrong []K) {
	for name, operations := range histories {
		if !porcupine.CheckOperations(model, operations) {
			wrong = append(wrong, name)
		}
	}
	slices.SortFunc(wrong, compare)
	return wrong
}
