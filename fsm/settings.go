package fsm

import "parley/mimi"

// Settings are the limits and windows that apply uses. They are the same on every replica because they enter each shard as
// a command; nothing in apply reads a node's own configuration.
type Settings struct {
	Domains                 []mimi.Provider // the local provider's; the first is the one it speaks as. The local destination
	EpochWindow             uint32          // application messages of this many older epochs are taken (default 2)
	LeaseDefaultMillis      uint64          // default 10,000
	LeaseMinMillis          uint64          // default 5,000
	LeaseMaxMillis          uint64          // default 30,000
	KeyPackagesPerClientMax uint32          // default 200
	KeyPackageLifetimeMax   uint64          // seconds; default 92 days; for uploads
	HubKeys                 [][]byte        // public keys under which the hub signs as an external sender; a room lists one of them
	RetentionMillis         uint64          // duplicate records of notify bodies are kept this long; default 24 h
	LeaveGraceMillis        uint64          // an accepted leave may be left out of Commits this long; default 60,000. From FormatExclusive on
	Claims                  ClaimRules      // from FormatExclusive on
	Bulk                    BulkRules       // from FormatBulk on
	Format                  Format          // to which the shards are raised, at least; the newest in a new cluster
}

// DefaultSettings are the documented limits for a provider with the given domains.
func DefaultSettings(domains ...mimi.Provider) Settings {
	const day = 24 * 60 * 60
	return Settings{
		Domains:                 domains,
		EpochWindow:             2,
		LeaseDefaultMillis:      10_000,
		LeaseMinMillis:          5_000,
		LeaseMaxMillis:          30_000,
		KeyPackagesPerClientMax: 200,
		KeyPackageLifetimeMax:   92 * day,
		RetentionMillis:         day * 1000,
		LeaveGraceMillis:        60_000,
		Claims:                  defaultClaimRules(),
		Format:                  FormatNewest,
	}
}
