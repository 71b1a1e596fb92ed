package dev

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// scenarioBulk is the exchange of bulk load between two providers.
const scenarioBulk = "bulk"

// Bulk says how large the scenario bulk is.
type Bulk struct {
	Rooms   int           // half of them hosted at each provider
	Rate    int           // letters a second, of all speakers together
	Seconds float64       // of load
	Bytes   int           // of what a letter encrypts
	Settle  time.Duration // for what is under way when the load is over
	Shards  int           // of each cluster; 0 means the default of a cluster
	Single  bool          // one letter a request, by the draft's submitMessage
	Calm    bool          // nobody is killed or stopped

	// Delivery, one of Deliveries, compares: load comes in at the leader of each cluster's only shard and is delivered by it, or both is the
	// followers'. Nothing happens to the nodes then. Empty for the scenario as it is.
	Delivery string

	// Lose is for tests: so many letters are acknowledged by the second backend and never looked at, which the account must miss.
	Lose int

	oneHub   bool // all rooms are hosted at the first provider
	allRight bool // no letter is wrong
}

// BulkDefault is what two cores carry beside the six nodes' own work.
func BulkDefault() Bulk {
	return Bulk{Rooms: 200, Rate: 1000, Seconds: 30, Bytes: 1024, Settle: 2 * time.Minute}
}

// Validate says what is wrong.
func (b Bulk) Validate() error {
	switch {
	case b.Rooms < 2 || b.Rooms > 10_000:
		return errors.New("--rooms: there must be 2 to 10000")
	case b.Rate < batchLetters:
		return fmt.Errorf("--rate: at least %d letters a second", batchLetters)
	case b.Seconds < 1 || b.Settle <= 0:
		return errors.New("--seconds: at least 1")
	case b.Bytes < 16 || b.Bytes > 64<<10:
		return errors.New("a letter must have 16 bytes to 64 KiB")
	case b.Delivery != "" && !slices.Contains(Deliveries(), b.Delivery):
		return fmt.Errorf("--delivery: there are %s", strings.Join(Deliveries(), ", "))
	}
	return nil
}

// The ways in which work can be shared between a leader and its followers.
const (
	deliveryLeader    = "leader"
	deliveryFollowers = "followers"
)

// Deliveries are the values that Bulk.Delivery may have.
func Deliveries() []string { return []string{deliveryLeader, deliveryFollowers} }

// compares is the scenario as it is where it compares.
func (b Bulk) compares() Bulk {
	if b.Delivery != "" {
		b.Calm = true
		b.Shards = max(b.Shards, 1)
	}
	return b
}

// commitEvery is about how long a room stays in an epoch while letters are sent. No room leaves the window of an epoch while the peer is
// away, unless it stays away for long.
func (b Bulk) commitEvery() time.Duration { return max(b.load()/3, 4*time.Second) }

func (b Bulk) load() time.Duration { return time.Duration(b.Seconds * float64(time.Second)) }
