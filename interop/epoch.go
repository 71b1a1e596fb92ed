package interop

import (
	"maps"

	"parley/mls"
)

// epoch is what has been proposed in the present epoch, by which other things have become illegal.
type epoch struct {
	touched     map[mls.LeafIndex]bool // updated or removed; none of them may commit
	adding      map[int]bool
	addsNone    bool                       // since nobody who is added now could follow
	context     bool                       // a GroupContextExtensions
	psks        bool                       // a PreSharedKey, by itself
	components  map[mls.ComponentID]string // kind of the change
	swappable   []int                      // clients that the Commit removes, and may add again with other keys
	selfRemoves [][]byte
}

func newEpoch() *epoch {
	return &epoch{
		touched: make(map[mls.LeafIndex]bool), adding: make(map[int]bool), components: make(map[mls.ComponentID]string),
	}
}

// fork is the epoch for a committer who may still not get its way.
func (e *epoch) fork() *epoch {
	f := *e
	f.touched, f.adding, f.components = maps.Clone(e.touched), maps.Clone(e.adding), maps.Clone(e.components)
	return &f
}

func (e *epoch) untouched(i mls.LeafIndex) bool { return !e.touched[i] }
