package plan

import (
	"cmp"
	"slices"
)

const (
	// slotsAtOnce is how many slots one step moves at most: a job that is cancelled stops behind the step that it is in.
	slotsAtOnce = 64

	// A shard whose weight is within one part of so many of the average is left alone; closer, where slots are to move in any case.
	evenParts       = 20
	evenPartsMoving = 100
)

// reshard adds the shards that are lacking, and picks those that are too many: the lightest, whose slots are the fewest to be moved.
func (s *state) reshard() {
	for s.wanted > len(s.shards) {
		s.shards = append(s.shards, &shard{id: s.next, fresh: true, leader: -1})
		s.next++
	}
	if s.wanted > 0 && s.wanted < len(s.shards) {
		order := slices.Clone(s.shards)
		slices.SortStableFunc(order, func(a, b *shard) int { return cmp.Compare(a.weight, b.weight) })
		s.retiring = order[:len(order)-s.wanted]
		slices.SortFunc(s.retiring, func(a, b *shard) int { return cmp.Compare(a.id, b.id) })
		s.shards = slices.DeleteFunc(s.shards, func(x *shard) bool { return slices.Contains(s.retiring, x) })
	}
}

// open gives each new shard its replicas, on the nodes that have least, the heaviest shard first. What the shards will weigh counts, and
// nothing of those that are retired.
func (s *state) open() {
	has := s.weights()
	leads := make([]int, len(s.nodes))
	var fresh []*shard
	for _, x := range s.shards {
		if x.leader >= 0 {
			leads[x.leader]++
		}
		if x.fresh {
			fresh = append(fresh, x)
		}
	}
	slices.SortStableFunc(fresh, func(a, b *shard) int { return cmp.Compare(b.weight, a.weight) })
	for _, x := range fresh {
		for len(x.replicas) < s.replication {
			s.exchange(x, -1, s.bestFor(x, -1, has), has)
		}
		x.leader = slices.MinFunc(x.replicas, func(a, b int) int { return cmp.Or(cmp.Compare(leads[a], leads[b]), cmp.Compare(a, b)) })
		leads[x.leader]++
		step := Step{Kind: OpenShard, Shard: x.id, Replicas: []string{s.nodes[x.leader].Name}}
		for _, node := range x.replicas {
			if node != x.leader {
				step.Replicas = append(step.Replicas, s.nodes[node].Name)
			}
		}
		s.step(step)
	}
	slices.SortFunc(s.steps, func(a, b Step) int { return cmp.Compare(a.Shard, b.Shard) })
}

// bestFor is the node for one more replica of a shard, or for the one that leaves a node: in a zone that is not crowded by it, with the
// least, the first by name; -1 where no node can take it.
func (s *state) bestFor(x *shard, instead int, has []uint64) int {
	best, bestCrowd := -1, 0
	for node := range s.nodes {
		if !s.able(node) || x.has(node) {
			continue
		}
		crowd := s.crowding(exchanged(x.replicas, instead, node))
		if best < 0 || crowd < bestCrowd || crowd == bestCrowd && has[node] < has[best] {
			best, bestCrowd = node, crowd
		}
	}
	return best
}

// shareSlots empties the shards that are to be retired and evens the others out, by as little weight as that takes.
func (s *state) shareSlots() {
	all := append(slices.Clone(s.retiring), s.shards...)
	origin := make(map[uint16]uint32)
	for _, x := range all {
		slices.SortFunc(x.slots, func(a, b Slot) int { // the heaviest last
			return cmp.Or(cmp.Compare(s.measure.of(a), s.measure.of(b)), cmp.Compare(b.ID, a.ID))
		})
		for _, slot := range x.slots {
			origin[slot.ID] = x.id
		}
	}
	for _, from := range s.retiring {
		for len(from.slots) > 0 {
			to := slices.MinFunc(s.shards, func(a, b *shard) int { return cmp.Or(cmp.Compare(a.weight, b.weight), cmp.Compare(a.id, b.id)) })
			s.moveSlot(from, to, len(from.slots)-1)
		}
	}
	s.even()
	s.slotSteps(origin)
}

// moveSlot keeps both lists in their order.
func (s *state) moveSlot(from, to *shard, at int) {
	slot := from.slots[at]
	weight := s.measure.of(slot)
	from.slots = slices.Delete(from.slots, at, at+1)
	place, _ := slices.BinarySearchFunc(to.slots, weight, func(o Slot, weight uint64) int { return cmp.Compare(s.measure.of(o), weight) })
	to.slots = slices.Insert(to.slots, place, slot)
	from.weight, to.weight = from.weight-weight, to.weight+weight
}

// even moves slots from the heaviest shard to the lightest, until none is far off the average or nothing helps. A slot fits that takes
// neither of them past the average, and the heaviest of those goes; where none fits, the lightest, if that makes the two more alike.
func (s *state) even() {
	var sum uint64
	for _, x := range s.shards {
		sum += x.weight
	}
	mean := sum / uint64(len(s.shards))
	parts := uint64(evenParts)
	if len(s.retiring) > 0 || slices.ContainsFunc(s.shards, func(x *shard) bool { return x.fresh }) {
		parts = evenPartsMoving
	}
	stuck := make(map[*shard]bool) // nothing of them helps anybody
	for {
		var from, to *shard
		for _, x := range s.shards {
			if !stuck[x] && (from == nil || x.weight > from.weight) {
				from = x
			}
			if to == nil || x.weight < to.weight {
				to = x
			}
		}
		if from == nil || from == to || from.weight <= mean+mean/parts && to.weight >= mean-mean/parts {
			return
		}
		if at := s.fitting(from, to, mean); at >= 0 {
			s.moveSlot(from, to, at)
		} else {
			stuck[from] = true
		}
	}
}

// fitting picks the slot to move; -1 where none helps.
func (s *state) fitting(from, to *shard, mean uint64) int {
	if len(from.slots) == 0 || from.weight <= to.weight {
		return -1
	}
	most := min(int64(from.weight)-int64(mean), int64(mean)-int64(to.weight))
	at, _ := slices.BinarySearchFunc(from.slots, most+1, func(o Slot, weight int64) int { return cmp.Compare(int64(s.measure.of(o)), weight) })
	if at > 0 {
		return at - 1
	}
	if helps(from.weight-to.weight, s.measure.of(from.slots[0])) {
		return 0
	}
	return -1
}

// helps reports whether a move of so much closes a gap: a move that only turns it around, or nearly, is not worth its cost.
func helps(gap, weight uint64) bool { return 4*gap >= 5*weight }

// slotSteps are the steps that bring the slots from where they were to where they are. A slot that came to a shard and went on from there
// is moved once.
func (s *state) slotSteps(origin map[uint16]uint32) {
	moves := make(map[[2]uint32][]Slot)
	var pairs [][2]uint32
	for _, x := range s.shards {
		for _, slot := range x.slots {
			if from := origin[slot.ID]; from != x.id {
				pair := [2]uint32{from, x.id}
				if moves[pair] == nil {
					pairs = append(pairs, pair)
				}
				moves[pair] = append(moves[pair], slot)
			}
		}
	}
	slices.SortFunc(pairs, func(a, b [2]uint32) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) })
	for _, pair := range pairs {
		slots := moves[pair]
		slices.SortFunc(slots, func(a, b Slot) int { return cmp.Compare(a.ID, b.ID) })
		for chunk := range slices.Chunk(slots, slotsAtOnce) {
			step := Step{Kind: MoveSlots, Shard: pair[0], To: pair[1]}
			for _, slot := range chunk {
				step.Slots = append(step.Slots, slot.ID)
				step.Bytes += slot.Bytes * uint64(s.replication)
			}
			s.step(step)
		}
	}
}

func (s *state) retire() {
	for _, x := range s.retiring {
		s.step(Step{Kind: RetireShard, Shard: x.id})
	}
}
