package fsm

import (
	"crypto/sha256"
	"encoding/binary"

	"parley/mimi"
	"parley/mls"
)

// A key is slot(2) ‖ kind(1) ‖ rest, numbers big-endian, so that all of a slot is one range of keys. Rooms, users and clients
// stand in keys as the SHA-256 of their URI (R, U, C), a group as that of its identifier (G), a destination as its length and
// domain (D), the name of a member as that of its text (N); references stand last and raw. Kinds are append-only.
//
//	kind  rest                    value                                         owner file
//	---- of the shard, in slot 0xffff; these stay when a slot moves ----
//	0x01  -                       hub clock                                     clock.go
//	0x02  -                       settings and their version                    clock.go
//	0x03  -                       which shard this is                           ownership.go
//	0x04  slot(2)                 whose the slot is                             ownership.go
//	0x05  slot(2)                 when the slot has something to expire         expiry.go
//	0x06  -                       the shard's format                            format.go
//	0x07  -                       slots whose changes are marked                slotmarks.go
//	0x08  slot(2) ‖ key           when a key of such a slot last changed        slotmarks.go
//	0x09  slot(2)                 how far the last move of the slot has come    slotstage.go
//	0x0a  slot(2) ‖ offset(4)     a part of a value of a slot that comes        slotpart.go
//	0x0b  -                       what incarnations of rooms begin above        slotactivate.go
//	0x0c  -                       the generation that the shard has begun       generation.go
//	---- of a slot: rooms ----
//	0x10  R                       roomHead                                      room.go
//	0x11  R                       roomGroup: GroupContext, GroupInfo            room.go
//	0x12  R                       participants, in their order                  participant.go
//	0x13  R ‖ U                   since which epoch a user is a participant     participant.go
//	0x14  R ‖ index(4)            a node of the ratchet tree                    tree.go
//	0x15  R ‖ ref                 a pending Proposal of the current epoch       proposal.go
//	0x16  R ‖ G ‖ epoch(8) ‖ ref  what became of a Proposal                     proposal.go
//	0x17  R ‖ G ‖ epoch(8)        the Commit that ended the epoch               winner.go
//	0x18  R ‖ G ‖ epoch(8) ‖ hash an accepted message                           message.go
//	0x19  R                       the lease and its token                       lease.go
//	0x1a  R ‖ hash                how often a client leased in this epoch       lease.go
//	0x1b  R ‖ ref                 where a claimed KeyPackage went               route.go
//	0x1c  R ‖ C                   whose client a client is                      clientuser.go
//	0x1d  R                       what others have piled up at the room         roomload.go
//	0x1e  R ‖ id(16)              a joining code                                joiningcode.go
//	0x1f  R ‖ U                   by which code a user may join                 joinauthorization.go
//	0x58  R                       how many codes and authorizations there are   joinauthorization.go
//	0x59  R ‖ hash                codes of a provider that did not admit        codeguess.go
//	0x5a  R ‖ receipt ‖ D [‖ U]   the verdict on what a provider submitted      rejection.go
//	0x5b  R                       how many of them there are, by provider       rejection.go
//	0x50  R                       what apply knows of the room's policy         rules.go
//	0x51  R ‖ leaf(4)             a client that is on its way out               leave.go
//	0x52  R ‖ U                   a user that is on its way out, or banned      leave.go
//	---- of a slot: users ----
//	0x20  U                       that the user exists                          inventory.go
//	0x21  U ‖ position(4)         a client, in order of appearance              inventory.go
//	0x22  U ‖ C                   a client's position                           inventory.go
//	0x23  U ‖ position(4) ‖ n(8)  a KeyPackage, in order of upload              inventory.go
//	0x24  U ‖ ref                 where a KeyPackage is, or that it was claimed inventory.go
//	0x25  U ‖ replay key          a claim's answer                              claim.go
//	0x26  U ‖ U [‖ R]             consent to a requester, for any room or one   consent.go
//	0x27  U                       consent to all others; how many entries       consent.go
//	0x28  U ‖ D ‖ U               what a provider claims for a requester        claimquota.go
//	0x29  U ‖ position(4) ‖ D     what a provider gets of a client's last ones  claimquota.go
//	0x2a  U ‖ position(4) ‖ n(8)  a KeyPackage of last resort                   stock.go
//	---- of a slot: what goes out and comes in ----
//	0x30  D                       where an outbox stands, what waits in it      outboxhead.go
//	0x31  D ‖ sequence(8)         an outbox item                                outbox.go
//	0x3a  D ‖ R                   what of a room waits in an outbox             outboxroom.go
//	0x3b  D ‖ R ‖ sequence(8)     which of the items are of the room            outboxroom.go
//	0x3c  D ‖ R                   that handshakes of the room wait              outboxroom.go
//	0x32  R ‖ D ‖ hash            a notify body that was taken                  inbox.go
//	0x33  R ‖ D ‖ hash            a FanoutMessage that was taken                inbox.go
//	0x47  R ‖ D                   where a room of another hub is                hubstream.go
//	0x48  R ‖ D ‖ n(8)            a body that waits for what comes before it    hubheld.go
//	0x49  D ‖ G                   which room of a hub a group is of             followgroup.go
//	0x4a  R ‖ D ‖ G ‖ epoch(8) ‖ ref  a Proposal of it that has come            hubstream.go
//	0x34  to(2)                   what is on its way to another slot            internal.go
//	0x35  to(2) ‖ sequence(8)     an effect for another slot                    internal.go
//	0x36  from(2)                 how far another slot's effects have happened  internal.go
//	0x3d  R ‖ receipt             a submission that is queued, or its verdict   outboundqueue.go
//	0x3e  D ‖ number(8)           a submission that waits for another hub       outboundqueue.go
//	0x3f  D                       next number and what waits for a hub          outboundqueue.go
//	---- of a slot: departures, and the life of rooms ----
//	0x54  U ‖ R                   a room of this hub that a user is in          userroom.go
//	0x55  U                       whether a user is deleted                     departure.go
//	0x55  U ‖ C                   a client of the user that is lost             departure.go
//	0x56  R ‖ 0                   how a room, or its group, has ended           roomend.go
//	0x56  R ‖ 1 ‖ (U or C)        who has to leave a room                       departure.go
//	0x57  G                       which room a group belongs to                 groupname.go
//	0x5e  set(32)                 for which room participants are reserved      fixedroom.go
//	0x5f  R ‖ 0                   the participants of a room of fixed members   fixedroom.go
//	0x5f  R ‖ 1 ‖ set(32)         participants that a room must not take        fixedroom.go
//	0x60  R ‖ 0                   on which room it depends                      dependence.go
//	0x60  R ‖ 1 ‖ U               a user that is in the room it depends on      dependence.go
//	0x61  R ‖ R                   a room that depends on it                     dependence.go
//	---- of a slot: inboxes of clients ----
//	0x41  R ‖ position(8)         an event for local clients                    clientevent.go
//	0x42  R                       the room's log for local clients              clientinbox.go
//	0x43  R ‖ position(8)         who still needs an event                      clientevent.go
//	0x44  R ‖ N ‖ from(8) ‖ leaf(4)  what of the log is a client's              window.go
//	0x45  R ‖ leaf(4)             which window a leaf has                       window.go
//	0x46  0 ‖ R                   the leaves of a room of another provider      roster.go
//	0x46  1 ‖ R ‖ ref             a Proposal that may change them               roster.go
//	0x46  2 ‖ N ‖ R               a room in which a name has windows            clientrooms.go
//	0x46  3 ‖ N                   that a name's client is lost                  clientrooms.go
//	---- of a slot: housekeeping ----
//	0x65  -                       the slot's generation                         generation.go
//	0x66  R                       how a room was brought forward                fastforward.go
//	0x67  R                       that a room is stale                          stale.go
//	0x38  object(32) ‖ index(2)   a piece of a large command                    piece.go
//	0x39  -                       how many bytes of pieces wait                 piece.go
//	0x40  millis(8) ‖ kind ‖ rest a record of this slot to look at then         expiry.go
type keyKind uint8

const (
	keyClock     keyKind = 0x01
	keySettings  keyKind = 0x02
	keyShard     keyKind = 0x03
	keyOwnership keyKind = 0x04
	keySlotDue   keyKind = 0x05
	keyFormat    keyKind = 0x06

	keyMarkedSlots     keyKind = 0x07
	keySlotMark        keyKind = 0x08
	keySlotMove        keyKind = 0x09
	keySlotPart        keyKind = 0x0a
	keyIncarnationBase keyKind = 0x0b

	keyGeneration     keyKind = 0x0c
	keySlotGeneration keyKind = 0x65
	keyForwarded      keyKind = 0x66
	keyStaleRoom      keyKind = 0x67

	keyRoom           keyKind = 0x10
	keyGroup          keyKind = 0x11
	keyParticipants   keyKind = 0x12
	keyMember         keyKind = 0x13
	keyTreeNode       keyKind = 0x14
	keyPending        keyKind = 0x15
	keyFate           keyKind = 0x16
	keyWinner         keyKind = 0x17
	keyMessage        keyKind = 0x18
	keyLease          keyKind = 0x19
	keyLeaseTurns     keyKind = 0x1a
	keyRoute          keyKind = 0x1b
	keyClientUser     keyKind = 0x1c
	keyRoomLoad       keyKind = 0x1d
	keyUser           keyKind = 0x20
	keyClient         keyKind = 0x21
	keyClientPosition keyKind = 0x22
	keyKeyPackage     keyKind = 0x23
	keyKeyPackageRef  keyKind = 0x24
	keyReplay         keyKind = 0x25
	keyConsent        keyKind = 0x26
	keyConsentHead    keyKind = 0x27
	keyPairClaims     keyKind = 0x28
	keyFloorClaims    keyKind = 0x29
	keyLastResort     keyKind = 0x2a
	keyOutboxHead     keyKind = 0x30
	keyOutboxItem     keyKind = 0x31
	keyFanoutBody     keyKind = 0x32
	keyFanoutMessage  keyKind = 0x33
	keyInternalQueue  keyKind = 0x34
	keyInternalItem   keyKind = 0x35
	keyReceived       keyKind = 0x36
	keyOutboxRoom     keyKind = 0x3a
	keyOutboxEntry    keyKind = 0x3b
	keyOutboxUrgent   keyKind = 0x3c
	keyPiece          keyKind = 0x38
	keyPieceBytes     keyKind = 0x39
	keyExpiry         keyKind = 0x40

	keyHubStream     keyKind = 0x47
	keyHubHeld       keyKind = 0x48
	keyFollowedGroup keyKind = 0x49
	keyHubOffer      keyKind = 0x4a

	keyJoiningCode       keyKind = 0x1e
	keyJoinAuthorization keyKind = 0x1f
	keyJoinLoad          keyKind = 0x58
	keyCodeGuesses       keyKind = 0x59
	keyUserRoom          keyKind = 0x54
	keyDeparted          keyKind = 0x55
	keyRoomLife          keyKind = 0x56
	keyGroupRoom         keyKind = 0x57
	keyRejection         keyKind = 0x5a
	keyRejections        keyKind = 0x5b
	keyMembersRoom       keyKind = 0x5e
	keyHeldMembers       keyKind = 0x5f
	keyDependence        keyKind = 0x60
	keyDependant         keyKind = 0x61
	keyRoomRules         keyKind = 0x50

	keyClientEvent      keyKind = 0x41
	keyClientLog        keyKind = 0x42
	keyClientEventIndex keyKind = 0x43
	keyWindow           keyKind = 0x44
	keyLeafWindow       keyKind = 0x45
	keyRoster           keyKind = 0x46

	keyLeavingClient keyKind = 0x51
	keyLeavingUser   keyKind = 0x52

	keyQueuedAs  keyKind = 0x3d
	keyQueueItem keyKind = 0x3e
	keyQueueHead keyKind = 0x3f

	keyKindEnd keyKind = 0xff // above every kind, never one
)

// keyPrefixBytes is what stands before rest.
const keyPrefixBytes = 3

// key is a key under construction. Its methods return a new one and leave the receiver as it is, so that a prefix can be
// used for several keys.
type key []byte

func newKey(slot SlotID, kind keyKind) key {
	return key{byte(slot >> 8), byte(slot), byte(kind)}
}

func shardKey(kind keyKind) key { return newKey(ShardLevel, kind) }

func (k key) raw(b []byte) key         { return append(k[:len(k):len(k)], b...) }
func (k key) text(s string) key        { return append(k[:len(k):len(k)], s...) }
func (k key) uint16(v uint16) key      { return binary.BigEndian.AppendUint16(k[:len(k):len(k)], v) }
func (k key) uint32(v uint32) key      { return binary.BigEndian.AppendUint32(k[:len(k):len(k)], v) }
func (k key) uint64(v uint64) key      { return binary.BigEndian.AppendUint64(k[:len(k):len(k)], v) }
func (k key) hashed(name string) key   { h := sha256.Sum256([]byte(name)); return k.raw(h[:]) }
func (k key) user(u mimi.UserURI) key  { return k.hashed(u.String()) }
func (k key) epoch(e mls.Epoch) key    { return k.uint64(uint64(e)) }
func (k key) group(id mls.GroupID) key { return k.hashed(string(id)) }

// provider appends a domain behind its length, which fits an octet (mimi.DomainBytesMax), so that none is a prefix of another.
func (k key) provider(p mimi.Provider) key {
	return append(k[:len(k):len(k)], byte(len(p.String()))).text(p.String())
}

// end is the least key that is above all that begin with k. k holds an octet below 0xff, the kind, so there is one.
func (k key) end() key {
	for n := len(k); n > 0; n-- {
		if k[n-1] != 0xff {
			end := append(key(nil), k[:n]...)
			end[n-1]++
			return end
		}
	}
	panic("fsm: no key is above this prefix")
}

func roomKey(kind keyKind, room mimi.RoomURI) key {
	return newKey(SlotOfRoom(room), kind).hashed(room.String())
}

func userKey(kind keyKind, user mimi.UserURI) key {
	return newKey(SlotOfUser(user), kind).user(user)
}

// epochKey is of the kinds that belong to one epoch of one group of a room.
func epochKey(kind keyKind, room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch) key {
	return roomKey(kind, room).group(group).epoch(epoch)
}

func outboxHeadKey(slot SlotID, destination mimi.Provider) key {
	return newKey(slot, keyOutboxHead).provider(destination)
}

func outboxItemKey(slot SlotID, destination mimi.Provider, sequence uint64) key {
	return newKey(slot, keyOutboxItem).provider(destination).uint64(sequence)
}

func fanoutKey(kind keyKind, room mimi.RoomURI, hub mimi.Provider, hash [hashBytes]byte) key {
	return roomKey(kind, room).provider(hub).raw(hash[:])
}

// slotRange is everything of a slot.
func slotRange(slot SlotID) (lower, upper []byte) {
	return newKey(slot, 0), newKey(slot, keyKindEnd)
}

// wholeRange is everything of a shard.
func wholeRange() (lower, upper []byte) {
	return newKey(0, 0), newKey(ShardLevel, keyKindEnd)
}
