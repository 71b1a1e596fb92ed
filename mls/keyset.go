package mls

import "crypto/sha256"

// keySet counts the public keys that stand in a tree, by digest, in a trie of 16 ways. Like the tree it is never changed in
// place: neighbouring epochs share what they have in common. The zero value is empty, and so is nil.
type keySet struct{ slots [16]keySlot }

// keySlot holds the one key whose digest begins this way, or the set of those that do, or nothing.
type keySlot struct {
	entry *keyEntry
	set   *keySet
}

type keyEntry struct {
	digest keyDigest
	count  int
}

// keyDigest is of a key with its purpose, and evenly distributed whatever keys a sender chooses.
type keyDigest [sha256.Size]byte

// keyPurpose keeps encryption keys and signature keys apart.
type keyPurpose byte

const (
	forEncryption keyPurpose = 1
	forSignature  keyPurpose = 2
)

func digestOf(purpose keyPurpose, key []byte) keyDigest {
	return sha256.Sum256(append([]byte{byte(purpose)}, key...))
}

func (d *keyDigest) nibble(depth int) byte { return d[depth/2] >> (4 * (1 - depth%2)) & 15 }

// with is the set after a key's count has changed; one that comes to 0 is gone.
func (s *keySet) with(d keyDigest, depth, by int) *keySet {
	next := &keySet{}
	if s != nil {
		*next = *s
	}
	slot := &next.slots[d.nibble(depth)]
	switch {
	case slot.set != nil:
		if slot.set = slot.set.with(d, depth+1, by); slot.set.empty() {
			slot.set = nil
		}
	case slot.entry == nil:
		slot.entry = &keyEntry{digest: d, count: by}
	case slot.entry.digest != d:
		other := slot.entry
		slot.entry = nil
		slot.set = (*keySet)(nil).with(other.digest, depth+1, other.count).with(d, depth+1, by)
	case slot.entry.count+by == 0:
		slot.entry = nil
	default:
		slot.entry = &keyEntry{digest: d, count: slot.entry.count + by}
	}
	return next
}

// insert adds a key to a set that nobody shares yet, in place.
func (s *keySet) insert(e *keyEntry, depth int) {
	slot := &s.slots[e.digest.nibble(depth)]
	switch {
	case slot.set != nil:
		slot.set.insert(e, depth+1)
	case slot.entry == nil:
		slot.entry = e
	case slot.entry.digest == e.digest:
		slot.entry = &keyEntry{digest: e.digest, count: slot.entry.count + e.count}
	default:
		other := slot.entry
		slot.entry, slot.set = nil, &keySet{}
		slot.set.insert(other, depth+1)
		slot.set.insert(e, depth+1)
	}
}

// keysOf counts the keys of many nodes.
func keysOf(each func(yield func(NodeIndex, *treeNode) bool)) *keySet {
	s := &keySet{}
	add := func(purpose keyPurpose, key []byte) { s.insert(&keyEntry{digest: digestOf(purpose, key), count: 1}, 0) }
	each(func(_ NodeIndex, n *treeNode) bool {
		if n.parent != nil {
			add(forEncryption, n.parent.EncryptionKey)
			return true
		}
		add(forEncryption, n.leaf.EncryptionKey)
		add(forSignature, n.leaf.SignatureKey)
		return true
	})
	return s
}

func (s *keySet) empty() bool { return *s == keySet{} }

// count is how often a key stands in the set.
func (s *keySet) count(d keyDigest) int {
	for depth := 0; s != nil; depth++ {
		slot := s.slots[d.nibble(depth)]
		if slot.entry != nil && slot.entry.digest == d {
			return slot.entry.count
		}
		s = slot.set
	}
	return 0
}

// withNode is the set after a node's keys have come, by 1, or gone, by -1.
func (s *keySet) withNode(n *treeNode, by int) *keySet {
	switch {
	case n == nil:
		return s
	case n.parent != nil:
		return s.with(digestOf(forEncryption, n.parent.EncryptionKey), 0, by)
	default:
		return s.with(digestOf(forEncryption, n.leaf.EncryptionKey), 0, by).with(digestOf(forSignature, n.leaf.SignatureKey), 0, by)
	}
}
