package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
)

// Digest sums up a shard's whole state: the SHA-256 over all keys and values in order of the keys, each behind its length.
// Replicas that applied the same entries have the same.
//
//	struct {
//	    uint32 key_length;
//	    uint32 value_length;
//	    opaque key[key_length];
//	    opaque value[value_length];
//	} DigestedRecord;
func Digest(r Reader) (sum [32]byte, err error) {
	d := newDigester()
	lower, upper := wholeRange()
	err = r.Scan(lower, upper, func(key, value []byte) (bool, error) {
		d.add(key, value)
		return true, nil
	})
	if err != nil {
		return sum, fmt.Errorf("digest: %w", err)
	}
	return d.sum(), nil
}

// ContentDigest is Digest of all slots, without what a shard keeps for itself: the hub clock, which every entry moves, and its
// settings. It stays the same while nothing happens, whatever fences are written.
func ContentDigest(r Reader) (sum [32]byte, err error) {
	d := newDigester()
	err = r.Scan(nil, shardKey(0), func(key, value []byte) (bool, error) {
		d.add(key, value)
		return true, nil
	})
	if err != nil {
		return sum, fmt.Errorf("digest of the content: %w", err)
	}
	return d.sum(), nil
}

// SlotDigest is Digest of one slot alone, the same whichever shard holds it.
func SlotDigest(r Reader, slot SlotID) (sum [32]byte, err error) {
	d := newDigester()
	lower, upper := slotRange(slot)
	err = r.Scan(lower, upper, func(key, value []byte) (bool, error) {
		d.add(key, value)
		return true, nil
	})
	if err != nil {
		return sum, fmt.Errorf("digest of slot %d: %w", slot, err)
	}
	return d.sum(), nil
}

type digester struct{ hash hash.Hash }

func newDigester() digester { return digester{sha256.New()} }

func (d digester) add(key, value []byte) {
	d.hash.Write(recordHead(key, value))
	d.hash.Write(key)
	d.hash.Write(value)
}

func (d digester) sum() (sum [32]byte) {
	d.hash.Sum(sum[:0])
	return sum
}

func recordHead(key, value []byte) []byte {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(key)))
	return binary.BigEndian.AppendUint32(head, uint32(len(value)))
}
