package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// uploadKeyPackages adds to a client's inventory. Each KeyPackage is taken or refused for itself.
func (t *tx) uploadKeyPackages(c UploadKeyPackages) Outcome {
	position, client := t.clientOf(c.User, c.Client)
	var outcome Uploaded
	for _, p := range c.Packages {
		known, found := get(t, func(r Reader) (refRecord, bool, error) { return readRef(r, c.User, p.Ref) })
		switch {
		case found && !known.claimed && known.position == position:
			outcome.Known++
		case found || !t.uploadable(p) || *client.count(p.LastResort) >= t.settings.KeyPackagesPerClientMax:
			outcome.Refused = append(outcome.Refused, p.Ref)
		default:
			t.storeKeyPackage(c.User, position, client, p)
			outcome.Stored++
		}
	}
	t.set(clientKey(c.User, position), record(client.appendTo))
	outcome.Left = client.singleUse
	return outcome
}

// clientOf finds a client, or brings it and its user into being.
func (t *tx) clientOf(user mimi.UserURI, client mimi.ClientURI) (position uint32, c *clientRecord) {
	at := clientPositionKey(user, client)
	position, found := get(t, func(r Reader) (uint32, bool, error) {
		return readRecord(r, at, "client position", func(r *mls.Reader) uint32 { return r.Uint32("position") })
	})
	if found {
		known, found := get(t, func(r Reader) (clientRecord, bool, error) { return readClient(r, user, position) })
		if !found {
			panic("fsm: a client has a position and no record")
		}
		return position, &known
	}
	u, _ := get(t, func(r Reader) (userRecord, bool, error) { return readUser(r, user) })
	position = u.clients
	u.user, u.clients = user, u.clients+1
	t.set(userKey(keyUser, user), record(u.appendTo))
	t.set(at, record(func(w *mls.Writer) { w.Uint32(position) }))
	return position, &clientRecord{client: client}
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
	t.set(packageKey(user, position, number), record(func(w *mls.Writer) { appendKeyPackage(w, p) }))
	k := refKey(user, p.Ref)
	t.set(k, record(refRecord{notAfter: p.NotAfter, user: user, position: position, number: number}.appendTo))
	t.expireAt(k, millisAfter(p.NotAfter))
}

// expireKeyPackage removes a KeyPackage that has expired with its reference, or what a claim left of it.
func (t *tx) expireKeyPackage(target key) {
	ref, found := get(t, func(r Reader) (refRecord, bool, error) {
		return readRecord(r, target, "KeyPackage reference", readRefRecord)
	})
	if !found || millisAfter(ref.notAfter) > t.now {
		return
	}
	t.delete(target)
	if ref.claimed {
		return
	}
	k := packageKey(ref.user, ref.position, ref.number)
	p, stored := get(t, func(r Reader) (KeyPackageFacts, bool, error) { return readRecord(r, k, "KeyPackage", readKeyPackage) })
	c, known := get(t, func(r Reader) (clientRecord, bool, error) { return readClient(r, ref.user, ref.position) })
	if !stored || !known {
		panic("fsm: a KeyPackage's reference leads nowhere")
	}
	*c.count(p.LastResort)--
	t.delete(k)
	t.set(clientKey(ref.user, ref.position), record(c.appendTo))
}
