package fsm

import "parley/mls"

// ClaimRules are the limits of claims: who may claim without having been granted it, and how much of an inventory. They count from
// FormatExclusive on. A number that is zero switches its rule off.
type ClaimRules struct {
	ConsentDefault   ConsentPolicy // of users who have not said otherwise; ConsentAsk where it is not set
	LowWater         uint32        // the backend is told when a client's single-use KeyPackages become fewer; default 20
	WindowMillis     uint64        // of the counts below, from the first claim that is counted; default 1 h
	PerPairMax       uint32        // claims of a provider for one requester of one user in a window; default 20
	PerRoomMax       uint32        // likewise for one room, or for none; default 5
	Floor            uint32        // the last KeyPackages of a client, of which other providers get little; default 10
	BelowFloorMax    uint32        // KeyPackages of one client that one provider gets in a window below the floor; default 3
	LastResortForOwn bool          // the provider's own clients get one of last resort where nothing else is left; default false
}

// defaultClaimRules are the documented ones.
func defaultClaimRules() ClaimRules {
	return ClaimRules{
		ConsentDefault: ConsentAsk, LowWater: 20, WindowMillis: 60 * 60 * 1000, PerPairMax: 20, PerRoomMax: 5, Floor: 10, BelowFloorMax: 3,
	}
}

const (
	claimWindowMillisMax = 30 * 24 * 60 * 60 * 1000
	claimsPerPairMax     = 1000 // a pair's count remembers each room that it claimed for
)

// Fault says what of the rules cannot be, for clients that may have so many KeyPackages; empty where all can.
func (c ClaimRules) Fault(perClientMax uint32) string {
	switch {
	case c.ConsentDefault > ConsentProvider:
		return "the default of consent is neither ask nor allow nor provider"
	case c.WindowMillis > claimWindowMillisMax:
		return "the window of claims is longer than 30 days"
	case c.PerPairMax > claimsPerPairMax:
		return "more than 1000 claims of a pair in a window"
	case c.PerRoomMax > c.PerPairMax:
		return "more claims for a room than of a pair"
	case c.LowWater > perClientMax || c.Floor > perClientMax:
		return "the low-water mark or the floor is above what a client may have"
	}
	return ""
}

//	struct {
//	    uint8 consent_default;
//	    uint32 low_water;
//	    uint64 window_millis;
//	    uint32 per_pair_max;
//	    uint32 per_room_max;
//	    uint32 floor;
//	    uint32 below_floor_max;
//	    uint8 last_resort_for_own; // 0 or 1
//	} ClaimRules;
func (c ClaimRules) appendTo(w *mls.Writer) {
	w.Uint8(uint8(c.ConsentDefault))
	w.Uint32(c.LowWater)
	w.Uint64(c.WindowMillis)
	w.Uint32(c.PerPairMax)
	w.Uint32(c.PerRoomMax)
	w.Uint32(c.Floor)
	w.Uint32(c.BelowFloorMax)
	w.Bool(c.LastResortForOwn)
}

func readClaimRules(r *mls.Reader) ClaimRules {
	return ClaimRules{
		ConsentDefault:   readConsentPolicy(r, "consent_default"),
		LowWater:         r.Uint32("low_water"),
		WindowMillis:     r.Uint64("window_millis"),
		PerPairMax:       r.Uint32("per_pair_max"),
		PerRoomMax:       r.Uint32("per_room_max"),
		Floor:            r.Uint32("floor"),
		BelowFloorMax:    r.Uint32("below_floor_max"),
		LastResortForOwn: r.Bool("last_resort_for_own"),
	}
}
