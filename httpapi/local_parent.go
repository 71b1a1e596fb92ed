package httpapi

import (
	"context"
	"net/http"

	"parley/fsm"
	"parley/fsm/judge"
)

// considerParent refuses a new room that its parent, of which it says that it depends on it, could not have. A room that is there already
// is left to its own slot, which knows the request again: the parent may have changed since. A parent elsewhere is refused there, too.
func (d *Desk) considerParent(ctx context.Context, created *judge.CreateRoom) error {
	parent, users, depends := created.Parent()
	if !depends || !d.isOurs(parent.Provider()) || parent == created.Room() {
		return nil
	}
	request, err := judge.NewConsiderParent(parent, users)
	if err != nil {
		return err
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return err
	}
	switch o := outcome.(type) {
	case fsm.Done:
		return nil
	case fsm.NotAllowed:
		there, err := d.isThere(ctx, created)
		if err != nil || there {
			return err
		}
		return newProblem(http.StatusConflict, problemConflict, "groupInfo", o.Reason)
	default:
		return unexpected("a look at a parent room", outcome)
	}
}

// isThere reports whether a room of the URI has been created, even if it has ended since.
func (d *Desk) isThere(ctx context.Context, created *judge.CreateRoom) (bool, error) {
	request, err := judge.NewDescribeRoom(created.Room())
	if err != nil {
		return false, err
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return false, err
	}
	_, none := outcome.(fsm.NoSuchRoom)
	return !none, nil
}
