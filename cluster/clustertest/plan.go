package clustertest

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// plan does faults, one after another at random moments, each with an end of its own. It belongs to one goroutine, but its faults
// overlap.
type plan struct {
	world  *World
	random *rand.Rand
	stop   context.Context
	kinds  []fault
	ends   sync.WaitGroup // faults that have not ended
}

// fault is one kind of mishap. It begins at once and returns what ends it after a while; nil: it ends by itself.
type fault struct {
	name  string
	share int // of all faults
	begin func(p *plan) (end func())
	least time.Duration
	most  time.Duration
}

var faults = []fault{
	{"crash", 14, (*plan).crash, 500 * time.Millisecond, 40 * time.Second},
	{"power failure", 1, (*plan).powerFailure, time.Second, 5 * time.Second},
	{"stop", 4, (*plan).stopNode, time.Second, 90 * time.Second},
	{"crash while catching up", 6, (*plan).crashWhileCatchingUp, 0, 0},
	{"crash in a vote", 5, (*plan).crashInVote, 5 * time.Second, 40 * time.Second},
	{"isolated node", 8, (*plan).isolate, 300 * time.Millisecond, 30 * time.Second},
	{"deaf node", 5, (*plan).deaf, 300 * time.Millisecond, 20 * time.Second},
	{"mute node", 5, (*plan).mute, 300 * time.Millisecond, 20 * time.Second},
	{"cut link", 6, (*plan).cutLink, 300 * time.Millisecond, 30 * time.Second},
	{"one-way link", 6, (*plan).oneWay, 300 * time.Millisecond, 30 * time.Second},
	{"slow link", 8, (*plan).slowLink, time.Second, 20 * time.Second},
	{"broken connections", 6, (*plan).breakLink, 0, 0},
	{"slow disk", 8, (*plan).slowDisk, 500 * time.Millisecond, 15 * time.Second},
	{"failing disk", 5, (*plan).failDisk, 2 * time.Second, 20 * time.Second},
	{"frozen node", 8, (*plan).freeze, 300 * time.Millisecond, 12 * time.Second},
	{"clock jump", 6, (*plan).jump, 2 * time.Second, 3 * time.Minute},
	{"clocks jump together", 1, (*plan).jumpTogether, time.Minute, 10 * time.Minute},
	{"leadership transfer", 4, (*plan).transfer, 0, 0},
	{"damaged disk", 3, (*plan).damage, 500 * time.Millisecond, 20 * time.Second},
}

// resizes are what operators do to a cluster. They happen where they are named alone: with three nodes there is nothing to be resized.
var resizes = []fault{
	{"leaving node", 8, (*plan).leave, 5 * time.Second, 2 * time.Minute},
	{"draining node", 4, (*plan).drain, 5 * time.Second, time.Minute},
	{"moved replica", 8, (*plan).moveReplica, 0, 0},
}

// kindsOf are the faults of the given names, all but resizes where there is none.
func kindsOf(names []string) (kinds []fault) {
	for _, f := range slices.Concat(faults, resizes) {
		if len(names) == 0 && !slices.ContainsFunc(resizes, func(r fault) bool { return r.name == f.name }) || slices.Contains(names, f.name) {
			kinds = append(kinds, f)
		}
	}
	return kinds
}

// run does faults, one every mean on average, until it is stopped, and returns when all have ended.
func (p *plan) run(mean time.Duration) {
	total := 0
	for _, f := range p.kinds {
		total += f.share
	}
	for p.pause(time.Duration(p.random.ExpFloat64() * float64(mean))) {
		pick := p.random.IntN(total)
		for _, f := range p.kinds {
			if pick -= f.share; pick < 0 {
				p.do(f)
				break
			}
		}
	}
	p.ends.Wait()
}

func (p *plan) do(f fault) {
	lasts := f.least
	if f.most > f.least {
		lasts += time.Duration(p.random.Int64N(int64(f.most - f.least)))
	}
	end := f.begin(p)
	p.world.count(f.name)
	if end == nil {
		return
	}
	p.ends.Go(func() {
		p.pause(lasts)
		end()
	})
}

// pause waits; false when the plan is stopped.
func (p *plan) pause(d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-p.stop.Done():
		return false
	}
}

// node is any node's ID.
func (p *plan) node() string {
	ids := p.world.ids()
	return ids[p.random.IntN(len(ids))]
}

// victim is a node that lives; nil where none does.
func (p *plan) victim() *life {
	all := p.world.alive()
	if len(all) == 0 {
		return nil
	}
	return all[p.random.IntN(len(all))]
}

// source is randomness for a goroutine of its own.
func (p *plan) source() *rand.Rand {
	return rand.New(rand.NewPCG(p.random.Uint64(), p.random.Uint64()))
}

func (p *plan) crash() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	p.world.crash(l, p.source())
	return func() { p.world.revive(l.id) }
}

func (p *plan) powerFailure() func() {
	all := p.world.alive()
	for _, l := range all {
		p.world.cutOff(l, p.source())
	}
	for _, l := range all {
		p.world.close(l)
	}
	return func() {
		for _, l := range all {
			p.world.revive(l.id)
		}
	}
}

func (p *plan) stopNode() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	p.world.stop(l)
	return func() { p.world.revive(l.id) }
}

// crashWhileCatchingUp keeps a node away until the others have dropped log that it lacks, and then crashes it at a random moment
// of what it does to come back, some times.
func (p *plan) crashWhileCatchingUp() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	random := p.source()
	p.world.stop(l)
	p.ends.Go(func() {
		p.pause(time.Duration(20+random.IntN(60)) * time.Second)
		for range 1 + random.IntN(3) {
			p.world.revive(l.id)
			back := p.world.living(l.id)
			if back == nil {
				continue
			}
			if random.IntN(2) == 0 {
				crash := p.end(back, random)
				back.disk.crashInRestore(func() {
					p.world.count("crash in a restore")
					crash()
				}, random.IntN(8))
				p.pause(5 * time.Second)
				back.disk.crashInRestore(nil, 0)
			} else {
				p.pause(time.Duration(random.IntN(1500)) * time.Millisecond)
			}
			p.world.crash(back, random)
			p.world.ending.Wait()
		}
		p.pause(time.Second)
		p.world.revive(l.id)
	})
	return nil
}

// crashInVote crashes a node between the two writes of its next vote.
func (p *plan) crashInVote() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	random := p.source()
	l.disk.crashInVote(p.end(l, random))
	return func() {
		l.disk.crashInVote(nil)
		p.world.revive(l.id)
	}
}

// end crashes a life from within one of its own goroutines.
func (p *plan) end(l *life, random *rand.Rand) func() {
	return func() {
		if p.world.cutOff(l, random) {
			p.world.ending.Go(func() { p.world.close(l) })
		}
	}
}

func (p *plan) links(pairs ...link) func() {
	for _, way := range pairs {
		p.world.network.Set(way.from, way.to, true, 0)
	}
	return func() {
		for _, way := range pairs {
			p.world.network.Set(way.from, way.to, false, 0)
		}
	}
}

// around are the links between one node and all others.
func (p *plan) around(id string, in, out bool) (all []link) {
	for _, other := range p.world.ids() {
		if other == id {
			continue
		}
		if in {
			all = append(all, link{other, id})
		}
		if out {
			all = append(all, link{id, other})
		}
	}
	return all
}

func (p *plan) isolate() func() { return p.links(p.around(p.node(), true, true)...) }
func (p *plan) deaf() func()    { return p.links(p.around(p.node(), true, false)...) }
func (p *plan) mute() func()    { return p.links(p.around(p.node(), false, true)...) }

func (p *plan) cutLink() func() {
	a, b := p.node(), p.node()
	return p.links(link{a, b}, link{b, a})
}

func (p *plan) oneWay() func() { return p.links(link{p.node(), p.node()}) }

func (p *plan) slowLink() func() {
	way := link{p.node(), p.node()}
	p.world.network.Set(way.from, way.to, false, time.Duration(1+p.random.IntN(3000))*time.Millisecond)
	return func() { p.world.network.Set(way.from, way.to, false, 0) }
}

func (p *plan) breakLink() func() {
	p.world.network.Break(p.node(), p.node())
	return nil
}

func (p *plan) slowDisk() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	l.disk.setSlow(time.Duration(5+p.random.IntN(1500)) * time.Millisecond)
	return func() { l.disk.setSlow(0) }
}

// failDisk lets the next append to a log fail, done or not done, which ends the process. If there is none, the node is crashed in
// the end.
func (p *plan) failDisk() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	random := p.source()
	l.disk.failAppend(&appendFault{persisted: random.IntN(2) == 0, hook: p.end(l, random)})
	return func() {
		l.disk.failAppend(nil)
		p.world.crash(l, random)
		p.world.revive(l.id)
	}
}

// freeze is as near as a bubble comes to a process that is stopped and continued: nothing goes in or out, and an append that is
// begun does not end. Everything comes at once when it is over.
func (p *plan) freeze() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	lasts := time.Duration(300+p.random.IntN(5000)) * time.Millisecond
	l.disk.setSlow(lasts)
	heal := p.links(p.around(l.id, true, true)...)
	return func() {
		l.disk.setSlow(0)
		heal()
	}
}

// jump sets one node's wall clock wrong, and later right.
func (p *plan) jump() func() {
	id := p.node()
	p.world.setClock(id, p.offset())
	return func() { p.world.setClock(id, 0) }
}

// offset is a wrong clock's, from milliseconds to an hour, both ways.
func (p *plan) offset() time.Duration {
	sizes := []time.Duration{time.Millisecond, 100 * time.Millisecond, time.Second, time.Minute}
	size := sizes[p.random.IntN(len(sizes))]
	return time.Duration(p.random.IntN(121)-60) * size
}

func (p *plan) jumpTogether() func() {
	offset := p.offset()
	for _, id := range p.world.ids() {
		p.world.setClock(id, offset)
	}
	return func() {
		for _, id := range p.world.ids() {
			p.world.setClock(id, 0)
		}
	}
}

// transfer asks a leader to hand over.
func (p *plan) transfer() func() {
	l := p.victim()
	if l == nil {
		return nil
	}
	to := p.node()
	p.ends.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		for _, shard := range l.node.Map().ActiveShards() {
			if err := l.node.TransferLeadership(ctx, shard.ID, to); err != nil {
				p.world.log.Debug("transfer", "error", err)
			}
		}
	})
	return nil
}

// damage ends the node that has the bad disk, and something on it is not what was written when it comes back. It is the same node
// throughout, since damage may lie hidden: what two of three replicas have lost, nobody can give back.
func (p *plan) damage() func() {
	l := p.world.living(p.world.unlucky)
	if l == nil {
		return nil
	}
	random := p.source()
	if random.IntN(2) == 0 {
		p.world.crash(l, random)
	} else {
		p.world.stop(l)
	}
	p.world.spoil(l.id, random)
	return func() { p.world.revive(l.id) }
}
