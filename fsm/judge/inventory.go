package judge

import (
	"fmt"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// deletionsPerRequestMax bounds a list of references; a client's whole inventory needs none.
const deletionsPerRequestMax = 1000

// DeleteKeyPackages takes KeyPackages of a local user's client out of store.
type DeleteKeyPackages struct {
	asDecided
	command fsm.DeleteKeyPackages
}

// NewDeleteKeyPackages makes the request, for up to 1000 references or, with none, for all that the client has. It may be repeated.
func NewDeleteKeyPackages(user mimi.UserURI, client mimi.ClientURI, refs []mls.KeyPackageRef) (*DeleteKeyPackages, error) {
	switch {
	case client.Provider() != user.Provider():
		return nil, &mls.MalformedError{Field: "client", Reason: "it belongs to another provider than the user"}
	case len(refs) > deletionsPerRequestMax:
		return nil, &mls.MalformedError{Field: "references", Reason: fmt.Sprintf("at most %d are taken, not %d", deletionsPerRequestMax, len(refs))}
	case slices.Contains(refs, ""):
		return nil, &mls.MalformedError{Field: "references", Reason: "one is empty"}
	}
	return &DeleteKeyPackages{command: fsm.DeleteKeyPackages{User: user, Client: client, All: len(refs) == 0, Refs: slices.Clone(refs)}}, nil
}

func (d *DeleteKeyPackages) Slot() fsm.SlotID { return d.command.Slot() }
func (*DeleteKeyPackages) kind() requestKind  { return kindDeleteKeyPackages }

// Judge refuses another provider's user.
func (d *DeleteKeyPackages) Judge(replica fsm.Reader) (Verdict, error) {
	return ofLocalUser(replica, d.command.User, Propose{d.command})
}

func (d *DeleteKeyPackages) appendArguments(w *mls.Writer) {
	appendURIs(w, d.command.User, d.command.Client)
	w.Vector(func(w *mls.Writer) {
		for _, ref := range d.command.Refs {
			w.Opaque([]byte(ref))
		}
	})
}

// ReadInventory asks what a local user's clients have in store.
type ReadInventory struct {
	asRead
	user mimi.UserURI
}

// NewReadInventory makes the request. It answers fsm.InventoryRead.
func NewReadInventory(user mimi.UserURI) (*ReadInventory, error) {
	return &ReadInventory{user: user}, nil
}

func (q *ReadInventory) Slot() fsm.SlotID              { return fsm.SlotOfUser(q.user) }
func (*ReadInventory) kind() requestKind               { return kindReadInventory }
func (q *ReadInventory) appendArguments(w *mls.Writer) { appendURIs(w, q.user) }

// Judge refuses rather than answers, since a replica that is behind would count what has been claimed.
func (q *ReadInventory) Judge(replica fsm.Reader) (Verdict, error) {
	stocks, err := fsm.ReadStocks(replica, q.user)
	if err != nil {
		return nil, err
	}
	return ofLocalUser(replica, q.user, Refuse{stocks})
}
