package mimi

import (
	"parley/mls"
)

// The MIMI components of a group's app_data_dictionary (mimi-protocol-06 §10, room-policy-03 §10.1).
const (
	ComponentFrankAAD             mls.ComponentID = 0x0020 // only in authenticated data, never in a GroupContext
	ComponentFrankingAgent        mls.ComponentID = 0x0021
	ComponentParticipantList      mls.ComponentID = 0x0022
	ComponentRoomMetadata         mls.ComponentID = 0x0023
	ComponentMLSOperationalPolicy mls.ComponentID = 0x0024
	ComponentRoles                mls.ComponentID = 0x0025
	ComponentPreauthorization     mls.ComponentID = 0x0026
	ComponentBaseRoomPolicy       mls.ComponentID = 0x0027
	ComponentStatusNotification   mls.ComponentID = 0x0028
	ComponentJoinLinkPolicy       mls.ComponentID = 0x0029
	ComponentJoinLinks            mls.ComponentID = 0x002a
	ComponentLinkPreviewPolicy    mls.ComponentID = 0x002b
	ComponentAssetPolicy          mls.ComponentID = 0x002c
	ComponentLoggingPolicy        mls.ComponentID = 0x002d
	ComponentChatHistoryPolicy    mls.ComponentID = 0x002e
	ComponentBotPolicy            mls.ComponentID = 0x002f
	ComponentMessageExpiration    mls.ComponentID = 0x0030
)
