package mimi

import (
	"fmt"

	"parley/mls"
)

// GroupInfoOption conveys a new epoch's GroupInfo to the hub (mimi-protocol-06 §5.3): a FullGroupInfo or a PartialGroupInfo.
// Either has the external_pub extension, without which nobody could join, and neither a ratchet_tree.
//
//	enum { reserved(0), full(1), partial(2), (255) } GroupInfoRepresentation;
//
//	struct {
//	    GroupInfoRepresentation representation;
//	    select (representation) {
//	        case full:    GroupInfo groupInfo;
//	        case partial: PartialGroupInfo partialGroupInfo;
//	    };
//	} GroupInfoOption;
type GroupInfoOption interface {
	AppendTo(w *mls.Writer)
	Marshal() []byte
	groupInfoOption()
}

// FullGroupInfo is the whole GroupInfo.
type FullGroupInfo struct{ GroupInfo mls.GroupInfo }

// PartialGroupInfo is what the hub cannot compute of a GroupInfo (ratchet-tree-options §4). Its signer is the committer; of
// an external Commit, the new leaf.
//
//	struct {
//	    RatchetTreePresence ratchet_tree_presence;
//	    Extension group_info_extensions<V>;
//	    opaque signature<V>;
//	} PartialGroupInfo;
type PartialGroupInfo struct {
	Presence   RatchetTreePresence
	Extensions mls.Extensions
	Signature  []byte // of the whole GroupInfo
}

// RatchetTreePresence compares this epoch's GroupInfo with the one before (ratchet-tree-options §4). Only NoRatchetTree and
// RatchetTreeRemoved are taken: an embedded tree's place among the extensions is not told, so that the signed bytes could not
// be rebuilt.
type RatchetTreePresence uint8

const (
	NoRatchetTree      RatchetTreePresence = 0
	RatchetTreePresent RatchetTreePresence = 1
	RatchetTreeRemoved RatchetTreePresence = 2
	RatchetTreeAdded   RatchetTreePresence = 3
)

func (p RatchetTreePresence) String() string {
	return enumName(uint8(p), "RatchetTreePresence", "no_ratchet_tree", "present", "removed", "added")
}

// GroupInfoRepresentation tells the options apart on the wire.
type GroupInfoRepresentation uint8

const (
	GroupInfoFull    GroupInfoRepresentation = 1
	GroupInfoPartial GroupInfoRepresentation = 2
)

func (g GroupInfoRepresentation) String() string {
	return enumName(uint8(g), "GroupInfoRepresentation", "reserved", "full", "partial")
}

func ReadGroupInfoOption(r *mls.Reader) GroupInfoOption {
	switch representation := r.Uint8("representation"); GroupInfoRepresentation(representation) {
	case GroupInfoFull:
		full := FullGroupInfo{mls.ReadIn(r, "groupInfo", mls.ReadGroupInfo)}
		checkGroupInfoExtensions(r, "groupInfo.extensions", full.GroupInfo.Extensions)
		return full
	case GroupInfoPartial:
		return mls.ReadIn(r, "partialGroupInfo", ReadPartialGroupInfo)
	default:
		failEnum(r, "representation", representation)
		return nil
	}
}

func ParseGroupInfoOption(b []byte) (GroupInfoOption, error) {
	return mls.Parse("GroupInfoOption", b, ReadGroupInfoOption)
}

func ReadPartialGroupInfo(r *mls.Reader) PartialGroupInfo {
	p := PartialGroupInfo{
		Presence:   RatchetTreePresence(r.Uint8("ratchet_tree_presence")),
		Extensions: mls.ReadIn(r, "group_info_extensions", mls.ReadExtensions),
		Signature:  r.Opaque("signature"),
	}
	switch p.Presence {
	case NoRatchetTree, RatchetTreeRemoved:
	case RatchetTreePresent, RatchetTreeAdded:
		r.Fail("ratchet_tree_presence", fmt.Sprintf("%s: a GroupInfo with an embedded tree cannot be rebuilt", p.Presence))
	default:
		failEnum(r, "ratchet_tree_presence", uint8(p.Presence))
	}
	checkGroupInfoExtensions(r, "group_info_extensions", p.Extensions)
	return p
}

func checkGroupInfoExtensions(r *mls.Reader, field string, extensions mls.Extensions) {
	if _, present := extensions.Get(mls.ExtensionRatchetTree); present {
		r.Fail(field, "the ratchet_tree must not be in the GroupInfo")
	}
	if _, present := extensions.Get(mls.ExtensionExternalPub); !present && !r.Failed() {
		r.Fail(field, "external_pub is missing")
	}
}

func (g FullGroupInfo) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(GroupInfoFull))
	g.GroupInfo.AppendTo(w)
}

func (p PartialGroupInfo) AppendTo(w *mls.Writer) {
	w.Uint8(uint8(GroupInfoPartial))
	w.Uint8(uint8(p.Presence))
	p.Extensions.AppendTo(w)
	w.Opaque(p.Signature)
}

func (g FullGroupInfo) Marshal() []byte    { return marshal(g) }
func (p PartialGroupInfo) Marshal() []byte { return marshal(p) }

func (FullGroupInfo) groupInfoOption()    {}
func (PartialGroupInfo) groupInfoOption() {}
