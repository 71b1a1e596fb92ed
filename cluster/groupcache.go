package cluster

import (
	"math"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"parley/fsm/judge"
	"parley/mls"
)

const (
	// groupCacheBytes bounds the groups that a node remembers, by estimate.
	groupCacheBytes = 128 << 20
	// groupNodeBytes is about what a node of a tree takes, its parsed form and its hash included.
	groupNodeBytes = 1 << 10
)

// groupCache remembers the groups that were asked for last, of all shards of a node. Safe for concurrent use.
type groupCache struct {
	mu    sync.Mutex
	lru   *simplelru.LRU[judge.GroupKey, *mls.PublicGroup]
	bytes int
}

var _ judge.Groups = (*groupCache)(nil)

func newGroupCache() (*groupCache, error) {
	c := &groupCache{}
	lru, err := simplelru.NewLRU(math.MaxInt, func(_ judge.GroupKey, group *mls.PublicGroup) { c.bytes -= groupBytes(group) })
	c.lru = lru
	return c, err
}

// groupBytes is about what a group takes. Epochs of one group share most of it, which is not counted.
func groupBytes(group *mls.PublicGroup) int { return groupNodeBytes * (1 + int(group.Tree().Width())) }

// Get implements judge.Groups.
func (c *groupCache) Get(key judge.GroupKey) (*mls.PublicGroup, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Get(key)
}

// Add implements judge.Groups.
func (c *groupCache) Add(key judge.GroupKey, group *mls.PublicGroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lru.Contains(key) {
		return
	}
	c.lru.Add(key, group)
	for c.bytes += groupBytes(group); c.bytes > groupCacheBytes; {
		c.lru.RemoveOldest()
	}
}
