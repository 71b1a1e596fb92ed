package mimi

import (
	"fmt"

	"parley/mls"
)

// JoinLinks is the data of the join_links component (room-policy-03 §6.2), which the draft writes without the brackets of
// join_link.
//
//	struct {
//	    opaque join_link<V>;
//	} JoinLink;
//
//	JoinLink JoinLinksData<V>;
type JoinLinks [][]byte

// JoinLinksUpdate is the update of join_links: a patch, as that of the participant list (room-policy-03 §6.2).
//
//	struct {
//	    uint32 removedIndices<V>;
//	    JoinLink added_links<V>;
//	} JoinLinksUpdate;
type JoinLinksUpdate struct {
	Removed []uint32
	Added   JoinLinks
}

func readJoinLinks(r *mls.Reader, field string) JoinLinks {
	return mls.ReadList(r, field, func(r *mls.Reader) []byte { return r.Opaque("join_link") })
}

func ReadJoinLinks(r *mls.Reader) JoinLinks { return readJoinLinks(r, "") }

func ParseJoinLinks(b []byte) (JoinLinks, error) { return mls.Parse("JoinLinksData", b, ReadJoinLinks) }

func (l JoinLinks) AppendTo(w *mls.Writer) {
	w.Vector(func(w *mls.Writer) {
		for _, link := range l {
			w.Opaque(link)
		}
	})
}

func (l JoinLinks) Marshal() []byte { return marshal(l) }

func ReadJoinLinksUpdate(r *mls.Reader) JoinLinksUpdate {
	return JoinLinksUpdate{Removed: readUint32s(r, "removedIndices"), Added: readJoinLinks(r, "added_links")}
}

func ParseJoinLinksUpdate(b []byte) (JoinLinksUpdate, error) {
	return mls.Parse("JoinLinksUpdate", b, ReadJoinLinksUpdate)
}

func (u JoinLinksUpdate) AppendTo(w *mls.Writer) {
	appendUint32s(w, u.Removed)
	u.Added.AppendTo(w)
}

func (u JoinLinksUpdate) Marshal() []byte { return marshal(u) }

// ApplyJoinLinks makes the links that the updates of one Commit ask for. Indices are places in current; removals come first,
// then the added links in order. An index out of range or repeated is a *mls.InvalidError. Current is left alone.
func ApplyJoinLinks(current JoinLinks, updates []JoinLinksUpdate) (JoinLinks, error) {
	removed := make([]bool, len(current))
	var added JoinLinks
	for _, u := range updates {
		for _, index := range u.Removed {
			if uint64(index) >= uint64(len(current)) || removed[index] {
				return nil, &mls.InvalidError{
					Section: "room-policy-03 §6.2",
					Reason:  fmt.Sprintf("join link %d of %d is not there or removed twice", index, len(current)),
				}
			}
			removed[index] = true
		}
		added = append(added, u.Added...)
	}
	var result JoinLinks
	for i, link := range current {
		if !removed[i] {
			result = append(result, link)
		}
	}
	return append(result, added...), nil
}
