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
// another's Welcome away.
func (t *tx) recordKeyPackageRefs(c RecordKeyPackageRefs) Outcome {
	for _, route := range c.Refs {
		k := routeKey(c.Room, route.Ref)
		if !route.Client.IsZero() && !route.User.IsZero() {
			t.mapClient(c.Room, route.Client, route.User)
		}
		if route.NotAfter < t.nowSeconds() || t.has(k) {
			continue
		}
		t.set(k, record(func(w *mls.Writer) { appendRoute(w, route) }))
		t.expireAt(k, millisAfter(route.NotAfter))
	}
	return Done{}
}
