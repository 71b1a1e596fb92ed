package mls

import "fmt"

// Proposal asks for a change of the group (RFC 9420 §12.1): one of Add, Update, Remove, PreSharedKey, ReInit, ExternalInit,
// GroupContextExtensions, AppDataUpdate, AppEphemeral and SelfRemove, as values. A type that is not among them has no length
// of its own, so a structure that holds one cannot be read and is refused.
//
//	struct {
//	    ProposalType proposal_type;
//	    select (Proposal.proposal_type) { ... };
//	} Proposal;
type Proposal interface {
	Content
	ProposalType() ProposalType
	Marshal() []byte
	// appendBody appends what follows the proposal type.
	appendBody(w *Writer)
}

// Add brings a client in (RFC 9420 §12.1.1).
//
//	struct { KeyPackage key_package; } Add;
type Add struct{ KeyPackage KeyPackage }

// Update replaces the sender's own leaf (RFC 9420 §12.1.2).
//
//	struct { LeafNode leaf_node; } Update;
type Update struct{ Leaf LeafNode }

// Remove takes a member out (RFC 9420 §12.1.3).
//
//	struct { uint32 removed; } Remove;
type Remove struct{ Removed LeafIndex }

// PreSharedKey mixes a pre-shared key into the next epoch (RFC 9420 §12.1.4); nothing of it shows in the public state.
//
//	struct { PreSharedKeyID psk; } PreSharedKey;
type PreSharedKey struct{ PSK PreSharedKeyID }

// ReInit ends the group in favour of a new one (RFC 9420 §12.1.5).
//
//	struct {
//	    opaque group_id<V>;
//	    ProtocolVersion version;
//	    CipherSuite cipher_suite;
//	    Extension extensions<V>;
//	} ReInit;
type ReInit struct {
	GroupID    GroupID
	Version    Version
	Suite      CipherSuite
	Extensions Extensions
}

// ExternalInit stands in an external Commit alone (RFC 9420 §12.1.6).
//
//	struct { opaque kem_output<V>; } ExternalInit;
type ExternalInit struct{ KEMOutput []byte }

// GroupContextExtensions replaces the extensions of the GroupContext (RFC 9420 §12.1.7).
//
//	struct { Extension extensions<V>; } GroupContextExtensions;
type GroupContextExtensions struct{ Extensions Extensions }

// AppDataUpdate changes one component's data in the GroupContext (mls-extensions). Operation is a ComponentUpdate or a
// ComponentRemove.
//
//	struct {
//	    ComponentID component_id;
//	    AppDataUpdateOperation op; // update(1), remove(2)
//	    select (AppDataUpdate.op) {
//	        case update: opaque update<V>;
//	        case remove: struct{};
//	    };
//	} AppDataUpdate;
type AppDataUpdate struct {
	Component ComponentID
	Operation AppDataOperation
}

// AppDataOperation is a ComponentUpdate or a ComponentRemove.
type AppDataOperation interface{ appendOperation(w *Writer) }

// ComponentUpdate is handed to the component's own logic, which makes the new data of it.
type ComponentUpdate struct{ Update []byte }

// ComponentRemove takes the component's entry out of the dictionary.
type ComponentRemove struct{}

// AppEphemeral shows data to every member with the Commit and changes no state (mls-extensions).
//
//	struct {
//	    ComponentID component_id;
//	    opaque data<V>;
//	} AppEphemeral;
type AppEphemeral struct {
	Component ComponentID
	Data      []byte
}

// SelfRemove takes its own sender out (mls-extensions); it is committed by reference only.
type SelfRemove struct{}

// readProposalBody has a reader for each proposal type that can be read.
var readProposalBody = map[ProposalType]func(*Reader) Proposal{
	ProposalAdd:          func(r *Reader) Proposal { return Add{ReadIn(r, "key_package", ReadKeyPackage)} },
	ProposalUpdate:       func(r *Reader) Proposal { return Update{ReadIn(r, "leaf_node", ReadLeafNode)} },
	ProposalRemove:       func(r *Reader) Proposal { return Remove{LeafIndex(r.Uint32("removed"))} },
	ProposalPreSharedKey: func(r *Reader) Proposal { return PreSharedKey{ReadIn(r, "psk", ReadPreSharedKeyID)} },
	ProposalReInit:       func(r *Reader) Proposal { return readReInit(r) },
	ProposalExternalInit: func(r *Reader) Proposal { return ExternalInit{r.Opaque("kem_output")} },
	ProposalGroupContextExtensions: func(r *Reader) Proposal {
		return GroupContextExtensions{ReadIn(r, "extensions", ReadExtensions)}
	},
	ProposalAppDataUpdate: func(r *Reader) Proposal { return readAppDataUpdate(r) },
	ProposalAppEphemeral: func(r *Reader) Proposal {
		return AppEphemeral{Component: ComponentID(r.Uint16("component_id")), Data: r.Opaque("data")}
	},
	ProposalSelfRemove: func(*Reader) Proposal { return SelfRemove{} },
}

func ReadProposal(r *Reader) Proposal {
	t := ProposalType(r.Uint16("proposal_type"))
	if r.Failed() {
		return nil
	}
	read, known := readProposalBody[t]
	if !known {
		r.Fail("proposal_type", fmt.Sprintf("proposal type 0x%04x is not supported", uint16(t)))
		return nil
	}
	return read(r)
}

func ParseProposal(b []byte) (Proposal, error) { return Parse("Proposal", b, ReadProposal) }

func readReInit(r *Reader) ReInit {
	return ReInit{
		GroupID:    GroupID(r.Opaque("group_id")),
		Version:    Version(r.Uint16("version")),
		Suite:      CipherSuite(r.Uint16("cipher_suite")),
		Extensions: ReadIn(r, "extensions", ReadExtensions),
	}
}

func readAppDataUpdate(r *Reader) AppDataUpdate {
	u := AppDataUpdate{Component: ComponentID(r.Uint16("component_id"))}
	switch op := r.Uint8("op"); {
	case r.Failed():
	case op == 1:
		u.Operation = ComponentUpdate{r.Opaque("update")}
	case op == 2:
		u.Operation = ComponentRemove{}
	default:
		r.Fail("op", fmt.Sprintf("operation %d is neither update nor remove", op))
	}
	return u
}

func (Add) ProposalType() ProposalType                    { return ProposalAdd }
func (Update) ProposalType() ProposalType                 { return ProposalUpdate }
func (Remove) ProposalType() ProposalType                 { return ProposalRemove }
func (PreSharedKey) ProposalType() ProposalType           { return ProposalPreSharedKey }
func (ReInit) ProposalType() ProposalType                 { return ProposalReInit }
func (ExternalInit) ProposalType() ProposalType           { return ProposalExternalInit }
func (GroupContextExtensions) ProposalType() ProposalType { return ProposalGroupContextExtensions }
func (AppDataUpdate) ProposalType() ProposalType          { return ProposalAppDataUpdate }
func (AppEphemeral) ProposalType() ProposalType           { return ProposalAppEphemeral }
func (SelfRemove) ProposalType() ProposalType             { return ProposalSelfRemove }

func (p Add) appendBody(w *Writer)          { p.KeyPackage.AppendTo(w) }
func (p Update) appendBody(w *Writer)       { p.Leaf.AppendTo(w) }
func (p Remove) appendBody(w *Writer)       { w.Uint32(uint32(p.Removed)) }
func (p PreSharedKey) appendBody(w *Writer) { p.PSK.AppendTo(w) }

func (p ReInit) appendBody(w *Writer) {
	w.Opaque([]byte(p.GroupID))
	w.Uint16(uint16(p.Version))
	w.Uint16(uint16(p.Suite))
	p.Extensions.AppendTo(w)
}

func (p ExternalInit) appendBody(w *Writer)           { w.Opaque(p.KEMOutput) }
func (p GroupContextExtensions) appendBody(w *Writer) { p.Extensions.AppendTo(w) }

func (p AppDataUpdate) appendBody(w *Writer) {
	w.Uint16(uint16(p.Component))
	p.Operation.appendOperation(w)
}

func (o ComponentUpdate) appendOperation(w *Writer) {
	w.Uint8(1)
	w.Opaque(o.Update)
}

func (ComponentRemove) appendOperation(w *Writer) { w.Uint8(2) }

func (p AppEphemeral) appendBody(w *Writer) {
	w.Uint16(uint16(p.Component))
	w.Opaque(p.Data)
}

func (SelfRemove) appendBody(*Writer) {}

func appendProposal(w *Writer, p Proposal) {
	w.Uint16(uint16(p.ProposalType()))
	p.appendBody(w)
}

// A Proposal is itself the content of a framed message.

func (Add) ContentType() ContentType                    { return ContentProposal }
func (Update) ContentType() ContentType                 { return ContentProposal }
func (Remove) ContentType() ContentType                 { return ContentProposal }
func (PreSharedKey) ContentType() ContentType           { return ContentProposal }
func (ReInit) ContentType() ContentType                 { return ContentProposal }
func (ExternalInit) ContentType() ContentType           { return ContentProposal }
func (GroupContextExtensions) ContentType() ContentType { return ContentProposal }
func (AppDataUpdate) ContentType() ContentType          { return ContentProposal }
func (AppEphemeral) ContentType() ContentType           { return ContentProposal }
func (SelfRemove) ContentType() ContentType             { return ContentProposal }

func (p Add) AppendTo(w *Writer)                    { appendProposal(w, p) }
func (p Update) AppendTo(w *Writer)                 { appendProposal(w, p) }
func (p Remove) AppendTo(w *Writer)                 { appendProposal(w, p) }
func (p PreSharedKey) AppendTo(w *Writer)           { appendProposal(w, p) }
func (p ReInit) AppendTo(w *Writer)                 { appendProposal(w, p) }
func (p ExternalInit) AppendTo(w *Writer)           { appendProposal(w, p) }
func (p GroupContextExtensions) AppendTo(w *Writer) { appendProposal(w, p) }
func (p AppDataUpdate) AppendTo(w *Writer)          { appendProposal(w, p) }
func (p AppEphemeral) AppendTo(w *Writer)           { appendProposal(w, p) }
func (p SelfRemove) AppendTo(w *Writer)             { appendProposal(w, p) }

func (p Add) Marshal() []byte                    { return marshal(p) }
func (p Update) Marshal() []byte                 { return marshal(p) }
func (p Remove) Marshal() []byte                 { return marshal(p) }
func (p PreSharedKey) Marshal() []byte           { return marshal(p) }
func (p ReInit) Marshal() []byte                 { return marshal(p) }
func (p ExternalInit) Marshal() []byte           { return marshal(p) }
func (p GroupContextExtensions) Marshal() []byte { return marshal(p) }
func (p AppDataUpdate) Marshal() []byte          { return marshal(p) }
func (p AppEphemeral) Marshal() []byte           { return marshal(p) }
func (p SelfRemove) Marshal() []byte             { return marshal(p) }
