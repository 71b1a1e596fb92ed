package storage

import (
	"encoding/binary"
	"hash/crc32"
)

// A segment of a journal is a sequence of frames:
//
//	struct {
//	    opaque salt[16];      // the segment's, random: a reader that has lost its place looks for it
//	    uint8  kind;
//	    uint64 number;        // of the record
//	    opaque origin[16];    // likewise
//	    uint32 length;        // of the payload
//	    uint32 header_crc;    // CRC-32C over all before it
//	    opaque payload[length];
//	    uint32 payload_crc;   // CRC-32C over header_crc and payload
//	} Frame;
//
// Integers are big-endian. Nobody outside knows a salt before it is on the disk, so nothing that was submitted can pass for a frame of
// its own where the frame around it is damaged.
const (
	saltBytes        = 16
	frameHeaderBytes = saltBytes + 1 + 8 + saltBytes + 4 + 4
	frameBytesLeast  = frameHeaderBytes + 4
)

// frameKind says what a frame is for. The numbers are for ever.
type frameKind uint8

const (
	frameBegin   frameKind = 1 // the first of a segment; number is the segment's
	frameRecord  frameKind = 2
	frameRemoved frameKind = 3 // the payload names records that are no more: uint64 number and opaque origin[16] of each
	frameSynced  frameKind = 4 // all before it was made durable
	frameEnd     frameKind = 5 // the last of a segment that was left in good order
)

// frame is one of a segment. Its payload may be lent.
type frame struct {
	kind    frameKind
	id      RecordID
	payload []byte
}

func frameSize(payload int) int { return frameBytesLeast + payload }

func (f frame) appendTo(b []byte, salt [saltBytes]byte) []byte {
	begin := len(b)
	b = append(b, salt[:]...)
	b = append(b, byte(f.kind))
	b = binary.BigEndian.AppendUint64(b, f.id.Number)
	b = append(b, f.id.Origin[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli))
	checked := len(b) - 4
	b = append(b, f.payload...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[checked:], castagnoli))
}

// frameState says how much of a frame could be read.
type frameState int

const (
	frameWhole   frameState = iota
	frameSpoiled            // the header holds, so that it is known where the next one begins; the payload does not
	frameLost               // not even that, or it goes on behind the end of the file
)

// readFrame reads the frame at the beginning of b, whose size is known unless it is lost.
func readFrame(b []byte, salt [saltBytes]byte) (f frame, size int, state frameState) {
	if len(b) < frameBytesLeast || [saltBytes]byte(b[:saltBytes]) != salt {
		return frame{}, 0, frameLost
	}
	const crcAt = frameHeaderBytes - 4
	if crc32.Checksum(b[:crcAt], castagnoli) != binary.BigEndian.Uint32(b[crcAt:]) {
		return frame{}, 0, frameLost
	}
	length := int(binary.BigEndian.Uint32(b[crcAt-4:]))
	if length > len(b)-frameBytesLeast {
		return frame{}, 0, frameLost
	}
	f.kind = frameKind(b[saltBytes])
	f.id.Number = binary.BigEndian.Uint64(b[saltBytes+1:])
	copy(f.id.Origin[:], b[saltBytes+9:])
	size = frameSize(length)
	end := size - 4
	if crc32.Checksum(b[crcAt:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return f, size, frameSpoiled
	}
	f.payload = b[frameHeaderBytes:end:end]
	return f, size, frameWhole
}

const removedBytes = 8 + saltBytes // of one record in a frameRemoved

func appendRemoved(b []byte, id RecordID) []byte {
	b = binary.BigEndian.AppendUint64(b, id.Number)
	return append(b, id.Origin[:]...)
}

// removedIn lists the records that a frameRemoved names.
func removedIn(payload []byte) (ids []RecordID) {
	for ; len(payload) >= removedBytes; payload = payload[removedBytes:] {
		id := RecordID{Number: binary.BigEndian.Uint64(payload)}
		copy(id.Origin[:], payload[8:])
		ids = append(ids, id)
	}
	return ids
}
