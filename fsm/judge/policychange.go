package judge

import (
	"bytes"
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// policyChanges are the kinds of a room's policy that a Commit changes. Shards of an older format are not told.
func policyChanges(state *roomState, staged *mls.Staged) (changes mimi.PolicyChange, err error) {
	if state.format < fsm.FormatBulk {
		return 0, nil
	}
	before, err := staged.Before.Context().Extensions.Dictionary()
	if err != nil {
		return 0, fmt.Errorf("the dictionary of the epoch that ends: %w", err)
	}
	after, err := staged.After.Context().Extensions.Dictionary()
	if err != nil {
		return 0, fmt.Errorf("the dictionary of the epoch that begins: %w", err)
	}
	for _, c := range before {
		if data, kept := after.Get(c.ID); !kept || !bytes.Equal(data, c.Data) {
			changes |= kindOfPolicy(c.ID)
		}
	}
	for _, c := range after {
		if _, was := before.Get(c.ID); !was {
			changes |= kindOfPolicy(c.ID)
		}
	}
	return changes, nil
}

// kindOfPolicy sorts components. Who has which role stands in the participant list, what a role may do in the roles.
func kindOfPolicy(id mls.ComponentID) mimi.PolicyChange {
	switch id {
	case mimi.ComponentParticipantList, mimi.ComponentRoles:
		return mimi.RolesChanged
	case mimi.ComponentPreauthorization:
		return mimi.PreauthorizationChanged
	default:
		return mimi.CharacteristicsChanged
	}
}
