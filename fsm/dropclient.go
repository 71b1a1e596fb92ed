package fsm

import "parley/mimi"

// dropClients takes all clients of a user out of its inventory.
func (t *tx) dropClients(user mimi.UserURI) {
	for _, c := range t.clientsToClaim(ClaimKeyPackages{User: user}) {
		t.dropAt(user, c.position, c.record.client)
	}
}

// dropClient takes one client out, if it is there.
func (t *tx) dropClient(user mimi.UserURI, client mimi.ClientURI) {
	for _, c := range t.clientsToClaim(ClaimKeyPackages{User: user}) {
		if c.record.client == client {
			t.dropAt(user, c.position, client)
		}
	}
}

// dropAt removes a client with its KeyPackages. Their references stay until they expire, as those of claimed ones do, so that they are
// never taken in again.
func (t *tx) dropAt(user mimi.UserURI, position uint32, client mimi.ClientURI) {
	for _, sort := range []stock{packagesOf(user, position), lastResortOf(user, position)} {
		var stored []KeyPackageFacts
		t.check(scanRecords(t.store, sort.prefix, "KeyPackage", readKeyPackage, func(_ []byte, p KeyPackageFacts) (bool, error) {
			stored = append(stored, p)
			return true, nil
		}))
		for _, p := range stored {
			ref, found := get(t, func(r Reader) (refRecord, bool, error) { return readRef(r, user, p.Ref) })
			if !found {
				panic("fsm: a KeyPackage has no reference")
			}
			ref.claimed, ref.claimedMillis, ref.consumedMillis = true, t.now, t.now
			t.set(refKey(user, p.Ref), ref.record())
		}
		t.deletePrefix(sort.prefix)
	}
	t.delete(clientKey(user, position))
	t.delete(clientPositionKey(user, client))
}
