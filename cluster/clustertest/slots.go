package clustertest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"parley/cluster"
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mimi"
)

// moveSteps are the points of a move at which a node may be killed.
var moveSteps = []string{
	"move.map", "move.begin", "move.page", "move.freeze", "move.tail", "move.compare", "move.activate", "move.release", "move.end",
	"move.drop", "move.thaw",
}

const (
	shuffleWithin = 10 * time.Minute // for one job, whatever fails meanwhile
	shuffleLook   = 50 * time.Millisecond
	shuffleThink  = 500 * time.Millisecond // between two jobs, on average
)

// witness applies the shards' logs by itself, and sees to it that no two shards serve a slot at a time. The ledger's mutex guards it.
type witness struct {
	shards map[uint32]*fsmtest.Store
	turns  map[slotTurn]uint32 // which group had a slot in a generation
	moves  int                 // slots that were activated
	back   int                 // slots that were thawed
}

type slotTurn struct {
	slot       fsm.SlotID
	generation uint64
}

func newWitness() *witness {
	return &witness{shards: make(map[uint32]*fsmtest.Store), turns: make(map[slotTurn]uint32)}
}

// apply applies an entry, the first that is seen of its place, and says what is wrong with it.
func (s *witness) apply(l *ledger, group uint32, index uint64, entry []byte) (wrong []string) {
	store := s.shards[group]
	if store == nil {
		store = fsmtest.NewStore()
		s.shards[group] = store
	}
	decoded, err := fsm.DecodeEntry(entry)
	if err != nil {
		return []string{err.Error()}
	}
	result, err := fsm.Apply(store, index, entry)
	if err != nil {
		return []string{fmt.Sprintf("group %d: %v", group, err)}
	}
	for i, command := range decoded.Commands {
		switch c := command.(type) {
		case fsm.CreateRoom:
			if _, accepted := result.Outcomes[i].(fsm.Accepted); accepted && l.births[c.Room] == 0 {
				l.births[c.Room] = index
			}
		case fsm.ActivateSlot, fsm.ThawSlot:
			if result.Outcomes[i] == (fsm.Done{}) {
				wrong = append(wrong, s.served(group, index, command)...)
			}
		}
	}
	return wrong
}

// served sees to it that a slot which a group serves from now on is served by no other, and was by none in this generation.
func (s *witness) served(group uint32, index uint64, command fsm.Command) (wrong []string) {
	slot := command.Slot()
	for other, store := range s.shards {
		if _, elsewhere, err := fsm.Elsewhere(store, slot); err != nil || !elsewhere && other != group {
			wrong = append(wrong, fmt.Sprintf("slot %d: %T at index %d of shard %d, and shard %d serves it (%v)", slot, command, index, group, other, err))
		}
	}
	owned, _, err := fsm.ReadOwnership(s.shards[group], slot)
	turn := slotTurn{slot, owned.Generation}
	if before, known := s.turns[turn]; err != nil || known && before != group {
		wrong = append(wrong, fmt.Sprintf("slot %d is in generation %d in shard %d, and was in shard %d (%v)", slot, turn.generation, group, before, err))
	}
	if _, known := s.turns[turn]; !known {
		s.turns[turn] = group
		s.moves++
	} else {
		s.back++
	}
	return wrong
}

// armed are the steps at which the next node that comes there is killed.
type armed struct {
	mu     sync.Mutex
	points map[string]bool
	random *rand.Rand
}

func (a *armed) set(points ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.points = make(map[string]bool)
	for _, point := range points {
		a.points[point] = true
	}
}

// take reports whether a node that comes to a point is to be killed there, and after how long it comes back.
func (a *armed) take(point string) (kill bool, back time.Duration, seed *rand.Rand) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.points[point] {
		return false, 0, nil
	}
	delete(a.points, point)
	return true, time.Duration(a.random.Int64N(int64(5 * time.Second))), rand.New(rand.NewPCG(a.random.Uint64(), a.random.Uint64()))
}

// ambush kills a node at a step, if it is to be.
func (a *armed) ambush(w *World, l *life, point string) {
	kill, back, random := a.take(point)
	if !kill || !w.cutOff(l, random) {
		return
	}
	w.count("killed at " + point)
	w.ending.Go(func() {
		w.close(l)
		time.Sleep(back)
		w.revive(l.id)
	})
}

// shuffler moves slots of the clients' rooms and users between the shards, one job after the other.
type shuffler struct {
	crowd  *crowd
	random *rand.Rand
	armed  *armed // nil: nobody is killed at a step
	jobs   map[meta.JobState]int
}

func newShuffler(c *crowd, kill bool) *shuffler {
	s := &shuffler{crowd: c, random: rand.New(rand.NewPCG(c.world.seed, 77)), jobs: make(map[meta.JobState]int)}
	if kill {
		s.armed = &armed{random: rand.New(rand.NewPCG(c.world.seed, 78))}
	}
	return s
}

// run does so many jobs.
func (s *shuffler) run(count int) {
	w := s.crowd.world
	if s.armed != nil {
		w.lieInWait(func(l *life, point string) { s.armed.ambush(w, l, point) })
		defer w.lieInWait(nil)
	}
	for i := range count {
		if s.armed != nil {
			s.armed.set(moveSteps[i%len(moveSteps)])
		}
		s.job(i)
		if s.armed != nil {
			s.armed.set()
		}
		time.Sleep(time.Duration(s.random.ExpFloat64() * float64(shuffleThink)))
	}
}

// job moves some slots to another shard, or has that called off while it is under way, and waits for the end.
func (s *shuffler) job(number int) {
	w := s.crowd.world
	slots := s.slots()
	deadline := time.Now().Add(shuffleWithin)
	calledOff := number%7 == 3 || number%len(moveSteps) >= len(moveSteps)-2 // so that these steps come about
	var job meta.Job
	var err error
	for time.Now().Before(deadline) {
		time.Sleep(shuffleLook)
		all := w.alive()
		if len(all) == 0 {
			continue
		}
		l := all[s.random.IntN(len(all))]
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		if job.ID == 0 {
			job, err = l.node.MoveSlots(ctx, cluster.MoveSlotsRequest{
				Slots: slots, To: s.target(l, slots[0]), By: "the shuffler", Key: fmt.Sprintf("move %d of seed %d", number, w.seed),
			})
			if err == nil && calledOff {
				_, err = l.node.CancelJob(ctx, job.ID)
			}
		} else if known, found, _ := l.node.Job(job.ID); found {
			job = known
		}
		cancel()
		if job.State.Ended() {
			s.jobs[job.State]++
			if job.State == meta.JobFailed {
				w.violated("job %d failed: %s", job.ID, job.Error)
			}
			return
		}
	}
	w.violated("job %+v has not ended within %v: %v %s", job, shuffleWithin, err, w.standing())
}

// target is the other one of the two shards, by a node's map.
func (s *shuffler) target(l *life, slot fsm.SlotID) fsm.ShardID {
	home, _ := l.node.Map().ShardOfSlot(slot)
	return 3 - home.ID
}

// slots are those of rooms and users that are in use, mostly, with some others.
func (s *shuffler) slots() []fsm.SlotID {
	used := make(map[fsm.SlotID]bool)
	for i := range s.crowd.stages {
		if scene := s.crowd.sceneNow(i); scene != nil {
			used[fsm.SlotOfRoom(scene.room.URI)] = true
		}
	}
	for _, one := range people {
		used[fsm.SlotOfUser(one)] = true
	}
	h := s.crowd.history
	h.mu.Lock()
	rooms := slices.SortedFunc(maps.Keys(h.commits), func(a, b mimi.RoomURI) int { return strings.Compare(a.String(), b.String()) })
	h.mu.Unlock()
	if len(rooms) > 0 {
		used[fsm.SlotOfRoom(rooms[s.random.IntN(len(rooms))])] = true // of an older room
	}
	all := slices.Sorted(maps.Keys(used))
	slots := []fsm.SlotID{all[s.random.IntN(len(all))]}
	for range s.random.IntN(3) {
		slots = append(slots, all[s.random.IntN(len(all))])
	}
	for range s.random.IntN(4) {
		slots = append(slots, fsm.SlotID(s.random.IntN(fsm.SlotCount)))
	}
	return slots
}

// sceneNow is what is played on a stage; nil where nothing is, or somebody is changing it.
func (c *crowd) sceneNow(i int) *scene {
	at := &c.stages[i]
	select {
	case at.turn <- struct{}{}:
		defer func() { <-at.turn }()
		return at.scene
	default:
		return nil
	}
}
