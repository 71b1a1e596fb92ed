package mls

import "fmt"

// Capabilities is what a client says it supports (RFC 9420 §7.2). Default types need not be listed, and unknown and GREASE
// values are kept.
//
//	struct {
//	    ProtocolVersion versions<V>;
//	    CipherSuite cipher_suites<V>;
//	    ExtensionType extensions<V>;
//	    ProposalType proposals<V>;
//	    CredentialType credentials<V>;
//	} Capabilities;
type Capabilities struct {
	Versions    []Version
	Suites      []CipherSuite
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

func ReadCapabilities(r *Reader) Capabilities {
	return Capabilities{
		Versions:    readCodes[Version](r, "versions"),
		Suites:      readCodes[CipherSuite](r, "cipher_suites"),
		Extensions:  readCodes[ExtensionType](r, "extensions"),
		Proposals:   readCodes[ProposalType](r, "proposals"),
		Credentials: readCodes[CredentialType](r, "credentials"),
	}
}

func ParseCapabilities(b []byte) (Capabilities, error) {
	return Parse("Capabilities", b, ReadCapabilities)
}

func (c Capabilities) AppendTo(w *Writer) {
	appendCodes(w, c.Versions)
	appendCodes(w, c.Suites)
	appendCodes(w, c.Extensions)
	appendCodes(w, c.Proposals)
	appendCodes(w, c.Credentials)
}

func (c Capabilities) Marshal() []byte { return marshal(c) }

// LeafNode is a member's, or a member-to-be's, entry in the ratchet tree (RFC 9420 §7.2).
//
//	struct {
//	    HPKEPublicKey encryption_key;
//	    SignaturePublicKey signature_key;
//	    Credential credential;
//	    Capabilities capabilities;
//	    LeafNodeSource leaf_node_source;
//	    select (LeafNode.leaf_node_source) {
//	        case key_package: Lifetime lifetime;
//	        case update:      struct{};
//	        case commit:      opaque parent_hash<V>;
//	    };
//	    Extension extensions<V>;
//	    opaque signature<V>; // SignWithLabel(., "LeafNodeTBS", LeafNodeTBS)
//	} LeafNode;
type LeafNode struct {
	EncryptionKey []byte
	SignatureKey  []byte
	Credential    Credential
	Capabilities  Capabilities
	Source        LeafNodeSource
	Extensions    Extensions
	Signature     []byte
}

// LeafNodeSource says how a leaf came into the tree: a Lifetime (from a KeyPackage), a LeafUpdate or a LeafCommit.
type LeafNodeSource interface{ appendSource(w *Writer) }

// Lifetime is the leaf source key_package, and bounds the KeyPackage's use: both ends inclusive, in seconds since 1970.
//
//	struct {
//	    uint64 not_before;
//	    uint64 not_after;
//	} Lifetime;
type Lifetime struct{ NotBefore, NotAfter uint64 }

// LeafUpdate is the leaf source update: the leaf came from an Update Proposal.
type LeafUpdate struct{}

// LeafCommit is the leaf source commit: the leaf came from the UpdatePath of a Commit.
type LeafCommit struct{ ParentHash []byte }

const (
	leafSourceKeyPackage = 1
	leafSourceUpdate     = 2
	leafSourceCommit     = 3
)

func ReadLeafNode(r *Reader) LeafNode {
	return LeafNode{
		EncryptionKey: r.Opaque("encryption_key"),
		SignatureKey:  r.Opaque("signature_key"),
		Credential:    ReadIn(r, "credential", ReadCredential),
		Capabilities:  ReadIn(r, "capabilities", ReadCapabilities),
		Source:        readLeafNodeSource(r),
		Extensions:    ReadIn(r, "extensions", ReadExtensions),
		Signature:     r.Opaque("signature"),
	}
}

func readLeafNodeSource(r *Reader) LeafNodeSource {
	switch source := r.Uint8("leaf_node_source"); {
	case r.Failed():
		return nil
	case source == leafSourceKeyPackage:
		return ReadIn(r, "lifetime", ReadLifetime)
	case source == leafSourceUpdate:
		return LeafUpdate{}
	case source == leafSourceCommit:
		return LeafCommit{ParentHash: r.Opaque("parent_hash")}
	default:
		r.Fail("leaf_node_source", fmt.Sprintf("leaf node source %d is unknown", source))
		return nil
	}
}

func ReadLifetime(r *Reader) Lifetime {
	return Lifetime{NotBefore: r.Uint64("not_before"), NotAfter: r.Uint64("not_after")}
}

func ParseLeafNode(b []byte) (LeafNode, error) { return Parse("LeafNode", b, ReadLeafNode) }

func (n LeafNode) AppendTo(w *Writer) {
	n.appendUnsigned(w)
	w.Opaque(n.Signature)
}

func (n LeafNode) Marshal() []byte { return marshal(n) }

// appendUnsigned appends all but the signature: what LeafNodeTBS begins with.
func (n LeafNode) appendUnsigned(w *Writer) {
	w.Opaque(n.EncryptionKey)
	w.Opaque(n.SignatureKey)
	n.Credential.AppendTo(w)
	n.Capabilities.AppendTo(w)
	n.Source.appendSource(w)
	n.Extensions.AppendTo(w)
}

func (l Lifetime) appendSource(w *Writer) {
	w.Uint8(leafSourceKeyPackage)
	w.Uint64(l.NotBefore)
	w.Uint64(l.NotAfter)
}

// Contains reports whether a time, in seconds since 1970, lies within the lifetime.
func (l Lifetime) Contains(seconds uint64) bool {
	return l.NotBefore <= seconds && seconds <= l.NotAfter
}

func (LeafUpdate) appendSource(w *Writer) { w.Uint8(leafSourceUpdate) }

func (c LeafCommit) appendSource(w *Writer) {
	w.Uint8(leafSourceCommit)
	w.Opaque(c.ParentHash)
}
