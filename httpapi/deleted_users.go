package httpapi

import (
	"context"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// departDeleted takes users whose provider says that they are deleted out of the rooms that are hosted here: the hub proposes to remove
// them, as it does a deleted user of its own. It comes before the notice is taken, so that one which is answered has had its effect; it
// may come again.
func (d *Desk) departDeleted(ctx context.Context, items []judge.Delivered) error {
	for _, item := range items {
		for _, notice := range item.Notices() {
			deleted, yes := notice.(mimi.UserDeleted)
			if !yes {
				continue
			}
			request, err := judge.NewDepart(deleted.User.Provider(), deleted.User, mimi.ClientURI{})
			if err != nil {
				return err
			}
			outcome, err := d.hub.Do(ctx, request)
			if err != nil {
				return err
			}
			if _, done := outcome.(fsm.Accepted); !done {
				return unexpected("a user's deletion", outcome)
			}
		}
	}
	return nil
}
