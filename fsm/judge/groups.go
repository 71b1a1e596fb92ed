package judge

import (
	"parley/fsm"
	"parley/mls"
)

// Groups remembers groups that were taken up, so that a request for a large room does not read its whole tree again. It is a matter of
// time alone: what a key stands for never changes. Its methods are called by many goroutines.
type Groups interface {
	Get(key GroupKey) (group *mls.PublicGroup, known bool)
	Add(key GroupKey, group *mls.PublicGroup)
}

// GroupKey names an epoch by what it contains. The GroupContext has the tree's hash in it, and not the confirmation tag, which the interim
// transcript hash has.
type GroupKey struct {
	ContextHash [32]byte // SHA-256 of the encoded GroupContext
	Interim     string   // interim_transcript_hash
}

// Remembering is a replica beside the groups that are remembered of it and of others, and the hub's keys.
type Remembering struct {
	fsm.Reader
	Groups  Groups
	Signers Signers // nil: none
}

// groupsOf are those beside a replica, or nothing.
func groupsOf(replica fsm.Reader) Groups {
	if r, yes := replica.(Remembering); yes {
		return r.Groups
	}
	return noGroups{}
}

// noGroups remembers nothing.
type noGroups struct{}

func (noGroups) Get(GroupKey) (*mls.PublicGroup, bool) { return nil, false }
func (noGroups) Add(GroupKey, *mls.PublicGroup)        {}
