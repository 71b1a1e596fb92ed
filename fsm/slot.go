package fsm

import (
	"crypto/sha256"
	"encoding/binary"

	"parley/mimi"
)

// SlotCount is the number of hash buckets that rooms and users fall into. It is part of every key and can never change.
const SlotCount = 4096

// SlotID is one of the SlotCount buckets: the first 12 bits of the SHA-256 of a canonical room or user URI. All that belongs
// to a room or a user is kept under its slot and moves between shards with it.
type SlotID uint16

// ShardLevel stands in place of a slot for what concerns a whole shard: settings, fences, sweeps.
const ShardLevel SlotID = 0xffff

// ShardID names a shard; it is also the number of its Raft group. 0 is the meta group, and numbers are never used again.
type ShardID uint32

// SlotOfRoom returns the slot that holds a room's state, also at a provider that only follows the room.
func SlotOfRoom(room mimi.RoomURI) SlotID { return slotOf(room.String()) }

// SlotOfUser returns the slot that holds a user's clients and KeyPackages.
func SlotOfUser(user mimi.UserURI) SlotID { return slotOf(user.String()) }

func slotOf(uri string) SlotID {
	sum := sha256.Sum256([]byte(uri))
	return SlotID(binary.BigEndian.Uint16(sum[:2]) >> 4)
}
