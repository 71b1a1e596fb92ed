package cluster

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

// theory is a cluster on paper: a real map, and groups whose members change as their leaders would change them.
type theory struct {
	t      *testing.T
	random *rand.Rand
	store  *fsmtest.Store
	index  uint64
	m      *meta.Map
	nodes  []string
	down   map[string]int                  // rounds for which a node has been silent
	groups map[fsm.ShardID]map[string]bool // member → votes
	leader map[fsm.ShardID]string          // who was last
	steps  int                             // changes of the map
}

const (
	theoryGone = 3
	theoryDead = 6
)

func newTheory(t *testing.T, random *rand.Rand, nodes, shards, replication, zones int) *theory {
	y := &theory{t: t, random: random, store: fsmtest.NewStore(), down: make(map[string]int), groups: make(map[fsm.ShardID]map[string]bool), leader: make(map[fsm.ShardID]string)}
	y.do(meta.InitCluster{ClusterID: "c", Settings: fsm.DefaultSettings(provider(t, "a.example")), ReplicationFactor: uint32(replication), Shards: uint32(shards)})
	for range nodes {
		y.join(zones)
	}
	for _, s := range meta.EvenShards(shards, y.nodes[:max(replication, nodes/2)], replication) {
		y.do(meta.PlaceShards{Shards: []meta.Shard{s}})
		y.do(meta.ActivateShard{ID: s.ID})
		y.groups[s.ID] = make(map[string]bool)
		for _, node := range s.Replicas {
			y.groups[s.ID][node] = true
		}
	}
	return y
}

func (y *theory) join(zones int) {
	id := fmt.Sprintf("n%02d", len(y.nodes)+1)
	y.nodes = append(y.nodes, id)
	y.do(meta.AddNode{Node: meta.Node{ID: id, Incarnation: "i" + id, ClusterAddr: id + ":1", State: meta.NodeActive}})
	y.do(meta.TellZone{Zone: meta.Zone{Node: id, Name: fmt.Sprintf("z%d", len(y.nodes)%zones)}})
}

// do applies a command and reports whether it was taken.
func (y *theory) do(c meta.Command) bool {
	y.t.Helper()
	y.index++
	outcome, err := meta.Apply(y.store, y.index, meta.EncodeCommand(c))
	if err != nil {
		y.t.Fatal(err)
	}
	if y.m, err = meta.ReadMap(y.store); err != nil {
		y.t.Fatal(err)
	}
	_, done := outcome.(meta.Done)
	return done
}

// led reports whether more than half of a group's voters are up.
func (y *theory) led(shard fsm.ShardID) bool {
	up, voters := 0, 0
	for node, votes := range y.groups[shard] {
		if votes {
			voters++
			up += truth(y.down[node] == 0)
		}
	}
	return 2*up > voters
}

func (y *theory) view() placingView {
	v := placingView{replication: y.m.ReplicationFactor()}
	for _, id := range y.nodes {
		duty := y.m.Duty(id)
		zone, _ := y.m.ZoneOf(id)
		v.nodes = append(v.nodes, placingNode{
			id: id, zone: zone, duty: duty.Kind, successor: duty.Successor, answers: y.down[id] == 0, gone: y.down[id] >= theoryGone, dead: y.down[id] >= theoryDead,
		})
	}
	for _, s := range y.m.Shards() {
		under, _ := y.m.Succession(s.ID)
		one := placingShard{id: s.ID, replicas: s.Replicas, joins: under.Joins, leaves: under.Leaves, led: y.led(s.ID)}
		for _, node := range y.nodes {
			if y.groups[s.ID][node] {
				one.voters = append(one.voters, node)
			}
		}
		v.shards = append(v.shards, one)
	}
	return v
}

// place lets the rules change the map. Each of their changes has to be taken.
func (y *theory) place() int {
	y.t.Helper()
	changes, _ := y.view().placements()
	for _, c := range changes {
		before, _ := y.m.Shard(c.Shard)
		if !y.do(c) {
			y.t.Fatalf("the map refuses %+v, with %v", c, before)
		}
		y.steps++
	}
	joins := 0
	for _, s := range y.view().shards {
		if s.joins != "" && !slices.Contains(s.voters, s.joins) {
			joins++
		}
	}
	if joins > joinsMax {
		y.t.Fatalf("%d replicas are on their way at a time", joins)
	}
	return len(changes)
}

// lead takes the steps of the shards' leaders, some of which are not ready.
func (y *theory) lead(hesitant bool) (steps int) {
	for _, s := range y.m.Shards() {
		if !y.led(s.ID) || hesitant && y.random.IntN(3) == 0 {
			continue
		}
		group := y.groups[s.ID]
		var voters []string
		for _, node := range y.nodes {
			if group[node] && y.down[node] == 0 {
				voters = append(voters, node)
			}
		}
		if !slices.Contains(voters, y.leader[s.ID]) {
			y.leader[s.ID] = voters[y.random.IntN(len(voters))]
		}
		self := y.leader[s.ID]
		var members []replicaMember
		for _, node := range y.nodes {
			votes, member := group[node]
			wanted := slices.Contains(s.Replicas, node)
			if !wanted && !member {
				continue
			}
			up := y.down[node] == 0
			members = append(members, replicaMember{
				id: node, wanted: wanted, serves: y.m.Serves(node), member: member, voter: votes, running: up, caught: up && (!hesitant || y.random.IntN(2) == 0), close: up && (!hesitant || y.random.IntN(2) == 0),
			})
		}
		action, id := nextMember(self, members, min(len(s.Replicas), y.m.ReplicationFactor()))
		switch action {
		case memberAdd:
			group[id] = false
		case memberPromote:
			group[id] = true
		case memberRemove:
			votes := group[id]
			delete(group, id)
			if left := y.votersOf(s.ID); votes && left < min(y.m.ReplicationFactor(), len(s.Replicas)) || !y.led(s.ID) {
				y.t.Fatalf("shard %d has %d voters left, of which too few are up, without %s", s.ID, left, id)
			}
		case memberHandOver:
			y.leader[s.ID] = id
		case memberRest:
			continue
		}
		steps++
	}
	return steps
}

func (y *theory) votersOf(shard fsm.ShardID) (n int) {
	for _, votes := range y.groups[shard] {
		n += truth(votes)
	}
	return n
}

// disturb is what happens to nodes, and what operators want of them. It leaves a majority of each group up.
func (y *theory) disturb() {
	node := y.nodes[y.random.IntN(len(y.nodes))]
	switch y.random.IntN(8) {
	case 0, 1:
		if y.down[node] == 0 {
			y.down[node] = 1
			for _, s := range y.m.Shards() {
				if !y.led(s.ID) {
					y.down[node] = 0
				}
			}
		}
	case 2, 3:
		y.down[node] = 0
	case 4:
		duty := meta.Duty{Node: node, Kind: meta.Leaving}
		if other := y.nodes[y.random.IntN(len(y.nodes))]; y.random.IntN(3) == 0 {
			duty.Successor = other
		}
		y.do(meta.AssignNode{Duty: duty})
	case 5:
		y.do(meta.AssignNode{Duty: meta.Duty{Node: node, Kind: meta.Draining}})
	case 6:
		y.do(meta.AssignNode{Duty: meta.Duty{Node: node, Kind: meta.Serving}})
	case 7:
		rules, version := y.m.Placement()
		rules.ReplicationFactor = uint32(1 + y.random.IntN(4))
		y.do(meta.ChangePlacement{Version: version, Rules: rules})
	}
}

func (y *theory) tick() {
	for node, rounds := range y.down {
		if rounds > 0 {
			y.down[node]++
		}
	}
}

func (y *theory) String() string {
	var b strings.Builder
	for _, n := range y.view().nodes {
		fmt.Fprintf(&b, "%+v\n", n)
	}
	for _, s := range y.view().shards {
		fmt.Fprintf(&b, "%+v %v\n", s, y.groups[s.id])
	}
	return b.String()
}

// Whatever happens to nodes and is wanted of them, no group loses a voter that is needed, every change is one that the map takes, and when
// nothing happens any more all comes to rest, with every shard as wanted.
func TestPlacingComesToRestAsWanted(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			y := newTheory(t, random, 4+random.IntN(6), 1+random.IntN(12), 1+random.IntN(3), 1+random.IntN(4))
			for range 60 {
				if random.IntN(3) == 0 {
					y.disturb()
				}
				y.place()
				y.lead(true)
				y.tick()
			}
			for _, node := range y.nodes { // who is needed comes back
				if random.IntN(2) == 0 || len(y.m.ServingNodes()) < y.m.ReplicationFactor()+2 {
					y.down[node] = 0
				}
			}
			for _, s := range y.m.Shards() {
				for node := range y.groups[s.ID] {
					if !y.led(s.ID) {
						y.down[node] = 0
					}
				}
			}
			for range theoryDead {
				y.tick()
			}
			rounds, quiet := 0, 0
			for ; quiet < 3 && rounds < 400; rounds++ {
				if y.place()+y.lead(false) == 0 {
					quiet++
				} else {
					quiet = 0
				}
			}
			if quiet < 3 {
				t.Fatalf("no end after %d rounds and %d changes:\n%s", rounds, y.steps, y)
			}
			y.checkRest()
		})
	}
}

func (y *theory) checkRest() {
	y.t.Helper()
	able := 0
	for _, n := range y.view().nodes {
		able += truth(n.answers && n.duty == meta.Serving)
	}
	for _, s := range y.view().shards {
		waits := false // for a successor that is away, or for a node that is to come
		for _, id := range s.replicas {
			duty := y.m.Duty(id)
			waits = waits || duty.Successor != "" && !y.m.Serves(duty.Successor) || duty.Successor != "" && y.down[duty.Successor] > 0
		}
		if able < y.m.ReplicationFactor()+1 || waits {
			continue
		}
		if len(s.replicas) != y.m.ReplicationFactor() || s.joins != "" {
			y.t.Errorf("shard %d rests with %v:\n%s", s.id, s.replicas, y)
		}
		for _, id := range s.replicas {
			if y.down[id] > 0 || y.m.Duty(id).Kind == meta.Leaving || !y.groups[s.id][id] {
				y.t.Errorf("shard %d rests on %s, which is down, leaves or does not vote:\n%s", s.id, id, y)
			}
		}
		if len(y.groups[s.id]) != len(s.replicas) {
			y.t.Errorf("the group of shard %d has others:\n%s", s.id, y)
		}
	}
}

// A replica goes where its shard has fewest in the zone, then where fewest replicas are.
func TestPlacingFindsTheBestNode(t *testing.T) {
	y := newTheory(t, rand.New(rand.NewPCG(1, 1)), 8, 12, 3, 3)
	y.do(meta.AssignNode{Duty: meta.Duty{Node: "n01", Kind: meta.Leaving}})
	for range 200 {
		y.place()
		y.lead(false)
	}
	has, moved := map[string]int{}, 0
	for _, s := range y.m.Shards() {
		for _, id := range s.Replicas {
			has[id]++
			moved += truth(id > "n04")
		}
	}
	if has["n01"] != 0 || moved != 9 {
		t.Errorf("replicas are spread %v", has)
	}
	for _, id := range []string{"n05", "n06", "n07", "n08"} {
		if has[id] == 0 || has[id] > 6 {
			t.Errorf("replicas are spread %v", has)
		}
	}
}

// A dead node's replicas go to others after a while, not before; and it takes no more than needed to see that nobody can take one.
func TestPlacingWaitsForTheDead(t *testing.T) {
	y := newTheory(t, rand.New(rand.NewPCG(1, 1)), 4, 2, 3, 1)
	y.down["n01"] = theoryDead - 1
	if changes := y.place(); changes > 0 {
		t.Errorf("%d changes for a node that may come back", changes)
	}
	y.tick()
	if changes := y.place(); changes != 2 {
		t.Errorf("%d changes for a node that is dead", changes)
	}
	y = newTheory(t, rand.New(rand.NewPCG(1, 1)), 3, 2, 3, 1)
	y.down["n01"] = theoryDead
	if changes, unplaced := y.view().placements(); len(changes) > 0 || unplaced != 2 {
		t.Errorf("%v, and %d have no place", changes, unplaced)
	}
}
