package fsm

import (
	"slices"

	"parley/mimi"
	"parley/mls"
)

// useRoutes ends the routes of the KeyPackages that a room's Welcomes have named, tells the slots of local users that they are
// consumed, and the local provider whose they are.
func (t *tx) useRoutes(room mimi.RoomURI, hub mimi.Provider, welcomed []mls.KeyPackageRef) {
	var consumed []KeyPackagesConsumed
	var ended uint32
	for _, ref := range welcomed {
		route, found := get(t, func(r Reader) (KeyPackageRoute, bool, error) { return ReadRoute(r, room, ref) })
		if !found {
			continue
		}
		t.delete(routeKey(room, ref))
		ended++
		if route.User.IsZero() || !t.isLocal(route.User.Provider()) {
			continue
		}
		t.note(room, hub, WelcomeFor{Ref: ref, User: route.User, Client: route.Client})
		i := slices.IndexFunc(consumed, func(c KeyPackagesConsumed) bool { return c.User == route.User && len(c.Refs) < consumedRefsMax })
		if i < 0 {
			i = len(consumed)
			consumed = append(consumed, KeyPackagesConsumed{User: route.User})
		}
		consumed[i].Refs = append(consumed[i].Refs, ref)
	}
	if t.format < FormatQueues {
		return
	}
	if ended > 0 {
		t.relieve(roomKey(keyRoomLoad, room), func(l *roomLoad) { l.routes -= ended })
	}
	for _, c := range consumed {
		t.post(SlotOfRoom(room), c)
	}
}

// consumeKeyPackages ends the reservations of KeyPackages that Welcomes have named. The references stay until the KeyPackages expire,
// so that they are never taken in again. One that nobody has claimed here went to its Welcome another way, and is given to no one
// any more; one of last resort is there to be used more than once.
func (t *tx) consumeKeyPackages(e KeyPackagesConsumed) {
	t.renewUser(e.User)
	for _, name := range e.Refs {
		k := refKey(e.User, name)
		ref, found := get(t, func(r Reader) (refRecord, bool, error) { return readRef(r, e.User, name) })
		if !found || ref.consumedMillis != 0 {
			continue
		}
		if !ref.claimed && !t.withdraw(ref) {
			continue
		}
		t.set(k, refRecord{
			notAfter: ref.notAfter, user: ref.user, position: ref.position, number: ref.number,
			claimed: true, claimedMillis: ref.claimedMillis, consumedMillis: t.now,
		}.record())
	}
}

// withdraw takes a KeyPackage out of store; false where it is of last resort, and stays.
func (t *tx) withdraw(ref refRecord) bool {
	k, p, c := t.stored(ref)
	if p.LastResort {
		return false
	}
	t.remove(ref, k, p, c)
	return true
}
