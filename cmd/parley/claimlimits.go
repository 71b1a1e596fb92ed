package main

import (
	"time"

	"github.com/spf13/cobra"

	"parley/fsm"
	"parley/httpapi"
)

// claimLimits are the flags that say how much of the inventories may be claimed.
type claimLimits struct {
	limits httpapi.ClaimLimits
	window time.Duration
}

// claimFlags adds the flags. Their defaults are those of the settings.
func claimFlags(command *cobra.Command) *claimLimits {
	rules := fsm.DefaultSettings().Claims
	l := &claimLimits{limits: httpapi.ClaimLimits{
		LowWater: new(uint32), PerPair: new(uint32), PerRoom: new(uint32), Floor: new(uint32), BelowFloor: new(uint32),
		WindowSeconds: new(uint64), LastResortForOwn: new(bool),
	}}
	flags := command.Flags()
	flags.Uint32Var(l.limits.LowWater, "low-water", rules.LowWater, "tell the backend when a client has fewer KeyPackages left; 0 never")
	flags.DurationVar(&l.window, "claim-window", time.Duration(rules.WindowMillis)*time.Millisecond, "in which claims are counted; 0 counts none")
	flags.Uint32Var(l.limits.PerPair, "claims-per-pair", rules.PerPairMax, "claims of a provider for one requester of one user in a window; 0 without limit")
	flags.Uint32Var(l.limits.PerRoom, "claims-per-room", rules.PerRoomMax, "likewise for one room; 0 without limit")
	flags.Uint32Var(l.limits.Floor, "claim-floor", rules.Floor, "the last KeyPackages of a client, of which other providers get few; 0 none")
	flags.Uint32Var(l.limits.BelowFloor, "claims-below-floor", rules.BelowFloorMax, "how many of them one other provider gets in a window; 0 without limit")
	flags.BoolVar(l.limits.LastResortForOwn, "last-resort-for-own", rules.LastResortForOwn, "give this provider's own users one of last resort where nothing else is left")
	return l
}

// said are the limits of the command line.
func (l *claimLimits) said() *httpapi.ClaimLimits {
	*l.limits.WindowSeconds = uint64(l.window / time.Second)
	return &l.limits
}
