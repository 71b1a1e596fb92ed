package fsm

import "parley/mls"

// The encodings of the commands on internal queues.

//	struct {
//	    uint16 at;
//	    uint16 from;
//	    uint64 first;
//	    opaque effects<V><V>; // each as of EncodeEffect
//	} ReceiveInternal;
func (c ReceiveInternal) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	w.Uint16(uint16(c.From))
	w.Uint64(c.First)
	appendList(w, c.Effects, func(w *mls.Writer, e Effect) { w.Opaque(EncodeEffect(e)) })
}

func readReceiveInternal(r *mls.Reader) ReceiveInternal {
	return ReceiveInternal{
		At:    SlotID(r.Uint16("at")),
		From:  SlotID(r.Uint16("from")),
		First: r.Uint64("first"),
		Effects: readList(r, "effects", func(r *mls.Reader) Effect {
			e, err := DecodeEffect(r.Opaque(""))
			if err != nil && !r.Failed() {
				r.Fail("effect", err.Error())
			}
			return e
		}),
	}
}

//	struct {
//	    uint16 at;
//	    uint16 to;
//	    uint64 next;
//	} DropInternal;
func (c DropInternal) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	w.Uint16(uint16(c.To))
	w.Uint64(c.Next)
}

func readDropInternal(r *mls.Reader) DropInternal {
	return DropInternal{At: SlotID(r.Uint16("at")), To: SlotID(r.Uint16("to")), Next: r.Uint64("next")}
}
