package mls

import "fmt"

// Commit begins the next epoch (RFC 9420 §12.4). Path is nil where the Commit has none.
//
//	struct {
//	    ProposalOrRef proposals<V>;
//	    optional<UpdatePath> path;
//	} Commit;
type Commit struct {
	Proposals []ProposalOrRef
	Path      *UpdatePath
}

// ProposalOrRef is how a Commit names a Proposal: an InlineProposal or a ProposalRef.
//
//	struct {
//	    ProposalOrRefType type; // proposal(1), reference(2)
//	    select (ProposalOrRef.type) {
//	        case proposal:  Proposal proposal;
//	        case reference: ProposalRef reference;
//	    };
//	} ProposalOrRef;
type ProposalOrRef interface {
	AppendTo(w *Writer)
	proposalOrRef()
}

// InlineProposal is a Proposal that stands in the Commit itself; its sender is the committer.
type InlineProposal struct{ Proposal Proposal }

const (
	orRefProposal  = 1
	orRefReference = 2
)

func ReadCommit(r *Reader) Commit {
	return Commit{
		Proposals: ReadList(r, "proposals", ReadProposalOrRef),
		Path:      ReadOptional(r, "path", ReadUpdatePath),
	}
}

func ParseCommit(b []byte) (Commit, error) { return Parse("Commit", b, ReadCommit) }

func ReadProposalOrRef(r *Reader) ProposalOrRef {
	switch t := r.Uint8("type"); {
	case r.Failed():
		return nil
	case t == orRefProposal:
		return InlineProposal{ReadIn(r, "proposal", ReadProposal)}
	case t == orRefReference:
		return ProposalRef(r.Opaque("reference"))
	default:
		r.Fail("type", fmt.Sprintf("type %d is neither proposal nor reference", t))
		return nil
	}
}

func (c Commit) AppendTo(w *Writer) {
	AppendList(w, c.Proposals)
	w.Bool(c.Path != nil)
	if c.Path != nil {
		c.Path.AppendTo(w)
	}
}

func (c Commit) Marshal() []byte { return marshal(c) }

func (Commit) ContentType() ContentType { return ContentCommit }

func (p InlineProposal) AppendTo(w *Writer) {
	w.Uint8(orRefProposal)
	p.Proposal.AppendTo(w)
}

func (ref ProposalRef) AppendTo(w *Writer) {
	w.Uint8(orRefReference)
	w.Opaque([]byte(ref))
}

func (InlineProposal) proposalOrRef() {}
func (ProposalRef) proposalOrRef()    {}

// HPKECiphertext is what EncryptWithLabel makes (RFC 9420 §5.1.3, §7.6).
//
//	struct {
//	    opaque kem_output<V>;
//	    opaque ciphertext<V>;
//	} HPKECiphertext;
type HPKECiphertext struct{ KEMOutput, Ciphertext []byte }

func ReadHPKECiphertext(r *Reader) HPKECiphertext {
	return HPKECiphertext{KEMOutput: r.Opaque("kem_output"), Ciphertext: r.Opaque("ciphertext")}
}

func (c HPKECiphertext) AppendTo(w *Writer) {
	w.Opaque(c.KEMOutput)
	w.Opaque(c.Ciphertext)
}

// UpdatePathNode is the new public key of one node of the filtered direct path, and its secret for each node of the copath
// node's resolution (RFC 9420 §7.6).
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    HPKECiphertext encrypted_path_secret<V>;
//	} UpdatePathNode;
type UpdatePathNode struct {
	EncryptionKey []byte
	Secrets       []HPKECiphertext
}

func ReadUpdatePathNode(r *Reader) UpdatePathNode {
	return UpdatePathNode{
		EncryptionKey: r.Opaque("encryption_key"),
		Secrets:       ReadList(r, "encrypted_path_secret", ReadHPKECiphertext),
	}
}

func (n UpdatePathNode) AppendTo(w *Writer) {
	w.Opaque(n.EncryptionKey)
	AppendList(w, n.Secrets)
}

// UpdatePath renews the committer's leaf and the nodes above it, lowest first (RFC 9420 §7.6).
//
//	struct {
//	    LeafNode leaf_node;
//	    UpdatePathNode nodes<V>;
//	} UpdatePath;
type UpdatePath struct {
	Leaf  LeafNode
	Nodes []UpdatePathNode
}

func ReadUpdatePath(r *Reader) UpdatePath {
	return UpdatePath{
		Leaf:  ReadIn(r, "leaf_node", ReadLeafNode),
		Nodes: ReadList(r, "nodes", ReadUpdatePathNode),
	}
}

func ParseUpdatePath(b []byte) (UpdatePath, error) { return Parse("UpdatePath", b, ReadUpdatePath) }

func (p UpdatePath) AppendTo(w *Writer) {
	p.Leaf.AppendTo(w)
	AppendList(w, p.Nodes)
}

func (p UpdatePath) Marshal() []byte { return marshal(p) }
