package meta_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"parley/fsm/meta"
)

// Replicas of a shard are in as many zones as there are, and in none two more than in another that has a node left; and the nodes of a
// zone share what falls to it.
func TestEvenShardsAreSpreadOverZones(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		count, replication, zones := 1+random.IntN(40), 1+random.IntN(5), 1+random.IntN(4)
		in, size := map[string]string{}, map[string]int{}
		var nodes []string
		for i := range 1 + random.IntN(9) {
			node, zone := fmt.Sprintf("n%d", i), fmt.Sprintf("z%d", random.IntN(zones))
			nodes, in[node] = append(nodes, node), zone
			size[zone]++
		}
		for _, s := range meta.EvenShardsOver(count, nodes, replication, func(node string) string { return in[node] }) {
			has := map[string]int{}
			for _, node := range s.Replicas {
				has[in[node]]++
			}
			for zone, n := range size {
				for other, m := range has {
					if has[zone] < n && m > has[zone]+1 {
						t.Fatalf("%v of %v: %d in %s and %d in %s, which has %d nodes", s.Replicas, in, m, other, has[zone], zone, n)
					}
				}
			}
		}
	}
	in := map[string]string{"n1": "a", "n2": "b", "n3": "c", "n4": "c"}
	has := map[string]int{}
	for _, s := range meta.EvenShardsOver(12, []string{"n1", "n2", "n3", "n4"}, 3, func(node string) string { return in[node] }) {
		for _, node := range s.Replicas {
			has[node]++
		}
	}
	if has["n1"] != 12 || has["n2"] != 12 || has["n3"] != 6 || has["n4"] != 6 {
		t.Errorf("replicas are spread %v", has)
	}
}
