package mimi

import (
	"parley/mls"
)

// BaseRoomPolicy is the data of the base_room_policy component, and its update, which replaces it (room-policy-03 §5).
//
//	struct {
//	    bool fixed_membership;
//	    bool parent_dependant;
//	    Uri parent_room<V>;
//	    bool multi_device;
//	    optional<uint32> max_clients;
//	    optional<uint32> max_users;
//	    bool pseudonyms_allowed;
//	    bool persistent_room;
//	    bool discoverable;
//	    uint16 policy_component_ids<V>;
//	} BaseRoomPolicy;
type BaseRoomPolicy struct {
	FixedMembership   bool // nobody joins or leaves the participant list
	ParentDependent   bool
	ParentRooms       []string // MIMI URIs of rooms; one where ParentDependent, else none
	MultiDevice       bool     // a user may have several clients in the group
	MaxClients        *uint32
	MaxUsers          *uint32 // banned ones do not count
	PseudonymsAllowed bool
	Persistent        bool
	Discoverable      bool
	Components        []mls.ComponentID
}

func ReadBaseRoomPolicy(r *mls.Reader) BaseRoomPolicy {
	p := BaseRoomPolicy{
		FixedMembership:   r.Bool("fixed_membership"),
		ParentDependent:   r.Bool("parent_dependant"),
		ParentRooms:       mls.ReadList(r, "parent_room", func(r *mls.Reader) string { return readText(r, "uri") }),
		MultiDevice:       r.Bool("multi_device"),
		MaxClients:        mls.ReadOptional(r, "max_clients", readUint32),
		MaxUsers:          mls.ReadOptional(r, "max_users", readUint32),
		PseudonymsAllowed: r.Bool("pseudonyms_allowed"),
		Persistent:        r.Bool("persistent_room"),
		Discoverable:      r.Bool("discoverable"),
		Components:        readComponents(r, "policy_component_ids"),
	}
	switch {
	case r.Failed():
	case p.ParentDependent && len(p.ParentRooms) != 1:
		r.Fail("parent_room", "a parent-dependent room names one parent")
	case !p.ParentDependent && len(p.ParentRooms) != 0:
		r.Fail("parent_room", "the room is not parent-dependent")
	case p.ParentDependent:
		if _, err := ParseRoomURI(p.ParentRooms[0]); err != nil {
			r.Fail("parent_room", "it is not a room's MIMI URI")
		}
	}
	return p
}

func ParseBaseRoomPolicy(b []byte) (BaseRoomPolicy, error) {
	return mls.Parse("BaseRoomPolicy", b, ReadBaseRoomPolicy)
}

func (p BaseRoomPolicy) AppendTo(w *mls.Writer) {
	w.Bool(p.FixedMembership)
	w.Bool(p.ParentDependent)
	appendTexts(w, p.ParentRooms)
	w.Bool(p.MultiDevice)
	appendOptionalUint32(w, p.MaxClients)
	appendOptionalUint32(w, p.MaxUsers)
	w.Bool(p.PseudonymsAllowed)
	w.Bool(p.Persistent)
	w.Bool(p.Discoverable)
	appendComponents(w, p.Components)
}

func (p BaseRoomPolicy) Marshal() []byte { return marshal(p) }

func readUint32(r *mls.Reader) uint32 { return r.Uint32("") }

func appendOptionalUint32(w *mls.Writer, v *uint32) {
	w.Bool(v != nil)
	if v != nil {
		w.Uint32(*v)
	}
}

func appendTexts(w *mls.Writer, texts []string) {
	w.Vector(func(w *mls.Writer) {
		for _, text := range texts {
			appendText(w, text)
		}
	})
}

func readComponents(r *mls.Reader, field string) []mls.ComponentID {
	return mls.ReadList(r, field, func(r *mls.Reader) mls.ComponentID { return mls.ComponentID(r.Uint16("")) })
}

func appendComponents(w *mls.Writer, ids []mls.ComponentID) {
	w.Vector(func(w *mls.Writer) {
		for _, id := range ids {
			w.Uint16(uint16(id))
		}
	})
}
