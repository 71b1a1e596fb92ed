package mimi

import (
	"fmt"
	"net/url"

	"parley/mls"
)

// RatchetTreeRepresentation tells the ways to convey a tree apart (ratchet-tree-options §3).
type RatchetTreeRepresentation uint8

const (
	TreeRepresentationFull                RatchetTreeRepresentation = 1
	TreeRepresentationHTTPS               RatchetTreeRepresentation = 2
	TreeRepresentationOutOfBand           RatchetTreeRepresentation = 3
	TreeRepresentationDistributionService RatchetTreeRepresentation = 4

	// The tree draft has no number for a compressed tree or a patch, so that theirs are private, for extension endpoints of providers
	// that have agreed on them. The standard endpoints take neither.
	TreeRepresentationCompressed RatchetTreeRepresentation = 0xf0
	TreeRepresentationDelta      RatchetTreeRepresentation = 0xf1
)

func (t RatchetTreeRepresentation) String() string {
	switch t {
	case TreeRepresentationCompressed:
		return "compressed"
	case TreeRepresentationDelta:
		return "delta"
	}
	return enumName(uint8(t), "RatchetTreeRepresentation", "reserved", "full", "httpsUri", "outOfBand", "distributionService")
}

// TreeURLBytesMax bounds the URL of an HTTPSTree.
const TreeURLBytesMax = 2048

// RatchetTreeOption says how a ratchet tree is conveyed (ratchet-tree-options §3): a FullTree, HTTPSTree, OutOfBandTree or
// DistributionServiceTree. A tree is trusted by its hash alone; nobody defined what tree_signature covers, so that it is
// carried and not looked at.
//
//	struct {
//	    RatchetTreeRepresentation representation;
//	    select (representation) {
//	        case full:                optional<Node> ratchet_tree<V>;
//	        case httpsUri:            opaque ratchet_tree_url<V>; opaque tree_signature<V>;
//	        case outOfBand:           opaque tree_signature<V>;
//	        case distributionService: struct {};
//	    };
//	} RatchetTreeOption;
type RatchetTreeOption interface {
	Representation() RatchetTreeRepresentation
	AppendTo(w *mls.Writer)
	Marshal() []byte
	ratchetTreeOption()
}

// FullTree is the tree itself. Encoded is the data of a ratchet_tree extension, optional<Node> ratchet_tree<V>, which
// ParseTree takes apart; a reader has made sure that it has that form.
type FullTree struct{ Encoded []byte }

// HTTPSTree is where the tree can be fetched.
type HTTPSTree struct {
	URL       string // absolute, of scheme https, at most TreeURLBytesMax bytes
	Signature []byte
}

// OutOfBandTree: the receiver gets the tree in some other way.
type OutOfBandTree struct{ Signature []byte }

// DistributionServiceTree: the hub computes the tree from the handshake messages.
type DistributionServiceTree struct{}

func (FullTree) Representation() RatchetTreeRepresentation      { return TreeRepresentationFull }
func (HTTPSTree) Representation() RatchetTreeRepresentation     { return TreeRepresentationHTTPS }
func (OutOfBandTree) Representation() RatchetTreeRepresentation { return TreeRepresentationOutOfBand }
func (DistributionServiceTree) Representation() RatchetTreeRepresentation {
	return TreeRepresentationDistributionService
}

// ParseTree takes the tree apart.
func (t FullTree) ParseTree() (*mls.RatchetTree, error) { return mls.ParseRatchetTree(t.Encoded) }

func ReadRatchetTreeOption(r *mls.Reader) RatchetTreeOption {
	switch representation := r.Uint8("representation"); RatchetTreeRepresentation(representation) {
	case TreeRepresentationFull:
		start := r.Offset()
		mls.ReadIn(r, "ratchet_tree", mls.ReadRatchetTree)
		return FullTree{r.Since(start)}
	case TreeRepresentationHTTPS:
		return HTTPSTree{URL: readTreeURL(r, "ratchet_tree_url"), Signature: r.Opaque("tree_signature")}
	case TreeRepresentationOutOfBand:
		return OutOfBandTree{r.Opaque("tree_signature")}
	case TreeRepresentationDistributionService:
		return DistributionServiceTree{}
	case TreeRepresentationCompressed, TreeRepresentationDelta:
		r.Fail("representation", fmt.Sprintf("%s: it is negotiated for extension endpoints, and not taken here",
			RatchetTreeRepresentation(representation)))
		return nil
	default:
		failEnum(r, "representation", representation)
		return nil
	}
}

func ParseRatchetTreeOption(b []byte) (RatchetTreeOption, error) {
	return mls.Parse("RatchetTreeOption", b, ReadRatchetTreeOption)
}

func readTreeURL(r *mls.Reader, field string) string {
	text := readText(r, field)
	if r.Failed() {
		return ""
	}
	if len(text) > TreeURLBytesMax {
		r.Fail(field, fmt.Sprintf("it has more than %d bytes", TreeURLBytesMax))
		return ""
	}
	if u, err := url.Parse(text); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		r.Fail(field, "it is not an https URL")
		return ""
	}
	return text
}

func (t FullTree) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(TreeRepresentationFull))
	w.Fixed(t.Encoded)
}

func (t HTTPSTree) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(TreeRepresentationHTTPS))
	w.Opaque([]byte(t.URL))
	w.Opaque(t.Signature)
}

func (t OutOfBandTree) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(TreeRepresentationOutOfBand))
	w.Opaque(t.Signature)
}

func (DistributionServiceTree) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(TreeRepresentationDistributionService))
}

func (t FullTree) Marshal() []byte                { return marshal(t) }
func (t HTTPSTree) Marshal() []byte               { return marshal(t) }
func (t OutOfBandTree) Marshal() []byte           { return marshal(t) }
func (t DistributionServiceTree) Marshal() []byte { return marshal(t) }

func (FullTree) ratchetTreeOption()                {}
func (HTTPSTree) ratchetTreeOption()               {}
func (OutOfBandTree) ratchetTreeOption()           {}
func (DistributionServiceTree) ratchetTreeOption() {}
