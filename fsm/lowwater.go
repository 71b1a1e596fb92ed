package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// KeyPackagesLow: a client's single-use KeyPackages have become fewer than the low-water mark of the settings, or none are left. It
// comes once each time that they do, not with each one after that. Its item is of no room.
type KeyPackagesLow struct {
	User   mimi.UserURI
	Client mimi.ClientURI
	Left   uint32
}

func (KeyPackagesLow) noteKind() NoteKind { return NoteKeyPackagesLow }

//	struct {
//	    opaque user<V>;
//	    opaque client<V>;
//	    uint32 left;
//	} KeyPackagesLow;
func (n KeyPackagesLow) appendTo(w *mls.Writer) {
	n.User.AppendTo(w)
	n.Client.AppendTo(w)
	w.Uint32(n.Left)
}

func readKeyPackagesLow(r *mls.Reader) KeyPackagesLow {
	return KeyPackagesLow{User: mimi.ReadUserURI(r, "user"), Client: mimi.ReadClientURI(r, "client"), Left: r.Uint32("left")}
}

// setSingleUse writes how many single-use KeyPackages of a client are left, and tells the backend where they have become few.
func (t *tx) setSingleUse(user mimi.UserURI, position uint32, c clientRecord, left uint32) {
	before := c.singleUse
	c.singleUse = left
	t.set(clientKey(user, position), record(c.appendTo))
	low := t.settings.Claims.LowWater
	if t.format >= FormatExclusive && low > 0 && (left < low && low <= before || left == 0 && before > 0) {
		self := t.settings.Domains[0]
		body := t.body(outboxBodyName{slot: SlotOfUser(user), hub: self, destination: self})
		body.notes = append(body.notes, KeyPackagesLow{User: user, Client: c.client, Left: left})
	}
}
