package judge

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// roomState is a room as a replica has it, with its group.
type roomState struct {
	fsm.Room
	group    *mls.PublicGroup
	settings fsm.Settings
	version  uint64 // of the settings
	now      uint64 // seconds since 1970, hub time as the replica knows it
}

// readState returns false where there is no such room.
func readState(replica fsm.Reader, uri mimi.RoomURI) (*roomState, bool, error) {
	room, found, err := fsm.ReadRoom(replica, uri)
	if err != nil || !found {
		return nil, false, err
	}
	s := &roomState{Room: room}
	if s.settings, s.version, err = fsm.ReadSettings(replica); err != nil {
		return nil, false, err
	}
	millis, err := fsm.ReadClock(replica)
	if err != nil {
		return nil, false, err
	}
	s.now = millis / 1000
	tree, err := readTree(replica, uri)
	if err != nil {
		return nil, false, err
	}
	s.group, err = mls.RestorePublicGroup(room.GroupContext, tree, room.InterimTranscriptHash)
	return s, err == nil, err
}

func readTree(replica fsm.Reader, room mimi.RoomURI) (*mls.RatchetTree, error) {
	nodes, found, err := fsm.ReadTree(replica, room)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("the room %s has no tree", room)
	}
	return mls.NewRatchetTree(nodes)
}

// participantsOf reads the participant list of a GroupContext.
func participantsOf(context mls.GroupContext) ([]fsm.Participant, error) {
	dictionary, err := context.Extensions.Dictionary()
	if err != nil {
		return nil, err
	}
	data, present := dictionary.Get(mimi.ComponentParticipantList)
	if !present {
		return nil, errors.New("the GroupContext has no participant_list")
	}
	list, err := mimi.ParseParticipantListData(data)
	if err != nil {
		return nil, err
	}
	participants := make([]fsm.Participant, 0, len(list.Participants))
	seen := make(map[mimi.UserURI]bool, len(list.Participants))
	for _, p := range list.Participants {
		if seen[p.User] {
			return nil, fmt.Errorf("%s is in the participant_list twice", p.User)
		}
		seen[p.User] = true
		participants = append(participants, fsm.Participant{User: p.User, Role: p.Role})
	}
	return participants, nil
}

// destinationsOf are the providers of participants, sorted and each once. The domains of the local provider are one
// destination, the first of them.
func destinationsOf(participants []fsm.Participant, settings fsm.Settings) []mimi.Provider {
	var all []mimi.Provider
	for _, p := range participants {
		provider := p.User.Provider()
		if slices.Contains(settings.Domains, provider) {
			provider = settings.Domains[0]
		}
		all = append(all, provider)
	}
	return union(all, nil)
}

func union(a, b []mimi.Provider) []mimi.Provider {
	all := append(slices.Clone(a), b...)
	slices.SortFunc(all, mimi.Provider.Compare)
	return slices.Compact(all)
}

// listsHub reports whether one of the group's external senders is this hub, so that it can propose removals.
func listsHub(context mls.GroupContext, settings fsm.Settings) (bool, error) {
	data, present := context.Extensions.Get(mls.ExtensionExternalSenders)
	if !present {
		return false, nil
	}
	senders, err := mls.ParseExternalSenders(data)
	if err != nil {
		return false, err
	}
	for _, sender := range senders {
		for _, key := range settings.HubKeys {
			if bytes.Equal(sender.SignatureKey, key) {
				return true, nil
			}
		}
	}
	return false, nil
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
