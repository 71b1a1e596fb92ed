package inspect

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// code is a number of one of the registries of RFC 9420 §17, with its name.
type code struct {
	Code uint16 `json:"code"`
	Name string `json:"name,omitempty"`
}

func (c code) String() string {
	if c.Name == "" {
		return fmt.Sprintf("0x%04x", c.Code)
	}
	return fmt.Sprintf("%s (0x%04x)", c.Name, c.Code)
}

// named finds a code's name; values that are reserved so that nobody relies on knowing them all are GREASE (RFC 9420 §13.5).
func named[T ~uint16](names map[T]string, v T) code {
	c := code{Code: uint16(v), Name: names[v]}
	if c.Name == "" && v&0x0f0f == 0x0a0a && v>>8 == v&0xff {
		c.Name = "GREASE"
	}
	return c
}

func namedAll[T ~uint16](names map[T]string, values []T) []code {
	list := make([]code, len(values))
	for i, v := range values {
		list[i] = named(names, v)
	}
	return list
}

var suiteNames = map[mls.CipherSuite]string{
	1: "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
	2: "MLS_128_DHKEMP256_AES128GCM_SHA256_P256",
	3: "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
	4: "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448",
	5: "MLS_256_DHKEMP521_AES256GCM_SHA512_P521",
	6: "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
	7: "MLS_256_DHKEMP384_AES256GCM_SHA384_P384",
}

// SuiteName is a cipher suite's name and number.
func SuiteName(id mls.CipherSuite) string { return named(suiteNames, id).String() }

var versionNames = map[mls.Version]string{mls.MLS10: "mls10"}

var wireFormatNames = map[mls.WireFormat]string{
	mls.WirePublicMessage:  "mls_public_message",
	mls.WirePrivateMessage: "mls_private_message",
	mls.WireWelcome:        "mls_welcome",
	mls.WireGroupInfo:      "mls_group_info",
	mls.WireKeyPackage:     "mls_key_package",
}

var extensionNames = map[mls.ExtensionType]string{
	mls.ExtensionApplicationID:        "application_id",
	mls.ExtensionRatchetTree:          "ratchet_tree",
	mls.ExtensionRequiredCapabilities: "required_capabilities",
	mls.ExtensionExternalPub:          "external_pub",
	mls.ExtensionExternalSenders:      "external_senders",
	mls.ExtensionAppDataDictionary:    "app_data_dictionary",
	mls.ExtensionSupportedWireFormat:  "supported_wire_formats",
	mls.ExtensionRequiredWireFormat:   "required_wire_formats",
	mls.ExtensionLastResort:           "last_resort",
}

var proposalNames = map[mls.ProposalType]string{
	mls.ProposalAdd:                    "add",
	mls.ProposalUpdate:                 "update",
	mls.ProposalRemove:                 "remove",
	mls.ProposalPreSharedKey:           "psk",
	mls.ProposalReInit:                 "reinit",
	mls.ProposalExternalInit:           "external_init",
	mls.ProposalGroupContextExtensions: "group_context_extensions",
	mls.ProposalAppDataUpdate:          "app_data_update",
	mls.ProposalAppEphemeral:           "app_ephemeral",
	mls.ProposalSelfRemove:             "self_remove",
}

// ProposalName is the name of a kind of Proposal, with its number.
func ProposalName(t mls.ProposalType) string { return named(proposalNames, t).String() }

var credentialNames = map[mls.CredentialType]string{mls.CredentialBasic: "basic", mls.CredentialX509: "x509"}

var componentNames = map[mls.ComponentID]string{
	mls.ComponentAppComponents:         "app_components",
	mls.ComponentSafeAAD:               "safe_aad",
	mls.ComponentLastResort:            "last_resort_key_package",
	mimi.ComponentFrankAAD:             "frank_aad",
	mimi.ComponentFrankingAgent:        "franking_agent",
	mimi.ComponentParticipantList:      "participant_list",
	mimi.ComponentRoomMetadata:         "room_metadata",
	mimi.ComponentMLSOperationalPolicy: "mls_operational_policy",
	mimi.ComponentRoles:                "roles",
	mimi.ComponentPreauthorization:     "preauthorization",
	mimi.ComponentBaseRoomPolicy:       "base_room_policy",
	mimi.ComponentStatusNotification:   "status_notification",
	mimi.ComponentJoinLinkPolicy:       "join_link_policy",
	mimi.ComponentJoinLinks:            "join_links",
	mimi.ComponentLinkPreviewPolicy:    "link_preview_policy",
	mimi.ComponentAssetPolicy:          "asset_policy",
	mimi.ComponentLoggingPolicy:        "logging_policy",
	mimi.ComponentChatHistoryPolicy:    "chat_history_policy",
	mimi.ComponentBotPolicy:            "bot_policy",
	mimi.ComponentMessageExpiration:    "message_expiration",
}

var contentNames = map[mls.ContentType]string{
	mls.ContentApplication: "application", mls.ContentProposal: "proposal", mls.ContentCommit: "commit",
}

// ContentName is what a framed message carries, in a word.
func ContentName(t mls.ContentType) string { return contentNames[t] }

// SenderName says who sent a framed message.
func SenderName(s mls.Sender) string {
	kind, number, _ := senderParts(s)
	switch s.(type) {
	case mls.MemberSender:
		return fmt.Sprintf("%s, leaf %d", kind, number)
	case mls.ExternalSenderIndex:
		return fmt.Sprintf("%s sender %d", kind, number)
	default:
		return kind
	}
}

// senderParts is a Sender's type, by its name in RFC 9420 §6, and its number: a leaf, or an index into external_senders.
func senderParts(s mls.Sender) (kind string, number uint32, numbered bool) {
	switch s := s.(type) {
	case mls.MemberSender:
		return "member", uint32(s.Leaf), true
	case mls.ExternalSenderIndex:
		return "external", uint32(s), true
	case mls.NewMemberProposal:
		return "new_member_proposal", 0, false
	case mls.NewMemberCommit:
		return "new_member_commit", 0, false
	default:
		panic(fmt.Sprintf("inspect: %T is no sender", s))
	}
}

// ExtensionName is an extension's name and number.
func ExtensionName(t mls.ExtensionType) string { return named(extensionNames, t).String() }
