package backup

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// summer adds records up. It belongs to one goroutine.
type summer struct {
	hash hash.Hash
	head [recordHeadBytes]byte
	sum  Sum
}

func newSummer() *summer { return &summer{hash: sha256.New()} }

func (s *summer) add(key, value []byte) {
	binary.BigEndian.PutUint32(s.head[:], uint32(len(key)))
	binary.BigEndian.PutUint32(s.head[4:], uint32(len(value)))
	s.hash.Write(s.head[:])
	s.hash.Write(key)
	s.hash.Write(value)
	s.sum.Records++
	s.sum.Bytes += uint64(len(key) + len(value))
}

// end is what was added.
func (s *summer) end() Sum {
	sum := s.sum
	s.hash.Sum(sum.Digest[:0])
	return sum
}

// slotOf is the slot that a key of a shard belongs to.
func slotOf(key []byte) uint16 {
	if len(key) < 2 {
		return 0xffff
	}
	return binary.BigEndian.Uint16(key)
}

// slotSums adds the records of a shard up by slot, as they come in order.
type slotSums struct {
	owned   []Owned // that are still to come
	current *summer
	done    []Slot
}

// add takes one more record; false for one of a slot that the shard does not own, or that came before.
func (s *slotSums) add(key, value []byte) bool {
	slot := slotOf(key)
	for len(s.owned) > 0 && s.owned[0].Slot < slot {
		s.close()
	}
	if len(s.owned) == 0 || s.owned[0].Slot != slot {
		return false
	}
	if s.current == nil {
		s.current = newSummer()
	}
	s.current.add(key, value)
	return true
}

func (s *slotSums) close() {
	if s.current == nil {
		s.current = newSummer()
	}
	s.done = append(s.done, Slot{s.owned[0], s.current.end()})
	s.owned, s.current = s.owned[1:], nil
}

// end closes the slots that are left, which have no records.
func (s *slotSums) end() []Slot {
	for len(s.owned) > 0 {
		s.close()
	}
	return s.done
}
