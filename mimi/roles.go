package mimi

import (
	"fmt"
	"slices"

	"parley/mls"
)

// RoleNone is the role_index of whoever is not in the participant list; a definition of it says who may be added to which
// role, and it can never be assigned (room-policy-03 §3).
const RoleNone uint32 = 0

// RoleBanned is the role_index of whoever is banned, in a room in which the role with that index is named "banned".
const RoleBanned uint32 = 1

const bannedName = "banned"

// Role is one role of a room with what its holders may do (room-policy-03 §3).
//
//	struct {
//	    uint32 role_index;
//	    opaque role_name<V>;
//	    opaque role_description<V>;
//	    CapabilityType role_capabilities<V>;
//	    uint32 minimum_participants_constraint;
//	    optional<uint32> maximum_participants_constraint;
//	    uint32 minimum_active_participants_constraint;
//	    optional<uint32> maximum_active_participants_constraint;
//	    SingleSourceRoleChangeTargets authorized_role_changes<V>;
//	} Role;
type Role struct {
	Index        uint32
	Name         string
	Description  string
	Capabilities []Capability
	Participants Bounds // how many may hold the role
	Active       Bounds // how many of them may have clients in the group
	Changes      []RoleChanges
}

// Bounds limits a number of participants. A nil Max is no maximum.
type Bounds struct {
	Min uint32
	Max *uint32
}

// RoleChanges are the roles to which a holder of the Role may move others, or with canChangeOwnRole itself, from one role.
//
//	struct {
//	    uint32 from_role_index;
//	    uint32 target_role_indexes<V>;
//	} SingleSourceRoleChangeTargets;
type RoleChanges struct {
	From    uint32
	Targets []uint32
}

// RoleData is the data of the roles_list component, and its update, which replaces it (room-policy-03 §3). No role_index
// stands twice; they need not be contiguous. Only role 0 has canOpenJoin, only role 1 may be named "banned", and no minimum is
// above its maximum.
//
//	struct {
//	    Role roles<V>;
//	} RoleData;
type RoleData struct {
	Roles []Role
}

// Find returns the role with an index.
func (d RoleData) Find(index uint32) (Role, bool) {
	for _, role := range d.Roles {
		if role.Index == index {
			return role, true
		}
	}
	return Role{}, false
}

// Can reports whether the role has a capability.
func (r Role) Can(c Capability) bool { return slices.Contains(r.Capabilities, c) }

// MayChange reports whether a holder of the role may move a participant from one role to another; RoleNone stands for being
// outside the list. Which capability that takes besides depends on the change.
func (r Role) MayChange(from, to uint32) bool {
	for _, change := range r.Changes {
		if change.From == from && slices.Contains(change.Targets, to) {
			return true
		}
	}
	return false
}

// Banned reports whether this is the role of those who are banned: it has the index 1 and the name "banned", or there is none
// (room-policy-03 §8.1.3).
func (r Role) Banned() bool { return r.Index == RoleBanned && r.Name == bannedName }

// fault says what is wrong with a definition by itself (room-policy-03 §3, §8.1).
func (r Role) fault() string {
	switch {
	case r.Name == bannedName && r.Index != RoleBanned:
		return `a role named "banned" has the index 1`
	case r.Can(CanOpenJoin) && r.Index != RoleNone:
		return "canOpenJoin is for role 0 only"
	case r.Participants.empty() || r.Active.empty():
		return "a minimum is above its maximum"
	default:
		return ""
	}
}

func (b Bounds) empty() bool { return b.Max != nil && b.Min > *b.Max }

func ReadRole(r *mls.Reader) Role {
	role := Role{
		Index:        r.Uint32("role_index"),
		Name:         readText(r, "role_name"),
		Description:  readText(r, "role_description"),
		Capabilities: mls.ReadList(r, "role_capabilities", func(r *mls.Reader) Capability { return Capability(r.Uint16("")) }),
	}
	role.Participants = readBounds(r, "minimum_participants_constraint", "maximum_participants_constraint")
	role.Active = readBounds(r, "minimum_active_participants_constraint", "maximum_active_participants_constraint")
	role.Changes = mls.ReadList(r, "authorized_role_changes", ReadRoleChanges)
	return role
}

func readBounds(r *mls.Reader, minimum, maximum string) Bounds {
	b := Bounds{Min: r.Uint32(minimum)}
	if r.Optional(maximum) {
		limit := r.Uint32(maximum)
		b.Max = &limit
	}
	return b
}

func (b Bounds) appendTo(w *mls.Writer) {
	w.Uint32(b.Min)
	w.Bool(b.Max != nil)
	if b.Max != nil {
		w.Uint32(*b.Max)
	}
}

func (r Role) AppendTo(w *mls.Writer) {
	w.Uint32(r.Index)
	appendText(w, r.Name)
	appendText(w, r.Description)
	w.Vector(func(w *mls.Writer) {
		for _, c := range r.Capabilities {
			w.Uint16(uint16(c))
		}
	})
	r.Participants.appendTo(w)
	r.Active.appendTo(w)
	mls.AppendList(w, r.Changes)
}

func ReadRoleChanges(r *mls.Reader) RoleChanges {
	return RoleChanges{From: r.Uint32("from_role_index"), Targets: readUint32s(r, "target_role_indexes")}
}

func (c RoleChanges) AppendTo(w *mls.Writer) {
	w.Uint32(c.From)
	appendUint32s(w, c.Targets)
}

func ReadRoleData(r *mls.Reader) RoleData {
	d := RoleData{mls.ReadList(r, "roles", ReadRole)}
	seen := make(map[uint32]bool, len(d.Roles))
	for _, role := range d.Roles {
		if reason := role.fault(); reason != "" {
			r.Fail("roles", fmt.Sprintf("role %d: %s", role.Index, reason))
			break
		}
		if seen[role.Index] {
			r.Fail("roles", fmt.Sprintf("role_index %d stands twice", role.Index))
			break
		}
		seen[role.Index] = true
	}
	return d
}

func ParseRoleData(b []byte) (RoleData, error) { return mls.Parse("RoleData", b, ReadRoleData) }

func (d RoleData) AppendTo(w *mls.Writer) { mls.AppendList(w, d.Roles) }

func (d RoleData) Marshal() []byte { return marshal(d) }
