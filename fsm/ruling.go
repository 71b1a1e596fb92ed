package fsm

import (
	"parley/mls"
)

// Ruling is what a Commit does to a room's members and policy, found before the log; of layout 2 of AcceptCommit.
type Ruling struct {
	Made      bool           // false in layout 1
	Member    bool           // a member commits; else somebody joins from outside
	Committer mls.LeafIndex  // the member's leaf
	Removals  []Removal      // the leaves that are taken out
	Clients   []ClientOfUser // the client that joins, where its provider says in the Commit whose it is
	Leaves    []Leave        // of those of Renewed that restrict somebody at once
	Rules     RoomRules      // of the epoch that it begins
}

// Removal is a leaf that a Commit takes out: by its own SelfRemove, or by a Remove.
type Removal struct {
	Leaf mls.LeafIndex
	Self bool
}

// RoomRules are the parts of a room's policy that apply needs for what comes without a judgement of the policy.
type RoomRules struct {
	Silent         []uint32 // roles whose holders may not send messages
	EpochTolerance *uint8   // messages of this many older epochs are taken; nil leaves it to the settings
}

//	struct {
//	    uint8 member;
//	    uint32 committer;
//	    Removal removals<V>;     // uint32 leaf, uint8 self
//	    ClientOfUser clients<V>; // opaque client<V>, opaque user<V>
//	    Leave leaves<V>;
//	    RoomRules rules;
//	} Ruling;
func (v Ruling) appendTo(w *mls.Writer) {
	w.Bool(v.Member)
	w.Uint32(uint32(v.Committer))
	appendList(w, v.Removals, func(w *mls.Writer, m Removal) {
		w.Uint32(uint32(m.Leaf))
		w.Bool(m.Self)
	})
	appendList(w, v.Clients, appendClientOfUser)
	appendList(w, v.Leaves, func(w *mls.Writer, l Leave) { l.appendTo(w) })
	v.Rules.appendTo(w)
}

func readRuling(r *mls.Reader) Ruling {
	return Ruling{
		Made:      true,
		Member:    r.Bool("member"),
		Committer: mls.LeafIndex(r.Uint32("committer")),
		Removals: readList(r, "removals", func(r *mls.Reader) Removal {
			return Removal{Leaf: mls.LeafIndex(r.Uint32("leaf")), Self: r.Bool("self")}
		}),
		Clients: readList(r, "clients", readClientOfUser),
		Leaves:  readList(r, "leaves", readLeave),
		Rules:   mls.ReadIn(r, "rules", readRoomRules),
	}
}

// appendOptionalRuling writes optional<Ruling>.
func appendOptionalRuling(w *mls.Writer, v Ruling) {
	w.Bool(v.Made)
	if v.Made {
		v.appendTo(w)
	}
}

func readOptionalRuling(r *mls.Reader, field string) Ruling {
	if v := mls.ReadOptional(r, field, readRuling); v != nil {
		return *v
	}
	return Ruling{}
}

//	struct {
//	    uint32 silent<V>;
//	    optional<uint8> epoch_tolerance;
//	} RoomRules;
func (v RoomRules) appendTo(w *mls.Writer) {
	appendList(w, v.Silent, (*mls.Writer).Uint32)
	w.Bool(v.EpochTolerance != nil)
	if v.EpochTolerance != nil {
		w.Uint8(*v.EpochTolerance)
	}
}

func readRoomRules(r *mls.Reader) RoomRules {
	return RoomRules{
		Silent:         readList(r, "silent", func(r *mls.Reader) uint32 { return r.Uint32("") }),
		EpochTolerance: mls.ReadOptional(r, "epoch_tolerance", func(r *mls.Reader) uint8 { return r.Uint8("") }),
	}
}

func (v RoomRules) isZero() bool { return len(v.Silent) == 0 && v.EpochTolerance == nil }
