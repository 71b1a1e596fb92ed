package backup

import (
	"context"
	"time"
)

// Source is a cluster that is to be backed up. Its methods may be called again after an error, for another state.
type Source interface {
	// Cluster is what the cluster says of itself now.
	Cluster(ctx context.Context) (Cluster, error)
	// Open gives the state of one group as of one applied index that is no older than the call: of a shard what its own slots hold, of the
	// meta group (0) all that is to be kept. The caller closes it.
	Open(ctx context.Context, group uint32) (State, error)
	// Count adds a record to counts.
	Count(counts Counts, group uint32, key []byte)
}

// Cluster is a cluster as its map has it.
type Cluster struct {
	ID         string
	Generation uint64
	Format     uint32
	Slots      uint16   // that there are
	Shards     []uint32 // that own or may own some, in order
}

// State is one group's records, in ascending order of their keys, of which the first two bytes are the slot. It belongs to one goroutine.
type State interface {
	Head() Head
	// Next returns nil for the key at the end, once all came that was to come. The slices are valid until the next call.
	Next() (key, value []byte, err error)
	Close() error
}

// Progress is told how far a backup, a check or a restore has come. Its methods are called by one goroutine at a time.
type Progress interface {
	// Step says what is being done now, for people.
	Step(text string)
	// Units are shards, or chunks, that are done; Bytes those of records.
	Units(done, total uint64)
	Bytes(done, total uint64)
}

// noProgress is for whom nobody watches.
type noProgress struct{}

func (noProgress) Step(string)       {}
func (noProgress) Units(_, _ uint64) {}
func (noProgress) Bytes(_, _ uint64) {}
func watched(p Progress) Progress {
	if p == nil {
		return noProgress{}
	}
	return p
}

// now is the time that stands in manifests, for people. Nothing is decided by it.
func now() time.Time { return time.Now().UTC().Truncate(time.Second) }
