package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// uploadKeyPackages adds to a client's inventory. Each KeyPackage is taken or refused for itself; an upload of which nothing is
// taken brings no client into being, for a client without KeyPackages would spoil every claim. One that the client uploaded
// before is known although it was claimed meanwhile: a retry of an accepted upload must not hear that it was refused.
func (t *tx) uploadKeyPackages(c UploadKeyPackages) Outcome {
	if _, gone := t.hasDeparted(Departing{User: c.User}); gone {
		return NotAllowed{Reason: "the user was deleted"}
	}
	if _, gone := t.hasDeparted(Departing{User: c.User, Client: c.Client}); gone {
		return NotAllowed{Reason: "the client was removed; a new one needs another URI"}
	}
	t.renewUser(c.User)
	user, position, client := t.clientOf(c.User, c.Client)
	var outcome Uploaded
	for _, p := range c.Packages {
		known, found := get(t, func(r Reader) (refRecord, bool, error) { return readRef(r, c.User, p.Ref) })
		switch {
		case found && known.position == position:
			outcome.Known++
		case found || !t.uploadable(p) || t.mayBeSpent(c.User, p) || *client.count(p.LastResort) >= t.settings.KeyPackagesPerClientMax:
			outcome.Refused = append(outcome.Refused, p.Ref)
		default:
			t.storeKeyPackage(c.User, position, client, p)
			outcome.Stored++
		}
	}
	if outcome.Stored > 0 {
		t.set(userKey(keyUser, c.User), user.record())
		t.set(clientPositionKey(c.User, c.Client), record(func(w *mls.Writer) { w.Uint32(position) }))
		t.set(clientKey(c.User, position), record(client.appendTo))
	}
	outcome.Left = client.singleUse
	return outcome
}

// clientOf finds a client, or says what it and its user are to be.
func (t *tx) clientOf(name mimi.UserURI, client mimi.ClientURI) (user userRecord, position uint32, c *clientRecord) {
	user, known := get(t, func(r Reader) (userRecord, bool, error) { return readUser(r, name) })
	if !known {
		user.user, user.generation = name, t.slotGeneration(SlotOfUser(name)).generation
	}
	position, found := t.positionOf(name, client)
	if !found {
		position = user.clients
		user.clients++
		return user, position, &clientRecord{client: client}
	}
	record, found := get(t, func(r Reader) (clientRecord, bool, error) { return readClient(r, name, position) })
	if !found {
		panic("fsm: a client has a position and no record")
	}
	return user, position, &record
}

// uploadable checks a lifetime against hub time and the cap for uploads: not expired, not longer than the cap, and not to end
// later than the cap from now.
func (t *tx) uploadable(p KeyPackageFacts) bool {
	now, lifetimeMax := t.nowSeconds(), t.settings.KeyPackageLifetimeMax
	return p.NotBefore <= p.NotAfter && now <= p.NotAfter &&
		p.NotAfter-p.NotBefore <= lifetimeMax && p.NotAfter-now <= lifetimeMax
}

func (t *tx) storeKeyPackage(user mimi.UserURI, position uint32, c *clientRecord, p KeyPackageFacts) {
	number := c.uploaded
	c.uploaded++
	*c.count(p.LastResort)++
	t.set(t.stockFor(user, position, p.LastResort).prefix.uint64(number), record(func(w *mls.Writer) { appendKeyPackage(w, p) }))
	k := refKey(user, p.Ref)
	t.set(k, refRecord{notAfter: p.NotAfter, user: user, position: position, number: number}.record())
	t.expireAt(k, millisAfter(p.NotAfter))
}

// expireKeyPackage removes a KeyPackage that has expired with its reference, or what a claim left of it.
func (t *tx) expireKeyPackage(target key) {
	ref, found := get(t, func(r Reader) (refRecord, bool, error) {
		return readRefAt(r, target)
	})
	if !found || millisAfter(ref.notAfter) > t.now {
		return
	}
	if t.renewUser(ref.user) {
		ref, _ = get(t, func(r Reader) (refRecord, bool, error) { return readRefAt(r, target) })
	}
	t.delete(target)
	if ref.claimed {
		return
	}
	k, p, c := t.stored(ref)
	t.remove(ref, k, p, c)
}
