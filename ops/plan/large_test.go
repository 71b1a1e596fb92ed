package plan_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"parley/ops/plan"
)

// large is a cluster of 100 nodes in three zones with 4,096 slots, which only some of the nodes have anything of: the others have just come.
func large(shards, filled int, weigh func(slot int) plan.Slot) plan.Cluster {
	c := plan.Cluster{Replication: 3, NextShard: uint32(shards + 1)}
	for i := range 100 {
		c.Nodes = append(c.Nodes, plan.Node{Name: fmt.Sprintf("n%03d", i), Zone: fmt.Sprintf("zone-%d", i%3), Serves: true, Alive: true})
	}
	dealt := [3]int{}
	in := func(zone int) string { // the nodes of a zone in turn
		each := (filled - zone + 2) / 3
		node := c.Nodes[zone+3*(dealt[zone]%each)].Name
		dealt[zone]++
		return node
	}
	for i := range shards {
		s := plan.Shard{ID: uint32(i + 1)}
		for zone := range 3 {
			s.Replicas = append(s.Replicas, in((zone+i)%3))
		}
		s.Leader = s.Replicas[0]
		for slot := i * 4096 / shards; slot < (i+1)*4096/shards; slot++ {
			s.Slots = append(s.Slots, weigh(slot))
		}
		c.Shards = append(c.Shards, s)
	}
	return c
}

func alike(slot int) plan.Slot { return plan.Slot{ID: uint16(slot), Bytes: 10 << 20, Load: 100} }

// skewed slots differ a hundredfold, as rooms do: few are large.
func skewed(slot int) plan.Slot {
	r := rand.New(rand.NewPCG(7, uint64(slot)))
	factor := math.Pow(10, 2*math.Pow(r.Float64(), 3))
	return plan.Slot{ID: uint16(slot), Bytes: uint64(factor * (4 << 20)), Load: uint64(factor * 20)}
}

type largeCase struct {
	cluster plan.Cluster
	goal    plan.Goal
}

func largeCases() map[string]largeCase {
	leave := []string{"n003", "n010", "n017", "n031", "n044", "n058", "n063", "n077", "n080", "n099"}
	return map[string]largeCase{
		"20 nodes more":                 {large(512, 80, alike), plan.Goal{}},
		"10 nodes fewer":                {large(512, 100, alike), plan.Goal{Leave: leave}},
		"twice the shards":              {large(256, 100, alike), plan.Goal{Shards: 512}},
		"half the shards":               {large(512, 100, alike), plan.Goal{Shards: 256}},
		"more nodes, more shards":       {large(256, 60, alike), plan.Goal{Shards: 640}},
		"slots that differ":             {large(512, 100, skewed), plan.Goal{}},
		"slots that differ, more nodes": {large(512, 80, skewed), plan.Goal{}},
		"1,024 shards, 40 nodes more":   {large(1024, 60, alike), plan.Goal{}},
	}
}

// weightOf is an independent copy of what a slot counts for: a third each by number, bytes and load, in parts of the average.
func weightOf(c plan.Cluster) func(plan.Slot) float64 {
	var slots, bytes, load float64
	for _, s := range c.Shards {
		for _, slot := range s.Slots {
			slots, bytes, load = slots+1, bytes+float64(slot.Bytes), load+float64(slot.Load)
		}
	}
	return func(s plan.Slot) float64 { return 1 + float64(s.Bytes)*slots/bytes + float64(s.Load)*slots/load }
}

// The bounds below are what any plan with the same end in numbers has to move: what a shard or a node has more before than behind must have
// gone elsewhere. With slots and shards that are alike the end in numbers is the only even one, and the bound is the sum of the surpluses.
func TestLargeClusters(t *testing.T) {
	for name, test := range largeCases() {
		t.Run(name, func(t *testing.T) {
			p, err := plan.Make(test.cluster, test.goal)
			if err != nil {
				t.Fatal(err)
			}
			w := worldOf(test.cluster)
			moved := map[plan.Kind]int{}
			var weightMoved float64
			weight := weightOf(test.cluster)
			for i, step := range p.Steps {
				moved[step.Kind]++
				for _, slot := range step.Slots {
					weightMoved += weight(w.slots[step.Shard][slot])
				}
				if err := w.take(step); err != nil {
					t.Fatalf("step %d, %s: %v", i, step, err)
				}
			}
			end := w.cluster()
			slotBound := surplusOfShards(test.cluster, end, weight)
			replicaBound := surplusOfNodes(test.cluster, end)
			if testing.Verbose() {
				t.Logf("%d steps %v, slots of weight %.0f of at least %.0f, replicas %d of at least %d, %d MiB, survives one more failure: %v",
					len(p.Steps), moved, weightMoved, slotBound, moved[plan.MoveReplica], replicaBound, p.Bytes>>20, p.Survives)
			}
			if weightMoved > 1.05*slotBound {
				t.Errorf("slots of weight %.0f move, and %.0f have to", weightMoved, slotBound)
			}
			if float64(moved[plan.MoveReplica]) > 1.05*float64(replicaBound) {
				t.Errorf("%d replicas move, and %d have to", moved[plan.MoveReplica], replicaBound)
			}
			checkEven(t, end, weight)
			if !p.Survives {
				t.Errorf("it does not survive one more failure: %v", p.Weak)
			}
		})
	}
}

// surplusOfShards is the weight of the slots that shards have more before than behind.
func surplusOfShards(before, after plan.Cluster, weight func(plan.Slot) float64) (sum float64) {
	has := make(map[uint32]float64)
	for _, s := range before.Shards {
		for _, slot := range s.Slots {
			has[s.ID] += weight(slot)
		}
	}
	for _, s := range after.Shards {
		for _, slot := range s.Slots {
			has[s.ID] -= weight(slot)
		}
	}
	for _, more := range has {
		sum += max(0, more)
	}
	return sum
}

// surplusOfNodes is by how many replicas nodes have more before than behind, of the shards that are there before and behind.
func surplusOfNodes(before, after plan.Cluster) (sum int) {
	stays := make(map[uint32]bool)
	for _, s := range after.Shards {
		stays[s.ID] = true
	}
	has := make(map[string]int)
	for _, s := range before.Shards {
		if !stays[s.ID] {
			continue
		}
		for _, node := range s.Replicas {
			has[node]++
		}
		delete(stays, s.ID)
	}
	for _, s := range after.Shards {
		if stays[s.ID] {
			continue // it is new
		}
		for _, node := range s.Replicas {
			has[node]--
		}
	}
	for _, more := range has {
		sum += max(0, more)
	}
	return sum
}

// checkEven: no shard is a twentieth above the average, but where none of its slots can go anywhere without making that one heavier; in
// each zone the nodes differ by one shard and a quarter at most, and leads by one over all.
func checkEven(t *testing.T, c plan.Cluster, weight func(plan.Slot) float64) {
	t.Helper()
	var shardWeights []float64
	nodes, leads := make(map[string]float64), make(map[string]int)
	zone := make(map[string]string)
	for _, n := range c.Nodes {
		if n.Serves {
			nodes[n.Name], leads[n.Name], zone[n.Name] = 0, 0, n.Zone
		}
	}
	for _, s := range c.Shards {
		var sum float64
		for _, slot := range s.Slots {
			sum += weight(slot)
		}
		shardWeights = append(shardWeights, sum)
		for _, node := range s.Replicas {
			nodes[node] += sum
		}
		leads[s.Leader]++
	}
	var total float64
	for _, x := range shardWeights {
		total += x
	}
	mean := total / float64(len(shardWeights))
	low, high := slices.Min(shardWeights), mean*1.05
	for _, s := range c.Shards {
		var sum float64
		lightest := total
		for _, slot := range s.Slots {
			sum += weight(slot)
			lightest = min(lightest, weight(slot))
		}
		if sum > high && sum-low > 1.26*lightest {
			t.Errorf("shard %d weighs %.1f, with slots from %.1f on, and another %.1f; the average is %.1f", s.ID, sum, lightest, low, mean)
		}
	}
	for _, one := range []string{"zone-0", "zone-1", "zone-2"} {
		var in []float64
		for node, sum := range nodes {
			if zone[node] == one {
				in = append(in, sum)
			}
		}
		if gap := slices.Max(in) - slices.Min(in); gap > 1.25*slices.Max(shardWeights) {
			t.Errorf("the nodes of %s weigh from %.1f to %.1f, with %.1f a shard", one, slices.Min(in), slices.Max(in), mean)
		}
	}
	fewest, most := len(c.Shards), 0
	for _, count := range leads {
		fewest, most = min(fewest, count), max(most, count)
	}
	if most-fewest > 1 {
		t.Errorf("nodes lead from %d to %d shards", fewest, most)
	}
	for _, s := range c.Shards {
		zones := make(map[string]bool)
		for _, node := range s.Replicas {
			zones[zone[node]] = true
		}
		if len(zones) != 3 {
			t.Errorf("shard %d is in %d zones", s.ID, len(zones))
		}
	}
}

// A cluster in balance has nothing to be done, however large.
func TestLargeClusterAtRest(t *testing.T) {
	c := large(600, 100, alike)
	first, err := plan.Make(c, plan.Goal{})
	if err != nil {
		t.Fatal(err)
	}
	w := worldOf(c)
	for _, step := range first.Steps {
		if err := w.take(step); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := plan.Make(w.cluster(), plan.Goal{}); err != nil || len(p.Steps) > 0 {
		t.Errorf("%v, %v", p.Steps, err)
	}
}

func BenchmarkLargeClusters(b *testing.B) {
	for name, test := range largeCases() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := plan.Make(test.cluster, test.goal); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
