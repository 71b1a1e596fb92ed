package mimi

import (
	"fmt"

	"parley/mls"
)

// OperationalParameters is the data of the mls_operational_policy component, and its update, which replaces it (room-policy-03 §7).
// Times are in seconds where the draft does not say otherwise.
//
//	struct {
//	    ExtendedCapabilities mandatory_capabilities;
//	    ExtendedCapabilities default_capabilities;
//	    ExtendedCapabilities forbidden_capabilities;
//	    WireFormats handshake_formats<V>;
//	    bool external_proposal_allowed;
//	    bool external_commit_allowed;
//	    PendingProposalPolicy pending_proposal_policy;
//	    MinDefaultMaxTime LeafNode_update_time;
//	    AppMessagePolicy app_message_policy;
//	    uint64 max_kp_lifetime;
//	    uint64 max_credential_lifetime;
//	    uint64 resumption_psk_lifetime;
//	    MinDefaultMaxTime sender_nonce_keypair_lifetime;
//	    uint32 max_keypairs;
//	    MinDefaultMaxTime buffer_incoming_message_time;
//	    uint32 max_buffered_messages;
//	} OperationalParameters;
type OperationalParameters struct {
	Mandatory, Default, Forbidden ExtendedCapabilities
	HandshakeFormats              []mls.WireFormats
	ExternalProposals             bool
	ExternalCommits               bool
	Pending                       PendingProposalPolicy
	LeafUpdateTime                MinDefaultMaxTime
	Messages                      AppMessagePolicy
	KeyPackageLifetimeMax         uint64 // 0: no limit
	CredentialLifetimeMax         uint64
	ResumptionPSKLifetime         uint64
	SenderKeyLifetime             MinDefaultMaxTime
	KeyPairsMax                   uint32
	BufferTime                    MinDefaultMaxTime
	BufferedMessagesMax           uint32
}

// ExtendedCapabilities are things that a client may support, beyond those of a leaf (room-policy-03 §7.1). WireFormats is a vector
// of vectors, as the draft has it.
//
//	struct {
//	    ProtocolVersion versions<V>;
//	    CipherSuite cipher_suites<V>;
//	    ExtensionType extensions<V>;
//	    ProposalType proposals<V>;
//	    CredentialType credentials<V>;
//	    WireFormats wire_formats<V>;
//	    ComponentID component_ids<V>;
//	    ComponentID safe_aad_types<V>;
//	    MediaType media_types<V>;
//	    ContentType content_types<V>; // uint8, RFC 9420 §6
//	} ExtendedCapabilities;
type ExtendedCapabilities struct {
	Leaf         mls.Capabilities // the first five
	WireFormats  []mls.WireFormats
	Components   []mls.ComponentID
	SafeAAD      []mls.ComponentID
	MediaTypes   []ContentMediaType
	ContentTypes []mls.ContentType
}

// ContentMediaType is an IANA media type with its parameters (mls-extensions, Content Advertisement).
//
//	struct {
//	    opaque type<V>;
//	    Parameter parameters<V>; // opaque parameter_name<V>, opaque parameter_value<V>
//	} MediaType;
type ContentMediaType struct {
	Type       string
	Parameters []MediaTypeParameter
}

// MediaTypeParameter is one parameter of a media type, its value without quotation marks.
type MediaTypeParameter struct{ Name, Value string }

// PendingProposalStrategy is when members are to commit Proposals that wait (room-policy-03 §7.1).
type PendingProposalStrategy uint8

const (
	PendingUnspecified PendingProposalStrategy = 0
	PendingImmediate   PendingProposalStrategy = 1
	PendingRandomDelay PendingProposalStrategy = 2
)

// PendingProposalPolicy is a strategy with its parameters. The draft's case `extension` has no value, so it cannot be read.
//
//	struct {
//	    PendingProposalStrategy pending_proposal_strategy;
//	    select (pending_proposal_strategy) {
//	        case unspecified:      struct {};
//	        case immediate_commit: struct {};
//	        case random_delay:
//	            uint64 minimum_delay_ms;
//	            uint64 maximum_delay_ms;
//	    };
//	} PendingProposalPolicy;
type PendingProposalPolicy struct {
	Strategy       PendingProposalStrategy
	MinDelayMillis uint64 // of PendingRandomDelay, as the next
	MaxDelayMillis uint64
}

// MinDefaultMaxTime bounds a time and suggests one.
//
//	struct {
//	    uint64 minimum_time;
//	    uint64 default_time;
//	    uint64 maximum_time;
//	} MinDefaultMaxTime;
type MinDefaultMaxTime struct{ Min, Default, Max uint64 }

// AppMessagePolicy is about application messages.
//
//	struct {
//	    uint8  epoch_tolerance;
//	    uint16 pad_to_size;
//	    uint32 max_generations_skipahead;
//	} AppMessagePolicy;
type AppMessagePolicy struct {
	EpochTolerance  uint8 // messages of this many older epochs are taken
	PadToSize       uint16
	SkipGenerations uint32
}

func ReadOperationalParameters(r *mls.Reader) OperationalParameters {
	return OperationalParameters{
		Mandatory:             mls.ReadIn(r, "mandatory_capabilities", ReadExtendedCapabilities),
		Default:               mls.ReadIn(r, "default_capabilities", ReadExtendedCapabilities),
		Forbidden:             mls.ReadIn(r, "forbidden_capabilities", ReadExtendedCapabilities),
		HandshakeFormats:      mls.ReadList(r, "handshake_formats", mls.ReadWireFormats),
		ExternalProposals:     r.Bool("external_proposal_allowed"),
		ExternalCommits:       r.Bool("external_commit_allowed"),
		Pending:               mls.ReadIn(r, "pending_proposal_policy", readPendingPolicy),
		LeafUpdateTime:        mls.ReadIn(r, "LeafNode_update_time", readTimes),
		Messages:              mls.ReadIn(r, "app_message_policy", readMessagePolicy),
		KeyPackageLifetimeMax: r.Uint64("max_kp_lifetime"),
		CredentialLifetimeMax: r.Uint64("max_credential_lifetime"),
		ResumptionPSKLifetime: r.Uint64("resumption_psk_lifetime"),
		SenderKeyLifetime:     mls.ReadIn(r, "sender_nonce_keypair_lifetime", readTimes),
		KeyPairsMax:           r.Uint32("max_keypairs"),
		BufferTime:            mls.ReadIn(r, "buffer_incoming_message_time", readTimes),
		BufferedMessagesMax:   r.Uint32("max_buffered_messages"),
	}
}

func ParseOperationalParameters(b []byte) (OperationalParameters, error) {
	return mls.Parse("OperationalParameters", b, ReadOperationalParameters)
}

func (p OperationalParameters) AppendTo(w *mls.Writer) {
	p.Mandatory.AppendTo(w)
	p.Default.AppendTo(w)
	p.Forbidden.AppendTo(w)
	mls.AppendList(w, p.HandshakeFormats)
	w.Bool(p.ExternalProposals)
	w.Bool(p.ExternalCommits)
	p.Pending.appendTo(w)
	p.LeafUpdateTime.appendTo(w)
	w.Uint8(p.Messages.EpochTolerance)
	w.Uint16(p.Messages.PadToSize)
	w.Uint32(p.Messages.SkipGenerations)
	w.Uint64(p.KeyPackageLifetimeMax)
	w.Uint64(p.CredentialLifetimeMax)
	w.Uint64(p.ResumptionPSKLifetime)
	p.SenderKeyLifetime.appendTo(w)
	w.Uint32(p.KeyPairsMax)
	p.BufferTime.appendTo(w)
	w.Uint32(p.BufferedMessagesMax)
}

func (p OperationalParameters) Marshal() []byte { return marshal(p) }

func ReadExtendedCapabilities(r *mls.Reader) ExtendedCapabilities {
	return ExtendedCapabilities{
		Leaf:         mls.ReadCapabilities(r),
		WireFormats:  mls.ReadList(r, "wire_formats", mls.ReadWireFormats),
		Components:   readComponents(r, "component_ids"),
		SafeAAD:      readComponents(r, "safe_aad_types"),
		MediaTypes:   mls.ReadList(r, "media_types", ReadContentMediaType),
		ContentTypes: mls.ReadList(r, "content_types", func(r *mls.Reader) mls.ContentType { return mls.ContentType(r.Uint8("")) }),
	}
}

func (c ExtendedCapabilities) AppendTo(w *mls.Writer) {
	c.Leaf.AppendTo(w)
	mls.AppendList(w, c.WireFormats)
	appendComponents(w, c.Components)
	appendComponents(w, c.SafeAAD)
	mls.AppendList(w, c.MediaTypes)
	w.Vector(func(w *mls.Writer) {
		for _, t := range c.ContentTypes {
			w.Uint8(uint8(t))
		}
	})
}

func ReadContentMediaType(r *mls.Reader) ContentMediaType {
	return ContentMediaType{
		Type: readText(r, "type"),
		Parameters: mls.ReadList(r, "parameters", func(r *mls.Reader) MediaTypeParameter {
			return MediaTypeParameter{Name: readText(r, "parameter_name"), Value: readText(r, "parameter_value")}
		}),
	}
}

func (t ContentMediaType) AppendTo(w *mls.Writer) {
	appendText(w, t.Type)
	w.Vector(func(w *mls.Writer) {
		for _, p := range t.Parameters {
			appendText(w, p.Name)
			appendText(w, p.Value)
		}
	})
}

func readPendingPolicy(r *mls.Reader) PendingProposalPolicy {
	p := PendingProposalPolicy{Strategy: PendingProposalStrategy(r.Uint8("pending_proposal_strategy"))}
	switch p.Strategy {
	case PendingUnspecified, PendingImmediate:
	case PendingRandomDelay:
		p.MinDelayMillis, p.MaxDelayMillis = r.Uint64("minimum_delay_ms"), r.Uint64("maximum_delay_ms")
		if p.MinDelayMillis > p.MaxDelayMillis {
			r.Fail("minimum_delay_ms", "it is above the maximum")
		}
	default:
		failEnum(r, "pending_proposal_strategy", uint8(p.Strategy))
	}
	return p
}

func (p PendingProposalPolicy) appendTo(w *mls.Writer) {
	w.Uint8(uint8(p.Strategy))
	if p.Strategy == PendingRandomDelay {
		w.Uint64(p.MinDelayMillis)
		w.Uint64(p.MaxDelayMillis)
	}
}

func readTimes(r *mls.Reader) MinDefaultMaxTime {
	t := MinDefaultMaxTime{Min: r.Uint64("minimum_time"), Default: r.Uint64("default_time"), Max: r.Uint64("maximum_time")}
	if !r.Failed() && (t.Min > t.Default || t.Default > t.Max) {
		r.Fail("default_time", fmt.Sprintf("%d is not between %d and %d", t.Default, t.Min, t.Max))
	}
	return t
}

func (t MinDefaultMaxTime) appendTo(w *mls.Writer) {
	w.Uint64(t.Min)
	w.Uint64(t.Default)
	w.Uint64(t.Max)
}

func readMessagePolicy(r *mls.Reader) AppMessagePolicy {
	return AppMessagePolicy{
		EpochTolerance:  r.Uint8("epoch_tolerance"),
		PadToSize:       r.Uint16("pad_to_size"),
		SkipGenerations: r.Uint32("max_generations_skipahead"),
	}
}
