package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// DeleteKeyPackages takes KeyPackages of a client out of store that nobody has claimed: those of the references, or all. It may be
// repeated.
type DeleteKeyPackages struct {
	User   mimi.UserURI
	Client mimi.ClientURI
	All    bool
	Refs   []mls.KeyPackageRef // without All
}

func (c DeleteKeyPackages) Slot() SlotID    { return SlotOfUser(c.User) }
func (DeleteKeyPackages) Lane() Lane        { return Exclusive }
func (DeleteKeyPackages) kind() CommandKind { return KindDeleteKeyPackages }

//	struct {
//	    opaque user<V>;
//	    opaque client<V>;
//	    uint8 all; // 0 or 1
//	    opaque refs<V><V>;
//	} DeleteKeyPackages;
func (c DeleteKeyPackages) appendTo(w *mls.Writer) {
	c.User.AppendTo(w)
	c.Client.AppendTo(w)
	w.Bool(c.All)
	appendTexts(w, c.Refs)
}

func readDeleteKeyPackages(r *mls.Reader) DeleteKeyPackages {
	return DeleteKeyPackages{
		User: mimi.ReadUserURI(r, "user"), Client: mimi.ReadClientURI(r, "client"), All: r.Bool("all"), Refs: readTexts[mls.KeyPackageRef](r, "refs"),
	}
}

// KeyPackagesDeleted says what became of a deletion. What it does not count was not in store.
type KeyPackagesDeleted struct {
	Deleted uint32
	Claimed []mls.KeyPackageRef // somebody has been given these: a Welcome may have named them, or may yet
	Left    uint32              // single-use KeyPackages of the client now in store
}

func (KeyPackagesDeleted) outcomeKind() OutcomeKind { return OutcomeKeyPackagesDeleted }

//	struct {
//	    uint32 deleted;
//	    opaque claimed<V><V>;
//	    uint32 left;
//	} KeyPackagesDeleted;
func (o KeyPackagesDeleted) appendTo(w *mls.Writer) {
	w.Uint32(o.Deleted)
	appendTexts(w, o.Claimed)
	w.Uint32(o.Left)
}

func readKeyPackagesDeleted(r *mls.Reader) KeyPackagesDeleted {
	return KeyPackagesDeleted{Deleted: r.Uint32("deleted"), Claimed: readTexts[mls.KeyPackageRef](r, "claimed"), Left: r.Uint32("left")}
}

// deleteKeyPackages forgets what it takes out of store: the same KeyPackage may be uploaded again, since nobody was given it. The
// backend is not told that an inventory is low which its own client has emptied. The client stays known, and is exhausted.
func (t *tx) deleteKeyPackages(c DeleteKeyPackages) Outcome {
	t.renewUser(c.User)
	position, found := t.positionOf(c.User, c.Client)
	if !found {
		return KeyPackagesDeleted{}
	}
	client, _ := get(t, func(r Reader) (clientRecord, bool, error) { return readClient(r, c.User, position) })
	refs := c.Refs
	if c.All {
		refs = t.storedRefs(c.User, position)
	}
	var outcome KeyPackagesDeleted
	for _, name := range refs {
		ref, found := get(t, func(r Reader) (refRecord, bool, error) { return readRef(r, c.User, name) })
		switch {
		case !found || ref.position != position:
		case ref.claimed:
			outcome.Claimed = append(outcome.Claimed, name)
		default:
			k, p, _ := t.stored(ref)
			t.delete(k)
			t.delete(refKey(c.User, name))
			*client.count(p.LastResort)--
			outcome.Deleted++
		}
	}
	if outcome.Deleted > 0 {
		t.set(clientKey(c.User, position), record(client.appendTo))
	}
	outcome.Left = client.singleUse
	return outcome
}

func (t *tx) positionOf(user mimi.UserURI, client mimi.ClientURI) (uint32, bool) {
	return get(t, func(r Reader) (uint32, bool, error) {
		return readRecord(r, clientPositionKey(user, client), "client position", func(r *mls.Reader) uint32 { return r.Uint32("position") })
	})
}

// storedRefs lists the references of all KeyPackages that a client has in store.
func (t *tx) storedRefs(user mimi.UserURI, position uint32) (refs []mls.KeyPackageRef) {
	for _, sort := range []stock{packagesOf(user, position), lastResortOf(user, position)} {
		t.check(scanRecords(t.store, sort.prefix, "KeyPackage", readKeyPackage, func(_ []byte, p KeyPackageFacts) (bool, error) {
			refs = append(refs, p.Ref)
			return true, nil
		}))
	}
	return refs
}
