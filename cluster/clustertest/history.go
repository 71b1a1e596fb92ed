package clustertest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// history is what the clients asked for and were told.
type history struct {
	clock atomic.Int64 // orders calls and answers; virtual time stands still between two of them

	mu          sync.Mutex
	commits     map[mimi.RoomURI][]porcupine.Operation
	inventories map[mimi.UserURI][]porcupine.Operation
	lendings    map[mimi.RoomURI][]porcupine.Operation

	accepted map[mimi.RoomURI]map[[32]byte]bool // messages and Commits that a client was told are accepted
	denied   map[[32]byte]string                // Commits of which it was said that nothing was written, for good
	claims   map[string][32]byte                // KeyPackageRef → the claim that it was given to
	leases   map[mimi.RoomURI]map[uint64]granted
	told     map[string]int // kinds of answers, for the report
	slowest  time.Duration  // decision
}

// granted is a lease as its requester was told of it.
type granted struct {
	to          string
	epoch       mls.Epoch
	from, until uint64 // hub time
}

func newHistory() *history {
	return &history{
		commits: make(map[mimi.RoomURI][]porcupine.Operation), inventories: make(map[mimi.UserURI][]porcupine.Operation),
		lendings: make(map[mimi.RoomURI][]porcupine.Operation), accepted: make(map[mimi.RoomURI]map[[32]byte]bool),
		denied: make(map[[32]byte]string), claims: make(map[string][32]byte),
		leases: make(map[mimi.RoomURI]map[uint64]granted), told: make(map[string]int),
	}
}

// attempt is a Commit that a client wants in an epoch. A retry is the same attempt.
type attempt struct {
	epoch mls.Epoch
	hash  [32]byte
}

// commit notes an attempt with its answer; nil: none ever came.
func (h *history) commit(client int, room mimi.RoomURI, a attempt, called int64, outcome fsm.Outcome) {
	returned := h.clock.Add(1)
	if outcome == nil {
		returned = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commits[room] = append(h.commits[room], porcupine.Operation{
		ClientId: client, Input: a, Call: called, Output: outcome, Return: returned,
	})
	if _, yes := outcome.(fsm.Accepted); yes {
		h.note(room, a.hash)
	}
}

// deny notes that a Commit was said not to have been proposed, and will not be tried again.
func (h *history) deny(hash [32]byte, node string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.denied[hash] = node
}

// accept notes an accepted message.
func (h *history) accept(room mimi.RoomURI, hash [32]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.note(room, hash)
}

func (h *history) note(room mimi.RoomURI, hash [32]byte) {
	if h.accepted[room] == nil {
		h.accepted[room] = make(map[[32]byte]bool)
	}
	h.accepted[room][hash] = true
}

func (h *history) answer(kind string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.told[kind]++
}

// took notes how long a decision has taken.
func (h *history) took(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slowest = max(h.slowest, d)
}

// claimed notes a KeyPackage that a claim was given, and returns false if another claim had it before.
func (h *history) claimed(ref mls.KeyPackageRef, claim [32]byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.claims[string(ref)]
	h.claims[string(ref)] = claim
	return !known || before == claim
}

// lease notes a lease and returns another one that it overlaps, if there is one: of the same epoch, for somebody else, at a
// common moment of hub time; or of the same token for somebody else.
func (h *history) lease(room mimi.RoomURI, token uint64, g granted) (other granted, overlaps bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.leases[room] == nil {
		h.leases[room] = make(map[uint64]granted)
	}
	for t, o := range h.leases[room] {
		if o.to != g.to && (t == token || o.epoch == g.epoch && o.from < g.until && g.from < o.until) {
			return o, true
		}
	}
	h.leases[room][token] = g
	return granted{}, false
}

// epochs is the state of the model: the attempt that has won each epoch. It is never changed in place.
type epochs []attempt

func (e epochs) current() mls.Epoch { return mls.Epoch(len(e)) }

// register is what a room's epochs must look like from outside: one register, which a Commit moves from its epoch to the next.
var register = porcupine.Model{
	Init:  func() any { return epochs(nil) },
	Equal: func(a, b any) bool { return slices.Equal(a.(epochs), b.(epochs)) },
	Step: func(state, input, output any) (bool, any) {
		e, a := state.(epochs), input.(attempt)
		wins := a.epoch == e.current()
		taken := func() epochs { return append(slices.Clip(e), a) }
		won := a.epoch < e.current() && e[a.epoch].hash == a.hash
		switch o := output.(type) {
		case nil: // it may have been accepted
			if wins {
				return true, taken()
			}
			return true, e
		case fsm.Accepted:
			if wins {
				return o.Epoch == a.epoch+1, taken()
			}
			return won && o.Epoch == a.epoch+1, e
		case fsm.WrongEpoch:
			told := o.Winner == [32]byte{} || a.epoch < e.current() && e[a.epoch].hash == o.Winner
			return !wins && !won && o.Current == e.current() && told, e
		default:
			return false, e
		}
	},
}

// linearizable checks all histories, and says of each that fits no order what that breaks.
func (h *history) linearizable() (wrong []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	rooms := func(a, b mimi.RoomURI) int { return strings.Compare(a.String(), b.String()) }
	for _, room := range misfits(register, h.commits, rooms) {
		wrong = append(wrong, fmt.Sprintf("%s: its Commits and their answers fit no order in which one Commit takes each epoch", room))
	}
	users := func(a, b mimi.UserURI) int { return strings.Compare(a.String(), b.String()) }
	for _, user := range misfits(inventory, h.inventories, users) {
		wrong = append(wrong, fmt.Sprintf("%s: uploads, claims and their answers fit no order in which each claim takes the first KeyPackage", user))
	}
	for _, room := range misfits(lending, h.lendings, rooms) {
		wrong = append(wrong, fmt.Sprintf("%s: its leases fit no order in which one holder has it at a time", room))
	}
	return wrong
}
