package judge

import (
	"bytes"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
	"parley/mls"
)

// roomState is a room as a replica has it, with its group.
type roomState struct {
	fsm.Room
	group    *mls.PublicGroup
	policy   *policy.Policy
	format   fsm.Format
	settings fsm.Settings
	version  uint64 // of the settings
	now      uint64 // seconds since 1970, hub time as the replica knows it
}

// readState reads a room for one Judge. Without such a room it refuses.
func readState(replica fsm.Reader, uri mimi.RoomURI) (*roomState, error) {
	room, found, err := fsm.ReadRoom(replica, uri)
	if err != nil {
		return nil, err
	}
	if !found || room.Status != fsm.RoomOpen {
		return nil, endedRoom(replica, uri)
	}
	s := &roomState{Room: room}
	if s.settings, s.version, err = fsm.ReadSettings(replica); err != nil {
		return nil, err
	}
	millis, err := fsm.ReadClock(replica)
	if err != nil {
		return nil, err
	}
	s.now = millis / 1000
	if s.group, err = readGroup(replica, room); err != nil {
		return nil, err
	}
	if s.format, err = fsm.ReadFormat(replica); err != nil {
		return nil, err
	}
	s.policy, err = s.policyOf(s.group.Context())
	return s, err
}

// readGroup is the room's group, from what is remembered or from the replica.
func readGroup(replica fsm.Reader, room fsm.Room) (*mls.PublicGroup, error) {
	groups, key := groupsOf(replica), GroupKey{room.GroupContextHash, string(room.InterimTranscriptHash)}
	if group, known := groups.Get(key); known {
		return group, nil
	}
	tree, err := readTree(replica, room.URI)
	if err != nil {
		return nil, err
	}
	group, err := mls.RestorePublicGroup(room.GroupContext, tree, room.InterimTranscriptHash)
	if err != nil {
		return nil, fmt.Errorf("the stored group of %s: %v", room.URI, err)
	}
	groups.Add(key, group)
	return group, nil
}

func readTree(replica fsm.Reader, room mimi.RoomURI) (*mls.RatchetTree, error) {
	nodes, found, err := fsm.ReadTree(replica, room)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("the room %s has no tree", room)
	}
	tree, err := mls.NewRatchetTree(nodes)
	if err != nil {
		return nil, fmt.Errorf("the stored tree of %s: %v", room, err)
	}
	return tree, nil
}

// participantsOf reads and checks the participant list of a GroupContext (mimi-protocol-06 §7.5).
func participantsOf(context mls.GroupContext) ([]fsm.Participant, error) {
	p, err := policy.ReadParticipants(context)
	if err != nil {
		return nil, objection(err)
	}
	return participantsIn(p), nil
}

func participantsIn(p *policy.Policy) []fsm.Participant {
	participants := make([]fsm.Participant, len(p.Participants()))
	for i, entry := range p.Participants() {
		participants[i] = fsm.Participant{User: entry.User, Role: entry.Role}
	}
	return participants
}

// destinationOf is where a provider's share goes. The domains of the local provider are one destination, the first of them.
func destinationOf(provider mimi.Provider, settings fsm.Settings) mimi.Provider {
	if slices.Contains(settings.Domains, provider) {
		return settings.Domains[0]
	}
	return provider
}

// destinationsOf are the providers of participants, sorted and each once.
func destinationsOf(participants []fsm.Participant, settings fsm.Settings) []mimi.Provider {
	all := make([]mimi.Provider, len(participants))
	for i, p := range participants {
		all[i] = destinationOf(p.User.Provider(), settings)
	}
	return union(all, nil)
}

func union(a, b []mimi.Provider) []mimi.Provider {
	all := append(slices.Clone(a), b...)
	slices.SortFunc(all, mimi.Provider.Compare)
	return slices.Compact(all)
}

// checkHubListed refuses extensions of a GroupContext without a key of this hub among the external senders, since the hub could
// not propose removals then (mimi-protocol-06 §7.4).
func checkHubListed(extensions mls.Extensions, settings fsm.Settings) error {
	data, _ := extensions.Get(mls.ExtensionExternalSenders)
	senders, err := mls.ParseExternalSenders(data)
	if data != nil && err != nil {
		return objection(err)
	}
	for _, sender := range senders {
		if slices.ContainsFunc(settings.HubKeys, func(key []byte) bool { return bytes.Equal(sender.SignatureKey, key) }) {
			return nil
		}
	}
	return deny("external_senders does not list a key of this hub")
}

// treeChanges puts changed nodes into the order of their indices.
func treeChanges(changed map[mls.NodeIndex][]byte) []fsm.TreeChange {
	changes := make([]fsm.TreeChange, 0, len(changed))
	for index, node := range changed {
		changes = append(changes, fsm.TreeChange{Index: uint32(index), Node: node})
	}
	slices.SortFunc(changes, func(a, b fsm.TreeChange) int { return int(a.Index) - int(b.Index) })
	return changes
}
