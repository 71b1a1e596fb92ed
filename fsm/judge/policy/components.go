package policy

import (
	"bytes"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// checkComponent is for an update of the room's policy, or of what is shown of the room. Which capability it takes stands in
// docs/policy.md; the reserved ones of room-policy-03 §8.7 are required where no other would guard a component.
func (p *Policy) checkComponent(a Actor, update mls.AppDataUpdate) error {
	switch update.Component {
	case mimi.ComponentParticipantList:
		return p.checkList(a, update.Operation)
	case mimi.ComponentRoomMetadata:
		return p.checkMetadata(a, update.Operation)
	case mimi.ComponentRoles:
		return p.may(a, mimi.CanChangeRoleDefinitions)
	case mimi.ComponentPreauthorization:
		return p.may(a, mimi.CanChangePreauthorizedUserList)
	case mimi.ComponentBaseRoomPolicy:
		return p.may(a, mimi.CanChangeRoomMembershipStyle)
	case mimi.ComponentMLSOperationalPolicy:
		return p.may(a, mimi.CanChangeMlsOperationalPolicies)
	case mimi.ComponentJoinLinks:
		return p.checkJoinLinks(a, update.Operation)
	default:
		return p.may(a, mimi.CanChangeOtherPolicyAttribute)
	}
}

// checkJoinLinks lets who may create or delete joining codes change the links that carry them.
func (p *Policy) checkJoinLinks(a Actor, operation mls.AppDataOperation) error {
	content, update := operation.(mls.ComponentUpdate)
	if a.can(mimi.CanChangeOtherPolicyAttribute) || !update {
		return p.may(a, mimi.CanChangeOtherPolicyAttribute)
	}
	links, err := mimi.ParseJoinLinksUpdate(content.Update)
	switch {
	case err != nil:
		return err
	case len(links.Added) > 0:
		err = p.may(a, mimi.CanCreateJoinCode)
	}
	if err == nil && len(links.Removed) > 0 {
		err = p.may(a, mimi.CanDeleteJoinCode)
	}
	return err
}

// checkMetadata demands the capability of each field that changes (room-policy-03 §8.2). No capability is for room_uri, which stays.
func (p *Policy) checkMetadata(a Actor, operation mls.AppDataOperation) error {
	if !p.hasRoles {
		return nil
	}
	before, known := component(p.dictionary, mimi.ComponentRoomMetadata, mimi.ParseRoomMetaData)
	var after mimi.RoomMetaData
	if content, update := operation.(mls.ComponentUpdate); update {
		var err error
		if after, err = mimi.ParseRoomMetaData(content.Update); err != nil {
			return err
		}
	}
	if known && before.URI != "" && before.URI != after.URI {
		return refuse("room_uri stays as it is")
	}
	for _, field := range []struct {
		changes bool
		needs   mimi.Capability
	}{
		{before.Name != after.Name, mimi.CanChangeRoomName},
		{!sameDescriptions(before, after), mimi.CanChangeRoomDescription},
		{before.Avatar != after.Avatar, mimi.CanChangeRoomAvatar},
		{before.Subject != after.Subject, mimi.CanChangeRoomSubject},
		{before.Mood != after.Mood, mimi.CanChangeRoomMood},
	} {
		if field.changes {
			if err := p.may(a, field.needs); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameDescriptions(a, b mimi.RoomMetaData) bool {
	return slices.EqualFunc(a.Descriptions, b.Descriptions, func(x, y mimi.RichDescription) bool {
		return x.MediaType == y.MediaType && x.Language == y.Language && bytes.Equal(x.Content, y.Content)
	})
}
