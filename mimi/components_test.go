package mimi

import (
	"bytes"
	"errors"
	"testing"

	"parley/mls"
)

var (
	sampleCathy = mustUser("mimi://c.example/u/cathy")
	sampleDiana = mustUser("mimi://d.example/u/diana")
	sampleEric  = mustUser("mimi://e.example/u/eric")
)

func listOf(pairs ...UserRolePair) ParticipantListData { return ParticipantListData{pairs} }

func member(user UserURI, role uint32) UserRolePair { return UserRolePair{User: user, Role: role} }

func TestApplyParticipantListUpdates(t *testing.T) {
	current := listOf(member(sampleAlice, 4), member(sampleBob, 2), member(sampleCathy, 2))
	for name, c := range map[string]struct {
		updates []ParticipantListUpdate
		want    ParticipantListData
	}{
		"nothing": {nil, current},
		"figure 9": {[]ParticipantListUpdate{{
			ChangedRoles: []UserIndexRolePair{{2, 1}}, Removed: []uint32{1},
			Added: []UserRolePair{member(sampleDiana, 4), member(sampleEric, 3)},
		}}, listOf(member(sampleAlice, 4), member(sampleCathy, 1), member(sampleDiana, 4), member(sampleEric, 3))},
		"indices are the epoch's": {[]ParticipantListUpdate{
			{Removed: []uint32{0}, Added: []UserRolePair{member(sampleDiana, 2)}},
			{ChangedRoles: []UserIndexRolePair{{2, 3}}, Added: []UserRolePair{member(sampleEric, 2)}},
		}, listOf(member(sampleBob, 2), member(sampleCathy, 3), member(sampleDiana, 2), member(sampleEric, 2))},
		"all go": {[]ParticipantListUpdate{{Removed: []uint32{2, 0, 1}}}, ParticipantListData{}},
	} {
		got, err := ApplyAll(current, c.updates)
		if err != nil || !bytes.Equal(got.Marshal(), c.want.Marshal()) {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
	if current.Participants[2].Role != 2 || len(current.Participants) != 3 {
		t.Errorf("the current list was changed: %v", current)
	}
}

func TestInvalidParticipantListUpdates(t *testing.T) {
	current := listOf(member(sampleAlice, 4), member(sampleBob, 2))
	for name, updates := range map[string][]ParticipantListUpdate{
		"change out of range":      {{ChangedRoles: []UserIndexRolePair{{2, 1}}}},
		"removal out of range":     {{Removed: []uint32{1<<32 - 1}}},
		"changed twice":            {{ChangedRoles: []UserIndexRolePair{{1, 1}, {1, 3}}}},
		"removed twice":            {{Removed: []uint32{1, 1}}},
		"changed and removed":      {{ChangedRoles: []UserIndexRolePair{{1, 1}}, Removed: []uint32{1}}},
		"removed by two updates":   {{Removed: []uint32{1}}, {Removed: []uint32{1}}},
		"changed by two updates":   {{ChangedRoles: []UserIndexRolePair{{1, 1}}}, {ChangedRoles: []UserIndexRolePair{{1, 1}}}},
		"existing user added":      {{Added: []UserRolePair{member(sampleBob, 2)}}},
		"removed and added":        {{Removed: []uint32{1}, Added: []UserRolePair{member(sampleBob, 2)}}},
		"added twice":              {{Added: []UserRolePair{member(sampleCathy, 2), member(sampleCathy, 3)}}},
		"added by two updates":     {{Added: []UserRolePair{member(sampleCathy, 2)}}, {Added: []UserRolePair{member(sampleCathy, 2)}}},
		"role 0 by change":         {{ChangedRoles: []UserIndexRolePair{{1, 0}}}},
		"role 0 by addition":       {{Added: []UserRolePair{member(sampleCathy, 0)}}},
		"index of an added user":   {{Added: []UserRolePair{member(sampleCathy, 2)}, Removed: []uint32{2}}},
		"other spelling of a user": {{Added: []UserRolePair{{User: sampleBob, Role: 2, userSpelling: "MIMI://b.example/u/bob"}}}},
	} {
		var invalid *mls.InvalidError
		if got, err := ApplyAll(current, updates); !errors.As(err, &invalid) || got.Participants != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestApplyOne(t *testing.T) {
	got, err := ParticipantListUpdate{Added: []UserRolePair{member(sampleBob, 2)}}.Apply(ParticipantListData{})
	if err != nil || len(got.Participants) != 1 {
		t.Error(got, err)
	}
}

func TestComponentAppliers(t *testing.T) {
	appliers := ComponentAppliers()
	if _, exists := appliers[ComponentFrankAAD]; exists {
		t.Error("frank_aad never stands in a GroupContext")
	}
	list := listOf(member(sampleAlice, 4)).Marshal()
	add := ParticipantListUpdate{Added: []UserRolePair{member(sampleBob, 2)}}.Marshal()
	roles := RoleData{[]Role{sampleRole()}}.Marshal()
	links := JoinLinks{[]byte("a"), []byte("b")}.Marshal()
	agent := mls.ExternalSender{SignatureKey: opaque(1, 32), Credential: sampleCredential}.Marshal()
	for name, c := range map[string]struct {
		id      mls.ComponentID
		current []byte
		updates [][]byte
		want    []byte
	}{
		"participants":         {ComponentParticipantList, list, [][]byte{add}, listOf(member(sampleAlice, 4), member(sampleBob, 2)).Marshal()},
		"first participants":   {ComponentParticipantList, nil, [][]byte{add}, listOf(member(sampleBob, 2)).Marshal()},
		"roles":                {ComponentRoles, []byte{0}, [][]byte{roles}, roles},
		"metadata":             {ComponentRoomMetadata, nil, [][]byte{RoomMetaData{Name: "x"}.Marshal()}, RoomMetaData{Name: "x"}.Marshal()},
		"franking agent":       {ComponentFrankingAgent, nil, [][]byte{agent}, agent},
		"bots":                 {ComponentBotPolicy, []byte("old"), [][]byte{{0}}, []byte{0}},
		"operational policy":   {ComponentMLSOperationalPolicy, nil, [][]byte{sampleOperational().Marshal()}, sampleOperational().Marshal()},
		"preauthorization":     {ComponentPreauthorization, nil, [][]byte{samplePreAuth().Marshal()}, samplePreAuth().Marshal()},
		"base policy":          {ComponentBaseRoomPolicy, []byte("old"), [][]byte{BaseRoomPolicy{MultiDevice: true}.Marshal()}, BaseRoomPolicy{MultiDevice: true}.Marshal()},
		"last known":           {ComponentMessageExpiration, nil, [][]byte{{2}}, []byte{2}},
		"join links, in turns": {ComponentJoinLinks, links, [][]byte{JoinLinksUpdate{Removed: []uint32{0}, Added: JoinLinks{[]byte("c")}}.Marshal(), JoinLinksUpdate{Removed: []uint32{1}}.Marshal()}, JoinLinks{[]byte("c")}.Marshal()},
	} {
		got, err := appliers[c.id](c.current, c.updates)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("%s: %x, %v; want %x", name, got, err, c.want)
		}
	}
	for name, c := range map[string]struct {
		id      mls.ComponentID
		current []byte
		updates [][]byte
	}{
		"bad list":             {ComponentParticipantList, []byte{9}, [][]byte{add}},
		"bad update":           {ComponentParticipantList, list, [][]byte{{1}}},
		"invalid update":       {ComponentParticipantList, list, [][]byte{add, add}},
		"bad roles":            {ComponentRoles, nil, [][]byte{{7}}},
		"two metadata updates": {ComponentRoomMetadata, nil, [][]byte{RoomMetaData{}.Marshal(), RoomMetaData{}.Marshal()}},
		"bad operational":      {ComponentMLSOperationalPolicy, nil, [][]byte{{}}},
		"bad preauthorization": {ComponentPreauthorization, nil, [][]byte{{1}}},
		"bad base policy":      {ComponentBaseRoomPolicy, nil, [][]byte{{0}}},
		"bad agent":            {ComponentFrankingAgent, nil, [][]byte{{}}},
		"two asset updates":    {ComponentAssetPolicy, nil, [][]byte{sampleAssets().Marshal(), sampleAssets().Marshal()}},
		"bad status":           {ComponentStatusNotification, nil, [][]byte{{3, 0}}},
		"bad link policy":      {ComponentJoinLinkPolicy, nil, [][]byte{{}}},
		"bad previews":         {ComponentLinkPreviewPolicy, nil, [][]byte{{0}}},
		"bad assets":           {ComponentAssetPolicy, nil, [][]byte{{1}}},
		"bad logging":          {ComponentLoggingPolicy, nil, [][]byte{{9}}},
		"bad history":          {ComponentChatHistoryPolicy, nil, [][]byte{{0}}},
		"bad bots":             {ComponentBotPolicy, nil, [][]byte{{4}}},
		"bad expiration":       {ComponentMessageExpiration, nil, [][]byte{{1}}},
		"link removed twice":   {ComponentJoinLinks, links, [][]byte{JoinLinksUpdate{Removed: []uint32{1, 1}}.Marshal()}},
		"no such link":         {ComponentJoinLinks, links, [][]byte{JoinLinksUpdate{Removed: []uint32{2}}.Marshal()}},
		"bad links":            {ComponentJoinLinks, []byte{5}, [][]byte{JoinLinksUpdate{}.Marshal()}},
		"bad link update":      {ComponentJoinLinks, links, [][]byte{{}}},
	} {
		if got, err := appliers[c.id](c.current, c.updates); err == nil || got != nil {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

func TestRoles(t *testing.T) {
	data := must(ParseRoleData(RoleData{[]Role{{Index: 9}, sampleRole()}}.Marshal()))
	role, found := data.Find(3)
	if !found || !role.Can(CanBan) || role.Can(CanUnBan) || !role.Can(0xf123) {
		t.Errorf("%v, %v", role, found)
	}
	if _, found := data.Find(4); found {
		t.Error("role 4 is not defined")
	}
	for _, c := range []struct {
		from, to uint32
		want     bool
	}{{RoleNone, 2, true}, {2, 1, true}, {2, 3, true}, {1, 2, false}, {RoleNone, 3, false}} {
		if got := role.MayChange(c.from, c.to); got != c.want {
			t.Errorf("change from %d to %d: %v", c.from, c.to, got)
		}
	}
	if role.Participants.Max == nil || *role.Participants.Max != 5 || role.Active.Max != nil {
		t.Errorf("bounds %v, %v", role.Participants, role.Active)
	}
}

func TestValidateParticipantList(t *testing.T) {
	if err := listOf(member(sampleAlice, 4), member(sampleBob, 1)).Validate(); err != nil {
		t.Error(err)
	}
	for name, list := range map[string]ParticipantListData{
		"twice":  listOf(member(sampleAlice, 4), member(sampleAlice, 3)),
		"role 0": listOf(member(sampleAlice, 0)),
	} {
		var invalid *mls.InvalidError
		if err := list.Validate(); !errors.As(err, &invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
