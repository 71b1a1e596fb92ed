package fsm

import "parley/mimi"

// stock is where a client's KeyPackages of one sort stand, in order of upload. Those of last resort stand apart, so that a claim does
// not have to look past them; a shard has some among the others from before FormatExclusive.
type stock struct {
	prefix     key
	lastResort bool
}

func packagesOf(user mimi.UserURI, position uint32) stock {
	return stock{prefix: userKey(keyKeyPackage, user).uint32(position)}
}

func lastResortOf(user mimi.UserURI, position uint32) stock {
	return stock{prefix: userKey(keyLastResort, user).uint32(position), lastResort: true}
}

// stockFor is where a new KeyPackage goes.
func (t *tx) stockFor(user mimi.UserURI, position uint32, lastResort bool) stock {
	if lastResort && t.format >= FormatExclusive {
		return lastResortOf(user, position)
	}
	return packagesOf(user, position)
}

// stored finds the KeyPackage that a reference leads to, and its client.
func (t *tx) stored(ref refRecord) (k key, p KeyPackageFacts, c clientRecord) {
	c, known := get(t, func(r Reader) (clientRecord, bool, error) { return readClient(r, ref.user, ref.position) })
	for _, sort := range []stock{packagesOf(ref.user, ref.position), lastResortOf(ref.user, ref.position)} {
		k = sort.prefix.uint64(ref.number)
		p, found := get(t, func(r Reader) (KeyPackageFacts, bool, error) { return readRecord(r, k, "KeyPackage", readKeyPackage) })
		if found && known {
			return k, p, c
		}
	}
	panic("fsm: a KeyPackage's reference leads nowhere")
}

// remove takes a KeyPackage out of store.
func (t *tx) remove(ref refRecord, k key, p KeyPackageFacts, c clientRecord) {
	t.delete(k)
	if p.LastResort {
		c.lastResort--
		t.set(clientKey(ref.user, ref.position), record(c.appendTo))
		return
	}
	t.setSingleUse(ref.user, ref.position, c, c.singleUse-1)
}
