package fsm

import (
	"crypto/sha256"

	"parley/mimi"
	"parley/mls"
)

// What keeps inventories from being drained (from FormatExclusive on, see ClaimRules):
//
// A provider gets so many claims for one requester of one user in a window, and fewer of them for one room: whoever invites someone
// needs one KeyPackage a client, and has it again by repeating the request. Of a client that has few KeyPackages left, one provider
// that is not the user's own gets a few in a window, so that it cannot take the last ones from the others.
//
// Only claims that take something are counted. A refusal says until when, and takes nothing.

// ClaimThrottled refuses a claim that comes too soon behind others. It does not say whether there are KeyPackages.
type ClaimThrottled struct {
	UntilMillis uint64 // hub time
	NowMillis   uint64 // hub time of this answer, so that the wait can be told
	Reason      string // shown to the requester
}

func (ClaimThrottled) outcomeKind() OutcomeKind { return OutcomeClaimThrottled }

//	struct {
//	    uint64 until_millis;
//	    uint64 now_millis;
//	    opaque reason<V>;
//	} ClaimThrottled;
func (o ClaimThrottled) appendTo(w *mls.Writer) {
	w.Uint64(o.UntilMillis)
	w.Uint64(o.NowMillis)
	appendText(w, o.Reason)
}

func readClaimThrottled(r *mls.Reader) ClaimThrottled {
	return ClaimThrottled{UntilMillis: r.Uint64("until_millis"), NowMillis: r.Uint64("now_millis"), Reason: readText[string](r, "reason")}
}

// pairClaims counts what a provider has claimed for a requester of a user in a window. It has at most as many rooms as claims.
//
//	struct {
//	    uint64 until_millis;
//	    uint32 claims;
//	    RoomClaims rooms<V>;
//	} PairClaims;
//
//	struct {
//	    opaque room[32]; // SHA-256 of its URI; of nothing where the claim is for none
//	    uint32 claims;
//	} RoomClaims;
type pairClaims struct {
	untilMillis uint64
	claims      uint32
	rooms       []roomClaims
}

type roomClaims struct {
	room   [hashBytes]byte
	claims uint32
}

func (p pairClaims) appendTo(w *mls.Writer) {
	w.Uint64(p.untilMillis)
	w.Uint32(p.claims)
	appendList(w, p.rooms, func(w *mls.Writer, r roomClaims) {
		w.Fixed(r.room[:])
		w.Uint32(r.claims)
	})
}

func readPairClaims(r *mls.Reader) pairClaims {
	return pairClaims{untilMillis: r.Uint64("until_millis"), claims: r.Uint32("claims"), rooms: readList(r, "rooms", func(r *mls.Reader) roomClaims {
		return roomClaims{room: readHash(r, "room"), claims: r.Uint32("claims")}
	})}
}

// of is the count for a room, which is added where it is not there.
func (p *pairClaims) of(room mimi.RoomURI) *roomClaims {
	hash := sha256.Sum256([]byte(room.String()))
	for i := range p.rooms {
		if p.rooms[i].room == hash {
			return &p.rooms[i]
		}
	}
	p.rooms = append(p.rooms, roomClaims{room: hash})
	return &p.rooms[len(p.rooms)-1]
}

func pairClaimsKey(c ClaimKeyPackages) key {
	return userKey(keyPairClaims, c.User).provider(c.Provider).user(c.Requester)
}

// counted reports whether a claim falls under the counts: all but those of a user for its own clients, at its own provider.
func (t *tx) counted(c ClaimKeyPackages) bool {
	own := c.Requester == c.User && t.isLocal(c.Provider)
	return t.format >= FormatExclusive && t.settings.Claims.WindowMillis > 0 && !own
}

// pairClaimsOf is what counts for a claim as of now.
func (t *tx) pairClaimsOf(c ClaimKeyPackages) pairClaims {
	p, _ := get(t, func(r Reader) (pairClaims, bool, error) {
		return readRecord(r, pairClaimsKey(c), "claims of a pair", readPairClaims)
	})
	if p.untilMillis <= t.now {
		return pairClaims{untilMillis: addUpTo(t.now, t.settings.Claims.WindowMillis)}
	}
	return p
}

// pairThrottled refuses a claim whose pair has had its share.
func (t *tx) pairThrottled(c ClaimKeyPackages) (ClaimThrottled, bool) {
	rules := t.settings.Claims
	if !t.counted(c) {
		return ClaimThrottled{}, false
	}
	p := t.pairClaimsOf(c)
	reason := ""
	switch {
	case rules.PerPairMax > 0 && p.claims >= rules.PerPairMax:
		reason = "the requester has claimed this user's KeyPackages as often as it may for now"
	case rules.PerRoomMax > 0 && p.of(c.Room).claims >= rules.PerRoomMax:
		reason = "the requester has claimed this user's KeyPackages for this room as often as it may for now; those that it has can be used"
	}
	return ClaimThrottled{UntilMillis: p.untilMillis, NowMillis: t.now, Reason: reason}, reason != ""
}

// countClaim counts a claim that has taken something.
func (t *tx) countClaim(c ClaimKeyPackages) {
	if !t.counted(c) || t.settings.Claims.PerPairMax == 0 {
		return
	}
	p := t.pairClaimsOf(c)
	p.claims++
	p.of(c.Room).claims++
	t.set(pairClaimsKey(c), record(p.appendTo))
	t.expireAt(pairClaimsKey(c), p.untilMillis)
}

// floorClaims counts what another provider has got of a client below the floor.
//
//	struct {
//	    uint64 until_millis;
//	    uint32 taken;
//	} FloorClaims;
type floorClaims struct {
	untilMillis uint64
	taken       uint32
}

func (f floorClaims) appendTo(w *mls.Writer) {
	w.Uint64(f.untilMillis)
	w.Uint32(f.taken)
}

func readFloorClaims(r *mls.Reader) floorClaims {
	return floorClaims{untilMillis: r.Uint64("until_millis"), taken: r.Uint32("taken")}
}

func floorClaimsKey(c ClaimKeyPackages, position uint32) key {
	return userKey(keyFloorClaims, c.User).uint32(position).provider(c.Provider)
}

// belowFloor reports whether a KeyPackage of a client is one of those that are kept from any one provider.
func (t *tx) belowFloor(c ClaimKeyPackages, client clientRecord) bool {
	rules := t.settings.Claims
	return t.counted(c) && !t.isLocal(c.Provider) && rules.BelowFloorMax > 0 && client.singleUse <= rules.Floor
}

func (t *tx) floorClaimsOf(c ClaimKeyPackages, position uint32) floorClaims {
	f, _ := get(t, func(r Reader) (floorClaims, bool, error) {
		return readRecord(r, floorClaimsKey(c, position), "claims below the floor", readFloorClaims)
	})
	if f.untilMillis <= t.now {
		return floorClaims{untilMillis: addUpTo(t.now, t.settings.Claims.WindowMillis)}
	}
	return f
}

// floorThrottled refuses a claim that would take one KeyPackage too many of a client below the floor. Then nothing is taken of the
// others either: the claim would have to be repeated for the one, and would take theirs again.
func (t *tx) floorThrottled(c ClaimKeyPackages, picks []pick) (refused ClaimThrottled, throttled bool) {
	for _, p := range picks {
		if p.code != mimi.KeyMaterialClientSuccess || p.facts.LastResort || !t.belowFloor(c, p.record) {
			continue
		}
		if f := t.floorClaimsOf(c, p.position); f.taken >= t.settings.Claims.BelowFloorMax {
			throttled = true
			refused.UntilMillis = max(refused.UntilMillis, f.untilMillis)
		}
	}
	refused.NowMillis, refused.Reason = t.now, "a client of the user has few KeyPackages left, and the provider has had its share of them for now"
	return refused, throttled
}

func (t *tx) countBelowFloor(c ClaimKeyPackages, client positionedClient) {
	if !t.belowFloor(c, client.record) {
		return
	}
	f := t.floorClaimsOf(c, client.position)
	f.taken++
	k := floorClaimsKey(c, client.position)
	t.set(k, record(f.appendTo))
	t.expireAt(k, f.untilMillis)
}
