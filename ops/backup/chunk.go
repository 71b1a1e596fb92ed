package backup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"

	"github.com/klauspost/compress/zstd"
)

// A chunk is a row of records, in ascending order of their keys:
//
//	struct {
//	    uint32 key_length;   // not 0
//	    uint32 value_length;
//	    opaque key[key_length];
//	    opaque value[value_length];
//	} Record;
//
// Its ID is the SHA-256 of that, and what is stored under the ID is one zstd frame of it.
const (
	chunkBytesMax   = 8 << 20 // behind its last record but one
	recordBytesMax  = 64 << 20
	recordHeadBytes = 8

	// storedBytesMax is what a chunk has in the store at most: zstd adds little to what cannot be compressed.
	storedBytesMax = recordBytesMax + chunkBytesMax + 1<<20
)

// ErrDamaged: something of a backup is not what was written.
var ErrDamaged = errors.New("the backup is damaged")

// chunkID names a chunk by what is in it.
type chunkID [sha256.Size]byte

func (id chunkID) String() string { return hex.EncodeToString(id[:]) }

func (id chunkID) name() string { return "chunks/" + id.String()[:2] + "/" + id.String() }

func (id chunkID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *chunkID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(id) {
		return fmt.Errorf("%q is no SHA-256", text)
	}
	*id = chunkID(raw)
	return nil
}

func appendRecord(b, key, value []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(key)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(append(b, key...), value...)
}

// visitRecords hands out a chunk's records, whose slices are parts of it.
func visitRecords(chunk []byte, visit func(key, value []byte) error) error {
	for len(chunk) > 0 {
		if len(chunk) < recordHeadBytes {
			return fmt.Errorf("%w: a chunk ends inside a record", ErrDamaged)
		}
		keyBytes, valueBytes := uint64(binary.BigEndian.Uint32(chunk)), uint64(binary.BigEndian.Uint32(chunk[4:]))
		chunk = chunk[recordHeadBytes:]
		if keyBytes == 0 || keyBytes+valueBytes > uint64(len(chunk)) {
			return fmt.Errorf("%w: a chunk ends inside a record", ErrDamaged)
		}
		if err := visit(chunk[:keyBytes:keyBytes], chunk[keyBytes:keyBytes+valueBytes:keyBytes+valueBytes]); err != nil {
			return err
		}
		chunk = chunk[keyBytes+valueBytes:]
	}
	return nil
}

// cutting says where chunks end.
type cutting struct{ least, mean, most int } // bytes

// usual is how backups are cut; tests have smaller chunks.
var usual = cutting{least: 512 << 10, mean: 2 << 20, most: chunkBytesMax}

// endsAt reports whether a chunk that has come to so many bytes ends behind a record. From the least on that depends on the record's key
// alone and on its size: so where a part of the state changes, the chunks of the rest stay what they were.
func (c cutting) endsAt(bytes int, key []byte, recordBytes int) bool {
	if bytes < c.least || bytes >= c.most {
		return bytes >= c.most
	}
	hash := sha256.Sum256(key)
	wait := uint64(c.mean - c.least)
	return uint64(recordBytes) >= wait || binary.BigEndian.Uint64(hash[:]) < math.MaxUint64/wait*uint64(recordBytes)
}

// packer compresses and opens chunks. It belongs to one goroutine.
type packer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

func newPacker() (*packer, error) {
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, err
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(recordBytesMax+chunkBytesMax))
	return &packer{encoder, decoder}, err
}

func (p *packer) close() { p.decoder.Close() }

func (p *packer) pack(chunk []byte) []byte { return p.encoder.EncodeAll(chunk, nil) }

// fetch reads a chunk and holds it against its ID. An error that is the backup's wraps ErrDamaged or ErrMissing; others are the store's.
func (p *packer) fetch(ctx context.Context, store Store, id chunkID) ([]byte, error) {
	stored, err := store.Get(ctx, id.name(), storedBytesMax)
	if errors.Is(err, errTooLong) {
		return nil, fmt.Errorf("%w: chunk %s: %w", ErrDamaged, id, err)
	}
	if err != nil {
		return nil, fmt.Errorf("chunk %s: %w", id, err)
	}
	chunk, err := p.decoder.DecodeAll(stored, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: chunk %s: %w", ErrDamaged, id, err)
	}
	if sha256.Sum256(chunk) != id {
		return nil, fmt.Errorf("%w: chunk %s has other contents", ErrDamaged, id)
	}
	return chunk, nil
}
