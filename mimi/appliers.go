package mimi

import (
	"fmt"

	"parley/mls"
)

// ComponentAppliers are the appliers of the components that a MIMI room's GroupContext may have. A component that is not among
// them, such as frank_aad, cannot be updated. Their errors are *mls.MalformedError or *mls.InvalidError, and they leave their
// arguments alone. The map is the caller's; the appliers are pure and may run concurrently.
func ComponentAppliers() map[mls.ComponentID]mls.ComponentApplier {
	return map[mls.ComponentID]mls.ComponentApplier{
		ComponentParticipantList:      applyParticipantList,
		ComponentJoinLinks:            applyJoinLinks,
		ComponentRoles:                replaceWith(ComponentRoles, checkedBy(ParseRoleData)),
		ComponentRoomMetadata:         replaceWith(ComponentRoomMetadata, checkedBy(ParseRoomMetaData)),
		ComponentMLSOperationalPolicy: replaceWith(ComponentMLSOperationalPolicy, checkedBy(ParseOperationalParameters)),
		ComponentPreauthorization:     replaceWith(ComponentPreauthorization, checkedBy(ParsePreAuthData)),
		ComponentBaseRoomPolicy:       replaceWith(ComponentBaseRoomPolicy, checkedBy(ParseBaseRoomPolicy)),
		ComponentFrankingAgent:        replaceWith(ComponentFrankingAgent, checkedBy(parseFrankingAgent)),
		ComponentStatusNotification:   replaceWith(ComponentStatusNotification, checkedBy(ParseStatusNotificationPolicy)),
		ComponentJoinLinkPolicy:       replaceWith(ComponentJoinLinkPolicy, checkedBy(ParseJoinLinkPolicy)),
		ComponentLinkPreviewPolicy:    replaceWith(ComponentLinkPreviewPolicy, checkedBy(ParseLinkPreviewPolicy)),
		ComponentAssetPolicy:          replaceWith(ComponentAssetPolicy, checkedBy(ParseAssetPolicy)),
		ComponentLoggingPolicy:        replaceWith(ComponentLoggingPolicy, checkedBy(ParseLoggingPolicy)),
		ComponentChatHistoryPolicy:    replaceWith(ComponentChatHistoryPolicy, checkedBy(ParseHistoryPolicy)),
		ComponentBotPolicy:            replaceWith(ComponentBotPolicy, checkedBy(ParseBotPolicy)),
		ComponentMessageExpiration:    replaceWith(ComponentMessageExpiration, checkedBy(ParseMessageExpiration)),
	}
}

// parseFrankingAgent reads FrankingAgentData, which has the form of an ExternalSender (mimi-protocol-06 §5.4.1).
func parseFrankingAgent(b []byte) (mls.ExternalSender, error) {
	return mls.Parse("FrankingAgentData", b, mls.ReadExternalSender)
}

func checkedBy[T any](parse func([]byte) (T, error)) func([]byte) error {
	return func(data []byte) error {
		_, err := parse(data)
		return err
	}
}

// replaceWith is the applier of a component whose update is its new data. A second update in one Commit would undo the first,
// so it is refused.
func replaceWith(id mls.ComponentID, check func(data []byte) error) mls.ComponentApplier {
	return func(_ []byte, updates [][]byte) ([]byte, error) {
		if len(updates) != 1 {
			return nil, &mls.InvalidError{
				Section: "mimi-protocol-06 §7.6, room-policy-03",
				Reason:  fmt.Sprintf("%d updates of component 0x%04x in one Commit", len(updates), uint16(id)),
			}
		}
		if err := check(updates[0]); err != nil {
			return nil, err
		}
		return updates[0], nil
	}
}

func applyParticipantList(current []byte, updates [][]byte) ([]byte, error) {
	list, err := parsePresent(current, ParseParticipantListData)
	if err != nil {
		return nil, err
	}
	parsed, err := parseEach(updates, ParseParticipantListUpdate)
	if err != nil {
		return nil, err
	}
	result, err := ApplyAll(list, parsed)
	if err != nil {
		return nil, err
	}
	return result.Marshal(), nil
}

func applyJoinLinks(current []byte, updates [][]byte) ([]byte, error) {
	links, err := parsePresent(current, ParseJoinLinks)
	if err != nil {
		return nil, err
	}
	parsed, err := parseEach(updates, ParseJoinLinksUpdate)
	if err != nil {
		return nil, err
	}
	result, err := ApplyJoinLinks(links, parsed)
	if err != nil {
		return nil, err
	}
	return result.Marshal(), nil
}

// parsePresent parses a component's data; absent data are the zero value.
func parsePresent[T any](data []byte, parse func([]byte) (T, error)) (T, error) {
	var none T
	if data == nil {
		return none, nil
	}
	return parse(data)
}

func parseEach[T any](inputs [][]byte, parse func([]byte) (T, error)) ([]T, error) {
	values := make([]T, len(inputs))
	for i, input := range inputs {
		v, err := parse(input)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}
