package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"maps"

	"parley/mimi"
	"parley/mls"
)

// VerifyState checks what must hold of any state whatever the entries were: that all keys lie in known kinds, that counts are
// right and that what belongs together is there. The error is the first thing found wrong, or the reader's; of several any may be
// the first. It is for tests and for looking at a state that nobody runs on: it keeps a note in memory of each record that is counted.
func VerifyState(r Reader) error {
	v := verifier{
		r: r, outboxes: map[SlotID][]OutboxPosition{}, waiting: map[string]uint64{}, items: map[string]uint64{},
		packages: map[string][2]uint32{}, counted: map[string][2]uint32{},
		pieces: map[string]uint64{}, pieceBytes: map[string]uint64{}, effects: map[string]uint64{}, queues: map[string]uint64{},
		loads: map[string]roomLoad{}, piled: map[string]roomLoad{}, consents: map[string]uint32{}, consentHeads: map[string]uint32{},
		joins: map[string]joinLoad{}, joinsCounted: map[string]joinLoad{},
		rejections: map[string]uint32{}, rejectionsCounted: map[string]uint32{},
		held: map[string]heldLoad{}, heldCounted: map[string]heldLoad{},
		clients:  newClientsVerifier(),
		outbound: map[string][2]uint64{}, outboundCounted: map[string][2]uint64{}, queuedAs: map[string]int{},
	}
	slots, err := newSlotsVerifier(r)
	if err != nil {
		return err
	}
	v.slots = slots
	lower, upper := wholeRange()
	if err := r.Scan(lower, upper, v.visit); err != nil {
		return err
	}
	if err := v.slots.verify(); err != nil {
		return err
	}
	if err := v.clients.verify(); err != nil {
		return err
	}
	for k, n := range v.waiting {
		if v.items[k] != n {
			return fmt.Errorf("outbox %q says that %d items wait, and %d do", k, n, v.items[k])
		}
		delete(v.items, k)
	}
	for slot, destinations := range v.outboxes {
		for _, p := range destinations {
			if err := verifyOutbox(r, slot, p); err != nil {
				return fmt.Errorf("slot %d: %w", slot, err)
			}
		}
	}
	for k, n := range v.counted {
		if v.packages[k] != n {
			return fmt.Errorf("a client counts %d KeyPackages and has %d", n, v.packages[k])
		}
		delete(v.packages, k)
	}
	for room, load := range v.loads {
		if v.piled[room] != load {
			return fmt.Errorf("a room counts %+v and has %+v", load, v.piled[room])
		}
	}
	if !maps.Equal(v.joins, v.joinsCounted) {
		return fmt.Errorf("the rooms count %v of codes and authorizations and have %v", v.joinsCounted, v.joins)
	}
	if !maps.Equal(v.rejections, v.rejectionsCounted) {
		return fmt.Errorf("the rooms count %v recorded verdicts and have %v", v.rejectionsCounted, v.rejections)
	}
	if !maps.Equal(v.held, v.heldCounted) {
		return fmt.Errorf("followed rooms count %v bodies that wait and have %v", v.heldCounted, v.held)
	}
	maps.DeleteFunc(v.queues, func(_ string, waiting uint64) bool { return waiting == 0 })
	if !maps.Equal(v.effects, v.queues) {
		return fmt.Errorf("internal queues say that %v wait, and %v do", v.queues, v.effects)
	}
	if !maps.Equal(v.pieces, v.pieceBytes) {
		return fmt.Errorf("the slots count %v bytes of pieces and hold %v", v.pieceBytes, v.pieces)
	}
	if !maps.Equal(v.consents, v.consentHeads) {
		return fmt.Errorf("users count %v consent entries and have %v", v.consentHeads, v.consents)
	}
	if !maps.Equal(v.outbound, v.outboundCounted) {
		return fmt.Errorf("queues to hubs count %v and hold %v", v.outboundCounted, v.outbound)
	}
	for receipt, balance := range v.queuedAs {
		if balance != 0 {
			return fmt.Errorf("submission %x is known to wait, or waits, but not both", receipt)
		}
	}
	if len(v.items)+len(v.packages) > 0 {
		return fmt.Errorf("%d outboxes and %d inventories belong to nobody", len(v.items), len(v.packages))
	}
	return nil
}

type verifier struct {
	r                 Reader
	outboxes          map[SlotID][]OutboxPosition
	waiting, items    map[string]uint64    // by slot and destination
	packages, counted map[string][2]uint32 // by user and position: single-use, last-resort

	pieces, pieceBytes map[string]uint64 // by slot
	effects, queues    map[string]uint64 // by slot and destination

	consents, consentHeads map[string]uint32 // by slot and user

	loads, piled map[string]roomLoad // by slot and room; a room without a load was never counted

	joins, joinsCounted map[string]joinLoad // by slot and room

	rejections, rejectionsCounted map[string]uint32    // by slot, room and provider
	outbound, outboundCounted     map[string][2]uint64 // by slot and hub: submissions and bytes
	queuedAs                      map[string]int       // by slot, room and receipt: how often it waits, less how often it is known to

	held, heldCounted map[string]heldLoad // by slot, room and hub; none where nothing waits

	clients *clientsVerifier

	slots *slotsVerifier
}

// heldLoad is what waits of a followed room.
type heldLoad struct {
	bodies uint32
	bytes  uint64
}

func (v verifier) visit(k, value []byte) (bool, error) {
	if coming, err := v.slots.visit(k, value); coming || err != nil {
		return err == nil, err
	}
	slot, rest := string(k[:2]), k[keyPrefixBytes:]
	switch kind := keyKind(k[2]); kind {
	case keyQueueItem:
		q, err := decode("queued submission", value, readQueuedRecord)
		at := slot + string(rest[:len(rest)-8])
		v.outbound[at] = [2]uint64{v.outbound[at][0] + 1, v.outbound[at][1] + uint64(len(q.Body))}
		v.queuedAs[string(queuedAsKey(q.room, q.Receipt)[keyPrefixBytes:])]++
		return true, err
	case keyQueueHead:
		p, err := decode("queue", value, readQueuePosition)
		if p.Items > 0 {
			v.outboundCounted[slot+string(rest)] = [2]uint64{p.Items, p.Bytes}
		}
		return true, err
	case keyQueuedAs:
		as, err := decode("receipt of a submission", value, readQueuedAs)
		if as.number > 0 {
			v.queuedAs[string(rest)]--
		}
		return true, err
	case keyRoomLoad:
		load, err := decode("load", value, readRoomLoad)
		v.loads[slot+string(rest)] = load
		return true, err
	case keyRoute, keyClientUser, keyPending:
		return true, v.count(slot, keyKind(k[2]), rest, value)
	case keyJoiningCode, keyJoinAuthorization:
		room := slot + string(rest[:hashBytes])
		load := v.joins[room]
		if kind == keyJoiningCode {
			load.codes++
		} else {
			load.authorizations++
		}
		v.joins[room] = load
		return true, nil
	case keyJoinLoad:
		load, err := decode("join load", value, readJoinLoad)
		v.joinsCounted[slot+string(rest)] = load
		return true, err
	case keyRejection:
		rejected, err := decode("rejection", bytes.Clone(value), readRejection)
		v.rejections[slot+string(rest[:hashBytes])+rejected.provider.String()]++
		return true, err
	case keyRejections:
		counts, err := decode("rejections", value, readRejectionCounts)
		for _, c := range counts {
			v.rejectionsCounted[slot+string(rest)+c.provider.String()] += c.count
		}
		return true, err
	case keyRoom:
		head, err := decodeUpTo("room", value, roomHeadVersion, readRoomHead)
		if err != nil {
			return false, err
		}
		return true, v.room(head)
	case keyOutboxHead:
		p, err := decodeUpTo("outbox", value, outboxHeadVersion, readOutboxPosition)
		v.waiting[slot+string(rest)] = p.Waiting
		at := SlotID(k[0])<<8 | SlotID(k[1])
		v.outboxes[at] = append(v.outboxes[at], p)
		return true, err
	case keyOutboxItem:
		v.items[slot+string(rest[:len(rest)-8])]++
		item, err := decodeUpTo("item", bytes.Clone(value), ItemVersion, readStoredItem)
		if err == nil && (len(item.Body) > 0 || len(item.Notes) == 0) {
			_, err = mimi.ParseFanout(item.Body)
		}
		return true, err
	case keyClient:
		c, err := decode("client", value, readClientRecord)
		v.counted[slot+string(rest)] = [2]uint32{c.singleUse, c.lastResort}
		return true, err
	case keyKeyPackage, keyLastResort:
		p, err := decode("KeyPackage", value, readKeyPackage)
		n := v.packages[slot+string(rest[:len(rest)-8])]
		if keyKind(k[2]) == keyLastResort && !p.LastResort {
			return false, errors.New("a single-use KeyPackage stands among those of last resort")
		}
		if p.LastResort {
			n[1]++
		} else {
			n[0]++
		}
		v.packages[slot+string(rest[:len(rest)-8])] = n
		return true, err
	case keyInternalQueue:
		q, err := decode("queue", value, readInternalQueue)
		v.queues[slot+string(rest)] = q.Waiting
		return true, err
	case keyInternalItem:
		_, err := decode("effect", bytes.Clone(value), readEffect)
		v.effects[slot+string(rest[:2])]++
		return true, err
	case keyPiece:
		p, err := decode("piece", value, readPieceRecord)
		v.pieces[slot] += uint64(len(p.bytes))
		return true, err
	case keyPieceBytes:
		n, err := decode("bytes of pieces", value, func(r *mls.Reader) uint64 { return r.Uint64("bytes") })
		v.pieceBytes[slot] = n
		return true, err
	case keyPairClaims:
		p, err := decode("claims of a pair", value, readPairClaims)
		sum := uint32(0)
		for _, room := range p.rooms {
			sum += room.claims
		}
		if err == nil && (sum != p.claims || len(p.rooms) > int(p.claims)) {
			err = fmt.Errorf("a pair counts %d claims, and %d of %d rooms", p.claims, sum, len(p.rooms))
		}
		return true, err
	case keyFloorClaims:
		_, err := decode("claims below the floor", value, readFloorClaims)
		return true, err
	case keyConsent:
		v.consents[slot+string(rest[:hashBytes])]++
		_, err := decode("consent", bytes.Clone(value), readConsentEntry)
		return true, err
	case keyConsentHead:
		head, err := decode("consent of a user", value, readConsentHead)
		if head.entries > 0 {
			v.consentHeads[slot+string(rest)] = head.entries
		}
		return true, err
	case keyHubStream:
		s, err := decode("stream", bytes.Clone(value), readHubStream)
		if err == nil && (s.held == 0) != (s.dueMillis == 0) {
			err = fmt.Errorf("a followed room has %d bodies that wait until %d", s.held, s.dueMillis)
		}
		if err == nil && s.held > 0 {
			v.heldCounted[slot+string(rest)] = heldLoad{s.held, s.heldBytes}
		}
		return true, err
	case keyHubHeld:
		h, err := decode("body that waits", bytes.Clone(value), readHeldBody)
		load := v.held[slot+string(rest[:len(rest)-8])]
		v.held[slot+string(rest[:len(rest)-8])] = heldLoad{load.bodies + 1, load.bytes + h.bytes()}
		return true, err
	case keyHubOffer:
		_, err := decode("Proposal of a followed room", bytes.Clone(value), readOffer)
		return true, err
	case keyExpiry:
		of := SlotID(k[0])<<8 | SlotID(k[1])
		due, noted, err := readRecord(v.r, dueKey(of), "due", readDue)
		if err == nil && !v.slots.frozen(of) && (!noted || due > numberOf(rest[:8])) {
			err = fmt.Errorf("a note of slot %x is due before its slot", slot)
		}
		return true, err
	case keyClientEvent, keyClientLog, keyClientEventIndex, keyWindow, keyLeafWindow, keyRoster:
		return true, v.clients.visit(kind, bytes.Clone(rest), bytes.Clone(value))
	case keyClock, keySettings, keyFormat, keyShard, keyOwnership, keySlotDue,
		keyMarkedSlots, keySlotMark, keySlotMove, keySlotPart, keyIncarnationBase, keyGroup, keyParticipants, keyMember, keyTreeNode,
		keyFate, keyWinner, keyMessage, keyLease, keyLeaseTurns, keyUser, keyClientPosition,
		keyKeyPackageRef, keyReplay, keyFanoutBody, keyFanoutMessage, keyReceived,
		keyUserRoom, keyDeparted, keyRoomLife, keyGroupRoom, keyFollowedGroup, keyMembersRoom, keyHeldMembers, keyDependence, keyDependant,
		keyRoomRules, keyLeavingClient, keyLeavingUser, keyCodeGuesses,
		keyOutboxRoom, keyOutboxEntry, keyOutboxUrgent, keyGeneration, keySlotGeneration, keyForwarded, keyStaleRoom:
		return true, nil
	default:
		return false, fmt.Errorf("a key is of the unknown kind %#x", kind)
	}
}

// count counts what is piled up at a room.
func (v verifier) count(slot string, kind keyKind, rest, value []byte) error {
	room := slot + string(rest[:hashBytes])
	load := v.piled[room]
	switch kind {
	case keyRoute:
		load.routes++
	case keyClientUser:
		load.clients++
	case keyPending:
		p, err := decodeUpTo("pending", bytes.Clone(value), pendingVersion, readPendingRecord)
		if err != nil {
			return err
		}
		load.addPending([]PendingProposal{p.proposal})
	}
	v.piled[room] = load
	return nil
}

// room checks what a room's parts say of each other.
func (v verifier) room(head roomHead) error {
	if err := v.departures(head); err != nil || head.status == RoomDestroyed {
		return err
	}
	room, found, err := ReadRoom(v.r, head.room)
	if err != nil || !found {
		return fmt.Errorf("a room cannot be read: %v", err)
	}
	if _, _, err := ReadTree(v.r, head.room); err != nil {
		return err
	}
	context, err := mls.ParseGroupContext(room.GroupContext)
	if err != nil || context.Epoch != head.epoch {
		return fmt.Errorf("the GroupContext is of epoch %d and the room in %d: %v", context.Epoch, head.epoch, err)
	}
	for _, p := range room.Participants {
		if at, found, err := ReadParticipantSince(v.r, head.room, p.User); err != nil || !found || at > head.epoch {
			return fmt.Errorf("the participant %s has no membership: %v", p.User, err)
		}
	}
	f, _, err := readRecord(v.r, forwardedKey(head.room), "how a room was brought forward", readForwarded)
	if err != nil {
		return err
	}
	for epoch := since(head.epoch, winnersKept); epoch < head.epoch; epoch++ {
		if _, found, err := ReadWinner(v.r, head.room, head.groupID, epoch); epoch >= max(head.firstEpoch, f.epoch) && !found {
			return fmt.Errorf("nobody won epoch %d: %v", epoch, err)
		}
	}
	return nil
}

// departures checks that the head counts who has to leave, and says how the room ended.
func (v verifier) departures(head roomHead) error {
	left, err := ReadDepartures(v.r, head.room)
	if err != nil || len(left) != int(head.departing) || uint64(head.departing) > head.departures {
		return fmt.Errorf("a room counts %d who have to leave, of %d ever, and has %d: %v", head.departing, head.departures, len(left), err)
	}
	end, ended, err := ReadRoomEnd(v.r, head.room)
	if err != nil || head.status != RoomOpen && (!ended || end.Status != head.status) {
		return fmt.Errorf("a room of status %d has ended with %d: %v", head.status, end.Status, err)
	}
	return nil
}
