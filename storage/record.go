package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/hashicorp/raft"
)

// A log record is what stands for one Raft log entry, in either log engine:
//
//	struct {
//	    uint8  version = 1;
//	    uint32 crc;            // CRC-32C over group[4], index[8] and everything from flags on
//	    uint8  flags;          // bit 0: appended_at is set
//	    uint8  type;
//	    uint64 term;
//	    uint64 appended_at;    // nanoseconds since 1970, two's complement; 0 when not set
//	    uint32 extensions_length;
//	    opaque extensions[extensions_length];
//	    opaque data[];         // to the end
//	} LogRecord;
//
// Integers are big-endian. Group and index are in the key and not repeated, but the checksum covers them, so that a record
// found under a foreign key is noticed too.
const (
	recordVersion     = 1
	recordHeaderBytes = 1 + 4 + recordFixedBytes
	recordFixedBytes  = 1 + 1 + 8 + 8 + 4 // from flags to extensions_length
	recordBodyOffset  = 5                 // where flags stands

	recordHasAppendedAt = 1 << 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func recordSize(entry *raft.Log) int {
	return recordHeaderBytes + len(entry.Extensions) + len(entry.Data)
}

// encodeRecord fills buf, which must have recordSize bytes.
func encodeRecord(buf []byte, group uint32, entry *raft.Log) error {
	if uint64(len(entry.Extensions)) > math.MaxUint32 {
		return fmt.Errorf("storage: log extensions of %d bytes", len(entry.Extensions))
	}
	buf[0] = recordVersion
	body := buf[recordBodyOffset:]
	clear(body[:recordFixedBytes])
	body[1] = byte(entry.Type)
	binary.BigEndian.PutUint64(body[2:], entry.Term)
	if !entry.AppendedAt.IsZero() {
		body[0] |= recordHasAppendedAt
		binary.BigEndian.PutUint64(body[10:], uint64(entry.AppendedAt.UnixNano()))
	}
	binary.BigEndian.PutUint32(body[18:], uint32(len(entry.Extensions)))
	copy(body[recordFixedBytes:], entry.Extensions)
	copy(body[recordFixedBytes+len(entry.Extensions):], entry.Data)
	binary.BigEndian.PutUint32(buf[1:], recordSum(group, entry.Index, body))
	return nil
}

// decodeRecord checks a record and fills entry from it. The entry keeps slices of record, which must be the caller's to give.
func decodeRecord(record []byte, group uint32, index uint64, entry *raft.Log) error {
	corrupt := func(what string) error {
		return fmt.Errorf("group %d, log index %d: %w: %s", group, index, ErrCorrupt, what)
	}
	if len(record) < recordHeaderBytes {
		return corrupt("record is too short")
	}
	if record[0] != recordVersion {
		return corrupt(fmt.Sprintf("record version %d", record[0]))
	}
	body := record[recordBodyOffset:]
	if binary.BigEndian.Uint32(record[1:]) != recordSum(group, index, body) {
		return corrupt("checksum differs")
	}
	rest := body[recordFixedBytes:]
	extensions := uint64(binary.BigEndian.Uint32(body[18:]))
	if extensions > uint64(len(rest)) || body[0]&^recordHasAppendedAt != 0 {
		return corrupt("record does not parse")
	}
	*entry = raft.Log{
		Index: index,
		Term:  binary.BigEndian.Uint64(body[2:]),
		Type:  raft.LogType(body[1]),
		Data:  rest[extensions:],
	}
	if extensions > 0 {
		entry.Extensions = rest[:extensions:extensions]
	}
	if body[0]&recordHasAppendedAt != 0 {
		entry.AppendedAt = time.Unix(0, int64(binary.BigEndian.Uint64(body[10:])))
	}
	return nil
}

func recordSum(group uint32, index uint64, body []byte) uint32 {
	var key [logKeyBytes]byte
	return crc32.Update(crc32.Checksum(appendLogKey(key[:0], group, index), castagnoli), castagnoli, body)
}
