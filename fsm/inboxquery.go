package fsm

import (
	"cmp"
	"slices"

	"parley/mls"
)

// InboxQuery is what a reader of the provider's inbox asks for.
type InboxQuery struct {
	Items   int        // at most
	Bytes   int        // bodies together, at most; one item comes however large it is. 0: no bound of the reader's own
	Classes EventClass // an item that has something of them comes whole; none stands for all
	After   InboxPlaces
}

// InboxPage answers an InboxQuery: the items of each slot are the first that there are behind the query's places, without a hole.
type InboxPage struct {
	Items []OutboxItem
	Whole bool // nothing that fits the query was left out, as far as the reader could see
}

// InboxPlace is how far a reader is in what waits in one slot: it has had everything up to the sequence that fits its query.
type InboxPlace struct {
	Slot     SlotID
	Sequence uint64
}

// InboxPlaces has at most one place of each slot, in order of the slots. Nothing was read of a slot that is not there. Sequences are of
// the slot and not of whoever leads its shard, so places outlive failovers, and go where a slot goes.
type InboxPlaces []InboxPlace

// Of is the place in a slot, 0 for none.
func (p InboxPlaces) Of(slot SlotID) uint64 {
	if i, found := p.find(slot); found {
		return p[i].Sequence
	}
	return 0
}

// With is the places after one more was reached. The receiver stays as it is.
func (p InboxPlaces) With(slot SlotID, sequence uint64) InboxPlaces {
	i, found := p.find(slot)
	switch {
	case !found:
		return slices.Insert(slices.Clone(p), i, InboxPlace{slot, sequence})
	case p[i].Sequence >= sequence:
		return p
	default:
		further := slices.Clone(p)
		further[i].Sequence = sequence
		return further
	}
}

func (p InboxPlaces) find(slot SlotID) (int, bool) {
	return slices.BinarySearchFunc(p, slot, func(place InboxPlace, slot SlotID) int { return cmp.Compare(place.Slot, slot) })
}

// AppendTo writes the places.
//
//	struct {
//	    uint16 slot;
//	    uint64 sequence;
//	} InboxPlace;
//
//	InboxPlace InboxPlaces<V>;
func (p InboxPlaces) AppendTo(w *mls.Writer) {
	appendList(w, p, func(w *mls.Writer, place InboxPlace) {
		w.Uint16(uint16(place.Slot))
		w.Uint64(place.Sequence)
	})
}

// ReadInboxPlaces reads what AppendTo wrote, and nothing that is no InboxPlaces.
func ReadInboxPlaces(r *mls.Reader, field string) InboxPlaces {
	places := InboxPlaces(readList(r, field, func(r *mls.Reader) InboxPlace {
		return InboxPlace{SlotID(r.Uint16("slot")), r.Uint64("sequence")}
	}))
	for i, place := range places {
		if place.Slot >= SlotCount || i > 0 && place.Slot <= places[i-1].Slot {
			r.Fail(field, "the slots are not in order")
			return nil
		}
	}
	return places
}
