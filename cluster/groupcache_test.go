package cluster

import (
	"testing"

	"parley/fsm/judge"
	"parley/mls"
	"parley/mls/mlstest"
)

// TestGroupCacheIsBounded: the groups that were asked for last stay, and all of them take no more than the bound.
func TestGroupCacheIsBounded(t *testing.T) {
	c, err := newGroupCache()
	if err != nil {
		t.Fatal(err)
	}
	group := largeGroup(t, 2000)
	key := func(i int) judge.GroupKey { return judge.GroupKey{ContextHash: [32]byte{byte(i), byte(i >> 8)}} }
	fit := groupCacheBytes / groupBytes(group)
	for i := range 3 * fit {
		c.Add(key(i), group)
		c.Add(key(i), group) // is one
		c.Get(key(0))
	}
	if c.bytes > groupCacheBytes || c.bytes < groupCacheBytes/2 || c.lru.Len() != fit {
		t.Errorf("%d groups of %d bytes, %d that fit", c.lru.Len(), c.bytes, fit)
	}
	for i, want := range map[int]bool{0: true, 1: false, 3*fit - 1: true} {
		if _, known := c.Get(key(i)); known != want {
			t.Errorf("group %d is known: %v", i, known)
		}
	}
}

func largeGroup(t *testing.T, members int) *mls.PublicGroup {
	t.Helper()
	made, err := mlstest.New(mlstest.Config{Suite: 1, Members: members, Parents: true})
	if err != nil {
		t.Fatal(err)
	}
	group, err := made.Public()
	if err != nil {
		t.Fatal(err)
	}
	return group
}
