package fsm

import "parley/mls"

// The encodings of the commands that bring large ones in pieces.

//	struct {
//	    uint16 at;
//	    opaque object[32];
//	    uint16 index;
//	    opaque bytes<V>;
//	} PutPiece;
func (c PutPiece) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	w.Fixed(c.Object[:])
	w.Uint16(c.Index)
	w.Opaque(c.Bytes)
}

func readPutPiece(r *mls.Reader) PutPiece {
	return PutPiece{At: SlotID(r.Uint16("at")), Object: readHash(r, "object"), Index: r.Uint16("index"), Bytes: r.Opaque("bytes")}
}

//	struct {
//	    uint16 at;
//	    opaque object[32];
//	    uint16 count;
//	    uint32 bytes;
//	    uint16 kind; // CommandKind
//	} ApplyPieces;
func (c ApplyPieces) appendTo(w *mls.Writer) {
	w.Uint16(uint16(c.At))
	w.Fixed(c.Object[:])
	w.Uint16(c.Count)
	w.Uint32(c.Bytes)
	w.Uint16(uint16(c.Kind))
}

func readApplyPieces(r *mls.Reader) ApplyPieces {
	c := ApplyPieces{
		At:     SlotID(r.Uint16("at")),
		Object: readHash(r, "object"),
		Count:  r.Uint16("count"),
		Bytes:  r.Uint32("bytes"),
		Kind:   CommandKind(r.Uint16("kind")),
	}
	if _, carried := carriedLane(c.Kind); !carried && !r.Failed() {
		r.Fail("kind", "it is not one that this program takes in pieces")
	}
	return c
}
