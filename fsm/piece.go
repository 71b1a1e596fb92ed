package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"parley/mls"
)

// A command that is too large for one entry of the log goes in as pieces, which are known by the hash of the whole, and a small
// command that names them. Until it does, pieces change nothing else. They are of the slot of the command that they make up, and
// go with it when it moves; pieces that nothing names are dropped after pieceMillis.

const (
	// PieceBytesMax bounds one piece, PiecesMax the number of those that make up a command.
	PieceBytesMax = 256 << 10
	PiecesMax     = 64

	// ObjectBytesMax bounds a command that is cut into pieces: what a request's body of 8 MiB can come to.
	ObjectBytesMax = 8 << 20
	// FanoutBytesMax is for what comes from another hub. It is more, so that what a hub of these limits sends out, a follower of
	// the same limits can take in, with the names and hashes that it adds.
	FanoutBytesMax = ObjectBytesMax + 512<<10

	// slotPieceBytesMax bounds the pieces of a slot.
	slotPieceBytesMax = 64 << 20
	// pieceMillis is how long a piece waits for the command that names it.
	pieceMillis = 10 * 60 * 1000
	// cutBytes is the length of all pieces of a command but the last: one fills an entry of the size that a proposer gathers.
	cutBytes = 240 << 10
)

// Cut takes a command apart into pieces and the command that names them. The error is a *mls.MalformedError: the command is too
// large, or of a kind that has to fit an entry.
func Cut(c Command) ([]PutPiece, ApplyPieces, error) {
	encoded := EncodeCommand(c)
	if _, carried := carriedLane(c.kind()); !carried || len(encoded) > objectBytesMax(c.kind()) {
		return nil, ApplyPieces{}, &mls.MalformedError{
			Field: "body", Reason: fmt.Sprintf("it makes a log record of %d bytes, more than its kind may have", len(encoded)),
		}
	}
	named := ApplyPieces{At: c.Slot(), Object: sha256.Sum256(encoded), Bytes: uint32(len(encoded)), Kind: c.kind()}
	var pieces []PutPiece
	for ; len(encoded) > 0; named.Count++ {
		n := min(cutBytes, len(encoded))
		pieces = append(pieces, PutPiece{At: named.At, Object: named.Object, Index: named.Count, Bytes: encoded[:n]})
		encoded = encoded[n:]
	}
	return pieces, named, nil
}

// carriedLane lists the kinds that may come in pieces, each with its lane. Only what is one object by its nature is among them.
func carriedLane(kind CommandKind) (Lane, bool) {
	switch kind {
	case KindCreateRoom, KindAcceptCommit, KindJudged, KindDestroyRoom, KindContinueRoom, KindFastForwardRoom:
		return Exclusive, true
	case KindSubmitProposals, KindUploadKeyPackages, KindReceiveFanout, KindReceiveBodies:
		return Bulk, true
	default:
		return 0, false
	}
}

func objectBytesMax(kind CommandKind) int {
	if kind == KindReceiveFanout || kind == KindReceiveBodies {
		return FanoutBytesMax
	}
	return ObjectBytesMax
}

// pieceRecord is a piece that waits.
//
//	struct {
//	    uint64 forget_millis;
//	    opaque bytes<V>;
//	} PieceRecord;
type pieceRecord struct {
	forgetMillis uint64
	bytes        []byte
}

func (p pieceRecord) appendTo(w *mls.Writer) {
	w.Uint64(p.forgetMillis)
	w.Opaque(p.bytes)
}

func readPieceRecord(r *mls.Reader) pieceRecord {
	return pieceRecord{forgetMillis: r.Uint64("forget_millis"), bytes: r.Opaque("bytes")}
}

func objectKey(slot SlotID, object [hashBytes]byte) key { return newKey(slot, keyPiece).raw(object[:]) }

// ReadPieceBytes returns how many bytes of pieces wait in a slot.
func ReadPieceBytes(r Reader, slot SlotID) (uint64, error) {
	bytes, _, err := readRecord(r, newKey(slot, keyPieceBytes), "bytes of pieces", func(r *mls.Reader) uint64 { return r.Uint64("bytes") })
	return bytes, err
}

func (t *tx) pieceBytes(slot SlotID) uint64 {
	bytes, err := ReadPieceBytes(t.store, slot)
	t.check(err)
	return bytes
}

func (t *tx) setPieceBytes(slot SlotID, bytes uint64) {
	k := newKey(slot, keyPieceBytes)
	if bytes == 0 {
		t.delete(k)
		return
	}
	t.set(k, record(func(w *mls.Writer) { w.Uint64(bytes) }))
}

// putPiece keeps a piece. The same piece again waits anew; another under its name takes its place, for only the whole object's
// hash can tell which of them was right.
func (t *tx) putPiece(c PutPiece) Outcome {
	if c.Index >= PiecesMax || len(c.Bytes) == 0 || len(c.Bytes) > PieceBytesMax {
		return NotAllowed{Reason: "the piece is larger than this hub takes, empty, or one too many"}
	}
	k := objectKey(c.At, c.Object).uint16(c.Index)
	before, _ := get(t, func(r Reader) (pieceRecord, bool, error) { return readRecord(r, k, "piece", readPieceRecord) })
	bytes := t.pieceBytes(c.At) - uint64(len(before.bytes)) + uint64(len(c.Bytes))
	if bytes > slotPieceBytesMax {
		return SlotFull{}
	}
	t.setPieceBytes(c.At, bytes)
	piece := pieceRecord{addUpTo(t.now, pieceMillis), c.Bytes}
	t.set(k, record(piece.appendTo))
	t.expireAt(k, piece.forgetMillis)
	return Done{}
}

// applyPieces puts a command together and decides on it. Pieces that turn out not to be the object are dropped and asked for
// again. That an object with the right hash cannot be read stops the replica, as an entry that cannot be read does.
func (t *tx) applyPieces(c ApplyPieces) Outcome {
	if c.Count == 0 || c.Count > PiecesMax || int(c.Bytes) > objectBytesMax(c.Kind) {
		return NotAllowed{Reason: "the object is larger than this hub takes"}
	}
	object, missing := t.object(c)
	if len(missing) > 0 {
		return MissingPieces{Indexes: missing}
	}
	t.dropObject(c.At, c.Object)
	if sha256.Sum256(object) != c.Object {
		return MissingPieces{Indexes: indexesTo(c.Count)}
	}
	inner, err := DecodeCommand(object)
	t.check(err)
	if inner.kind() != c.Kind || inner.Slot() != c.At || len(object) != int(c.Bytes) {
		return NotAllowed{Reason: "the object is not the command that was named"}
	}
	return t.apply(inner)
}

// object joins the pieces of an object, or says which are missing.
func (t *tx) object(c ApplyPieces) (object []byte, missing []uint16) {
	next := uint16(0)
	t.check(t.visitPieces(c.At, c.Object, func(index uint16, bytes []byte) {
		for ; next < min(index, c.Count); next++ {
			missing = append(missing, next)
		}
		if index < c.Count {
			object = append(object, bytes...)
			next++
		}
	}))
	for ; next < c.Count; next++ {
		missing = append(missing, next)
	}
	return object, missing
}

// visitPieces visits what is there of an object, in order.
func (t *tx) visitPieces(slot SlotID, object [hashBytes]byte, visit func(index uint16, bytes []byte)) error {
	return scanRecords(t.store, objectKey(slot, object), "piece", readPieceRecord, func(rest []byte, p pieceRecord) (bool, error) {
		visit(binary.BigEndian.Uint16(rest), p.bytes)
		return true, nil
	})
}

// dropObject removes all pieces of an object.
func (t *tx) dropObject(slot SlotID, object [hashBytes]byte) {
	bytes := t.pieceBytes(slot)
	t.check(t.visitPieces(slot, object, func(_ uint16, piece []byte) { bytes -= uint64(len(piece)) }))
	t.deletePrefix(objectKey(slot, object))
	t.setPieceBytes(slot, bytes)
}

// expirePiece removes a piece that nothing has named.
func (t *tx) expirePiece(slot SlotID, target key) {
	piece, found := get(t, func(r Reader) (pieceRecord, bool, error) { return readRecord(r, target, "piece", readPieceRecord) })
	if !found || piece.forgetMillis > t.now {
		return
	}
	t.delete(target)
	t.setPieceBytes(slot, t.pieceBytes(slot)-uint64(len(piece.bytes)))
}

func indexesTo(count uint16) (all []uint16) {
	for i := range count {
		all = append(all, i)
	}
	return all
}
