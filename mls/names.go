package mls

// Epoch is a group's MLS epoch (RFC 9420 §8), starting at 0. It is the only epoch in which a Commit can be accepted.
type Epoch uint64

// GroupID names a group for its whole life (RFC 9420 §8.1): opaque octets in a string, so that it can key a map. It need not
// be UTF-8, nor resemble the room's URI.
type GroupID string

// LeafIndex counts the leaves of a ratchet tree from the left, blank ones included (RFC 9420 §4.1).
type LeafIndex uint32

// KeyPackageRef is the hash of a KeyPackage's encoding (RFC 9420 §5.2): raw octets in a string, so that it can key a map.
type KeyPackageRef string

// ProposalRef is the hash of a Proposal's AuthenticatedContent (RFC 9420 §5.2): raw octets in a string, so that it can key a map.
type ProposalRef string

// Version is a ProtocolVersion (RFC 9420 §6); this package reads MLS10 alone.
type Version uint16

const MLS10 Version = 1

// WireFormat selects the body of an MLSMessage (RFC 9420 §6, §17.2).
type WireFormat uint16

const (
	WirePublicMessage  WireFormat = 1
	WirePrivateMessage WireFormat = 2
	WireWelcome        WireFormat = 3
	WireGroupInfo      WireFormat = 4
	WireKeyPackage     WireFormat = 5
)

// ContentType says what a framed message carries (RFC 9420 §6).
type ContentType uint8

const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

// CipherSuite names the algorithms of a group (RFC 9420 §17.1). Suite holds what can be computed with it.
type CipherSuite uint16

// ExtensionType names an extension (RFC 9420 §17.3). Unknown ones are carried, never interpreted.
type ExtensionType uint16

const (
	ExtensionApplicationID        ExtensionType = 0x0001
	ExtensionRatchetTree          ExtensionType = 0x0002
	ExtensionRequiredCapabilities ExtensionType = 0x0003
	ExtensionExternalPub          ExtensionType = 0x0004
	ExtensionExternalSenders      ExtensionType = 0x0005
	// ExtensionAppDataDictionary and the two after it are of draft-ietf-mls-extensions.
	ExtensionAppDataDictionary   ExtensionType = 0x0006
	ExtensionSupportedWireFormat ExtensionType = 0x0007
	ExtensionRequiredWireFormat  ExtensionType = 0x0008
	// ExtensionLastResort is the older mark of a last-resort KeyPackage; the component ComponentLastResort replaced it.
	ExtensionLastResort ExtensionType = 0x000a
)

// ProposalType names a kind of Proposal (RFC 9420 §17.4).
type ProposalType uint16

const (
	ProposalAdd                    ProposalType = 0x0001
	ProposalUpdate                 ProposalType = 0x0002
	ProposalRemove                 ProposalType = 0x0003
	ProposalPreSharedKey           ProposalType = 0x0004
	ProposalReInit                 ProposalType = 0x0005
	ProposalExternalInit           ProposalType = 0x0006
	ProposalGroupContextExtensions ProposalType = 0x0007
	// ProposalAppDataUpdate and the two after it are of draft-ietf-mls-extensions.
	ProposalAppDataUpdate ProposalType = 0x0008
	ProposalAppEphemeral  ProposalType = 0x0009
	ProposalSelfRemove    ProposalType = 0x000a
)

// CredentialType names a kind of Credential (RFC 9420 §17.5).
type CredentialType uint16

const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// ComponentID names an application component (mls-extensions, app_data_dictionary).
type ComponentID uint16

const (
	// ComponentAppComponents lists the supported, or required, components (mls-extensions).
	ComponentAppComponents ComponentID = 1
	// ComponentSafeAAD lists the components of which authenticated data may be sent; in the GroupContext it turns SafeAAD on.
	ComponentSafeAAD ComponentID = 2
	// ComponentLastResort in a KeyPackage's dictionary marks a KeyPackage of last resort; its data is empty.
	ComponentLastResort ComponentID = 4
	// ComponentAppAck is of AppEphemerals that carry an AppAck.
	ComponentAppAck ComponentID = 5
)
