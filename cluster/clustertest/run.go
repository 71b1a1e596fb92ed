package clustertest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"parley/cluster"
	"parley/fsm/meta"
)

// Run is one run of a seed.
type Run struct {
	Seed      uint64
	For       time.Duration // virtual
	FaultMean time.Duration // between two faults
	Nodes     int
	Clients   int
	Raft      cluster.RaftSettings
	Faults    []string      // kinds; none: all
	Moves     int           // jobs that move slots to and fro; where there are any, the run lasts as long as they do, and a node is killed at a step of each
	Calm      bool          // no faults, and nobody is killed
	Latency   time.Duration // of every link
	Think     time.Duration // between two deeds of a client; 0: 2 s
	Log       *slog.Logger
}

// Report is what a run came to.
type Report struct {
	Faults     map[string]int
	Answers    map[string]int
	Entries    int // places of the logs at which something was applied
	Rooms      int
	Items      int           // that the two destinations received
	Copies     int           // of them that came again
	Moved      int           // slots, each time that one came to another shard
	Thawed     int           // moves that were called off when the slot was frozen
	Slowest    time.Duration // that a client has waited for a decision, over all attempts
	Jobs       map[meta.JobState]int
	Violations []string // of the promises; empty when all is well
}

// FaultCount sums the faults up.
func (r Report) FaultCount() (n int) {
	for _, count := range r.Faults {
		n += count
	}
	return n
}

// healWithin is how long a cluster without faults may take until every replica has everything.
const healWithin = 10 * time.Minute

// Do runs inside a synctest bubble, and ends with all of its goroutines gone.
func (r Run) Do() (Report, error) {
	var all *witness
	if r.Moves > 0 {
		all = newWitness()
	}
	w, err := newWorldBefore(r.Seed, r.Nodes, shards, r.Raft, r.Log, all)
	if err != nil {
		return Report{}, err
	}
	stop, end := context.WithCancel(context.Background())
	crowd := newCrowd(w, stop)
	crowd.think = cmp.Or(r.Think, crowd.think)
	for _, a := range w.ids() {
		for _, b := range w.ids() {
			w.network.Set(a, b, false, r.Latency)
		}
	}
	receivers := []*receiver{newReceiver(crowd, local), newReceiver(crowd, peer)}
	var asking, sending sync.WaitGroup
	until, endSending := context.WithCancel(context.Background()) // couriers go on until all is there
	defer endSending()
	asking.Go(func() { receivers[0].run(stop) })
	sending.Go(func() { receivers[1].run(until) })
	crowd.start(r.Clients)
	faulty, calm := context.WithTimeout(context.Background(), r.For)
	shuffle := newShuffler(crowd, !r.Calm)
	if r.Moves > 0 {
		calm()
		faulty, calm = context.WithCancel(context.Background())
		asking.Go(func() {
			defer calm()
			shuffle.run(r.Moves)
		})
	}
	p := &plan{world: w, random: rand.New(rand.NewPCG(r.Seed, 0)), stop: faulty, kinds: kindsOf(r.Faults)}
	if r.Calm {
		<-faulty.Done()
	} else {
		p.run(r.FaultMean)
	}
	calm()
	w.heal()
	end()
	crowd.wait.Wait()
	asking.Wait()
	w.settle(receivers)
	endSending()
	sending.Wait()
	report := w.report(crowd, receivers)
	report.Jobs = shuffle.jobs
	w.end()
	return report, nil
}

// heal ends what is wrong with the world; the plan's own faults have ended.
func (w *World) heal() {
	w.ending.Wait()
	for _, a := range w.ids() {
		for _, b := range w.ids() {
			w.network.Set(a, b, false, 0)
		}
		w.setClock(a, 0)
	}
	for _, id := range w.ids() {
		w.revive(id)
	}
}

// settledLooks is how many looks in a row have to find that all is there: between two of them a shard's leader may go, and what waits in
// its outboxes is nowhere to be seen until it has another.
const settledLooks = 5

// settle waits until all replicas of a shard have the same digest at one index, and everything is received.
func (w *World) settle(receivers []*receiver) {
	ctx, cancel := context.WithTimeout(context.Background(), healWithin)
	defer cancel()
	for looks := 0; ctx.Err() == nil; {
		quiet := true
		for _, r := range receivers {
			for _, l := range w.alive() {
				quiet = r.nothingWaits(l) && quiet
			}
		}
		if !quiet || !w.agree(ctx) {
			looks = 0
		} else if looks++; looks == settledLooks {
			return
		}
		time.Sleep(time.Second)
	}
	w.violated("not every replica had everything %v after the last fault: %s", healWithin, w.standing())
}

// agree reports whether every replica of every shard has the same state now.
func (w *World) agree(ctx context.Context) bool {
	all := w.alive()
	if len(all) < len(w.ids()) || slices.ContainsFunc(all, func(l *life) bool { return !whole(l.node.View()) }) {
		return false
	}
	for _, shard := range all[0].node.Map().ActiveShards() {
		digests, err := all[0].node.Digest(ctx, shard.ID)
		if err != nil {
			return false
		}
		for _, d := range digests {
			if d.Err != nil || d.Index != digests[0].Index {
				return false
			}
			if d.Digest != digests[0].Digest {
				w.violated("shard %d at index %d: the digests of %s and %s differ", shard.ID, d.Index, d.Node, digests[0].Node)
			}
		}
	}
	return true
}

// whole reports whether a node has all its replicas, each shard's with a vote.
func whole(view cluster.NodeView) bool {
	return view.Meta.Running && !view.Meta.Rebuilding && !slices.ContainsFunc(view.Replicas, func(r cluster.ReplicaStatus) bool {
		return !r.Running || !r.Voter || r.Rebuilding
	})
}

// standing tells where each replica is, for a run that does not settle.
func (w *World) standing() string {
	var b strings.Builder
	for _, id := range w.ids() {
		fmt.Fprintf(&b, "\n%s:", id)
		for _, l := range w.alive() {
			if l.id == id {
				fmt.Fprintf(&b, " %+v", l.node.View())
			}
		}
	}
	return b.String()
}

func (w *World) report(c *crowd, receivers []*receiver) Report {
	for _, wrong := range c.history.linearizable() {
		w.violated("%s", wrong)
	}
	r := Report{Faults: w.faults, Answers: c.history.told, Entries: w.entries.size(), Rooms: len(c.history.commits)}
	r.Slowest = c.history.slowest
	if all := w.entries.witness; all != nil {
		r.Moved, r.Thawed = all.moves, all.back
	}
	for _, one := range receivers {
		one.verify()
		r.Items += len(one.items)
		r.Copies += one.copies
	}
	r.Violations = w.broken()
	return r
}

// String is the report for people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults, %d log entries, %d rooms, %d items delivered, %d copies\n", r.FaultCount(), r.Entries, r.Rooms, r.Items, r.Copies)
	fmt.Fprintf(&b, "%d slots moved, %d thawed, jobs %v; the slowest decision took %v\n", r.Moved, r.Thawed, r.Jobs, r.Slowest)
	for _, table := range []map[string]int{r.Faults, r.Answers} {
		names := make([]string, 0, len(table))
		for name := range table {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&b, "  %s %d", name, table[name])
		}
		b.WriteByte('\n')
	}
	for _, v := range r.Violations {
		fmt.Fprintf(&b, "VIOLATION %s\n", v)
	}
	return b.String()
}
