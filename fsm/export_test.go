package fsm

import (
	"slices"

	"parley/mimi"
)

// SetRoomLoad pretends that so much is piled up at a room.
func SetRoomLoad(store Store, room mimi.RoomURI, routes, clients uint32) error {
	return store.Set(roomKey(keyRoomLoad, room), record(roomLoad{routes: routes, clients: clients}.appendTo))
}

// Timed are the kinds of records that end by hub time, and what belongs to them; of which kinds there are any in a state.
func Timed(r Reader) (kinds map[uint8]bool, err error) {
	kinds = make(map[uint8]bool)
	timed := []keyKind{
		keyLeaseTurns, keyRoute, keyKeyPackage, keyKeyPackageRef, keyReplay, keyFanoutBody, keyFanoutMessage, keyPiece, keyPieceBytes, keyExpiry,
		keySlotDue,
	}
	lower, upper := wholeRange()
	err = r.Scan(lower, upper, func(k, _ []byte) (bool, error) {
		if kind := keyKind(k[2]); slices.Contains(timed, kind) {
			kinds[uint8(kind)] = true
		}
		return true, nil
	})
	if len(kinds) == len(timed) {
		kinds[0] = true // all of them
	}
	return kinds, err
}

// Kinds counts the records of a state by their kind.
func Kinds(r Reader) (map[uint8]int, error) {
	kinds := make(map[uint8]int)
	lower, upper := wholeRange()
	err := r.Scan(lower, upper, func(k, _ []byte) (bool, error) {
		kinds[k[2]]++
		return true, nil
	})
	return kinds, err
}

// ClientEventsKept counts the events in the logs for clients.
func ClientEventsKept(r Reader) (count int) {
	lower, upper := wholeRange()
	if err := r.Scan(lower, upper, func(k, _ []byte) (bool, error) {
		if keyKind(k[2]) == keyClientEvent && k[0] != 0xff {
			count++
		}
		return true, nil
	}); err != nil {
		panic(err)
	}
	return count
}

// KindOfOutcome is an outcome's number.
func KindOfOutcome(o Outcome) OutcomeKind { return o.outcomeKind() }

// EnterGeneration lets a slot begin the shard's generation, as it does when it comes alive there.
func EnterGeneration(store Store, slot SlotID, index, millis uint64) {
	begin(store, index, millis).enterGeneration(slot)
}
