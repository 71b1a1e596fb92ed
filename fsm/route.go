package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// ReadRoute returns where a claimed KeyPackage went, for a room's Welcome; false where the room has not claimed it, has
// welcomed it already, or it has expired.
func ReadRoute(r Reader, room mimi.RoomURI, ref mls.KeyPackageRef) (KeyPackageRoute, bool, error) {
	return readRecord(r, routeKey(room, ref), "KeyPackage route", readRoute)
}

func routeKey(room mimi.RoomURI, ref mls.KeyPackageRef) key {
	return roomKey(keyRoute, room).text(string(ref))
}

// recordKeyPackageRefs remembers routes until their KeyPackages expire. The room need not exist yet: KeyPackages may be
// claimed for one that is about to be created. The first record of a reference stands, so that a later claim cannot lead
// another's Welcome away. At a bound of the room the rest is refused, and what stands before it is recorded.
func (t *tx) recordKeyPackageRefs(c RecordKeyPackageRefs) Outcome {
	if head, found := t.head(c.Room); found && head.status == RoomDestroyed {
		return NoSuchRoom{}
	}
	for _, route := range c.Refs {
		k := routeKey(c.Room, route.Ref)
		if !route.Client.IsZero() && !route.User.IsZero() {
			if !t.mapClient(c.Room, route.Client, route.User) {
				return NotAllowed{Reason: tooManyClients}
			}
		}
		if route.NotAfter < t.nowSeconds() || t.has(k) {
			continue
		}
		if !t.changeLoad(c.Room, func(l *roomLoad) { l.routes++ }) {
			return NotAllowed{Reason: "more claimed KeyPackages wait for a Welcome than the room may have"}
		}
		route.NotAfter = t.routeUntil(route)
		t.set(k, record(func(w *mls.Writer) { appendRoute(w, route) }))
		t.expireAt(k, millisAfter(route.NotAfter))
	}
	return Done{}
}

// routeUntil is when a route is forgotten: with its KeyPackage, and from FormatQueues on at the latest when one that is uploaded now
// has to have expired. Another provider's KeyPackages may be meant to last for ever.
func (t *tx) routeUntil(route KeyPackageRoute) uint64 {
	if t.format < FormatQueues {
		return route.NotAfter
	}
	return min(route.NotAfter, addUpTo(t.nowSeconds(), t.settings.KeyPackageLifetimeMax))
}
