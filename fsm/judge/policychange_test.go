package judge

import (
	"testing"

	"parley/mimi"
	"parley/mls"
)

// A Commit's command says which kinds of the room's policy the Commit changes, and no others; a change to what was there already is none.
func TestPolicyChanges(t *testing.T) {
	named := update(mimi.ComponentRoomMetadata, mimi.RoomMetaData{Name: "another"})
	for name, c := range map[string]struct {
		list []mls.Proposal
		want mimi.PolicyChange
	}{
		"nothing":          {nil, 0},
		"metadata":         {[]mls.Proposal{named}, mimi.CharacteristicsChanged},
		"preauthorization": {[]mls.Proposal{update(mimi.ComponentPreauthorization, mimi.PreAuthData{})}, mimi.PreauthorizationChanged},
		"who has a role":   {[]mls.Proposal{moved(placeDave, roleGuest)}, mimi.RolesChanged},
		"several":          {[]mls.Proposal{named, moved(placeDave, roleGuest)}, mimi.CharacteristicsChanged | mimi.RolesChanged},
	} {
		t.Run(name, func(t *testing.T) {
			m := newHouse().changes().granted(true, roleAdmin, mimi.CanChangeRoomName, mimi.CanChangeRoomSubject, mimi.CanChangeRoomDescription, mimi.CanChangeRoomAvatar,
				mimi.CanChangeRoomMood, mimi.CanChangePreauthorizedUserList, mimi.CanChangeUserRole).open(t)
			bundle := m.commit("alice1", len(c.list) == 0, inline(c.list...))
			if got := m.judged(m.store, "a.example", bundle).PolicyChanges; got != c.want {
				t.Errorf("changes %03b, not %03b", got, c.want)
			}
		})
	}
}
