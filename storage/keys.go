package storage

import (
	"encoding/binary"
	"fmt"
)

// Keys of both engines begin with the group's number, big-endian, so that a group is one contiguous range.
// The highest number is the engine's own and no group's.
//
//	state:  group[4] 0x00 name[1]      what the engine knows of the group
//	        group[4] 0x01 key          the group's own keys
//	log:    group[4] index[8]          one Raft log entry
//	both:   0xffffffff kind[1] number[4]

// GroupMax is the highest group number that may be used.
const GroupMax = engineGroup - 1

const engineGroup = ^uint32(0)

// What stands after a group's number in the state engine.
const (
	spaceMeta = 0x00
	spaceUser = 0x01
)

// The engine's own facts about a group, in the meta space.
const (
	metaApplied         = 0x01 // uint64: the index of the last entry in the state
	metaRestoring       = 0x02 // present while the state is being replaced
	metaRestoredThrough = 0x03 // uint64: the applied index that the last restore brought
)

// Kinds of the engine's own keys.
const (
	engineFormat    = 0x01
	engineTombstone = 0x02
)

func groupPrefix(group uint32) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 0, 5), group)
}

// groupEnd is the first key past the group's range. A group's number is at most GroupMax, so it never wraps.
func groupEnd(group uint32) []byte {
	return groupPrefix(group + 1)
}

func metaKey(group uint32, name byte) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, 6), group), spaceMeta, name)
}

// userKey appends the full key to buf, so that a caller in a loop needs no new memory.
func userKey(buf []byte, group uint32, key []byte) []byte {
	buf = append(binary.BigEndian.AppendUint32(buf, group), spaceUser)
	return append(buf, key...)
}

// userKeyPrefixBytes is the length of what userKey puts before a key.
const userKeyPrefixBytes = 5

// userRange is [lower, upper) in full keys. An upper of nil means the end of the group.
func userRange(group uint32, lower, upper []byte) (from, to []byte) {
	from = userKey(make([]byte, 0, userKeyPrefixBytes+len(lower)), group, lower)
	if upper == nil {
		return from, groupEnd(group)
	}
	return from, userKey(make([]byte, 0, userKeyPrefixBytes+len(upper)), group, upper)
}

func logKey(group uint32, index uint64) []byte {
	return appendLogKey(make([]byte, 0, logKeyBytes), group, index)
}

const logKeyBytes = 12

func appendLogKey(buf []byte, group uint32, index uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(buf, group), index)
}

func engineKey(kind byte, number uint32) []byte {
	key := append(groupPrefix(engineGroup), kind)
	return binary.BigEndian.AppendUint32(key, number)
}

// engineKeyNumber reads the number out of an engineKey.
func engineKeyNumber(key []byte) (uint32, error) {
	if len(key) != 9 {
		return 0, fmt.Errorf("%w: engine key %x", ErrCorrupt, key)
	}
	return binary.BigEndian.Uint32(key[5:]), nil
}
