package cluster

import (
	"crypto/sha256"
	"math/bits"

	"parley/mimi"
)

// lotCount is how many lots the destinations of a shard are dealt out in. What is appointed is lots, not destinations: so the appointment
// of a shard has one size however many peers there are, and a destination that is new has its deliverer already.
const lotCount = 64

// lots is a set of lots of one shard.
type lots uint64

// allLots is every destination of a shard.
const allLots = ^lots(0)

// lotOf is the lot that a destination is in, the same on every node: who appoints and who is appointed have to mean the same.
func lotOf(destination mimi.Provider) int {
	sum := sha256.Sum256([]byte(destination.String()))
	return int(sum[0]) % lotCount
}

func lotsOf(lot int) lots { return 1 << lot }

func (l lots) has(lot int) bool { return l&lotsOf(lot) != 0 }

func (l lots) count() int { return bits.OnesCount64(uint64(l)) }
