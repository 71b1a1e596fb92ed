package storage

import (
	"context"
	"fmt"
)

// DiskBytes is about what the group's keys take of the disk, with what was deleted and is still in the tables. Keys that are in memory
// alone do not count.
func (g *GroupState) DiskBytes() (uint64, error) {
	if err := g.engine.usable(); err != nil {
		return 0, err
	}
	bytes, err := g.engine.db.EstimateDiskUsage(groupPrefix(g.id), groupEnd(g.id))
	return bytes, wrap(fmt.Sprintf("disk usage of group %d", g.id), err)
}

// RangeBytes estimates what the group's keys from lower up to upper take in the tables on the disk; what was written last may not be in
// them yet.
func (g *GroupState) RangeBytes(lower, upper []byte) (uint64, error) {
	if err := g.engine.usable(); err != nil {
		return 0, err
	}
	bytes, err := g.engine.db.EstimateDiskUsage(userKey(nil, g.id, lower), userKey(nil, g.id, upper))
	return bytes, wrap(fmt.Sprintf("disk usage of a part of group %d", g.id), err)
}

// Reclaim rewrites the group's tables without what was deleted. Pebble does so by itself, but for what is in the lowest levels only
// when later writes make it, and a state from which much has gone at once may get none. It costs reading and writing what is left, beside
// reads and writes, which go on. It ends early, without harm, with the context; the engine must not be closed meanwhile.
func (g *GroupState) Reclaim(ctx context.Context) error {
	if err := g.engine.usable(); err != nil {
		return err
	}
	return wrap(fmt.Sprintf("reclaim the disk of group %d", g.id), g.engine.db.Compact(ctx, groupPrefix(g.id), groupEnd(g.id), false))
}
