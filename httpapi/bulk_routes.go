package httpapi

import (
	"context"
	"errors"
	"sync"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// routesPerRecordMax bounds one record of routes, so that it fits a log entry however long the URIs are.
const routesPerRecordMax = 128

// recordBulkRoutes remembers at the room where all that was claimed belongs, in as few commands as that takes. A user whose routes are not
// recorded is not given its KeyPackages: they are taken, and the same request again gets them. faults are errors of this node.
func (d *Desk) recordBulkRoutes(ctx context.Context, room mimi.RoomURI, a *bulkAnswer) (faults error) {
	if room.IsZero() {
		return nil
	}
	var work sync.WaitGroup
	var mu sync.Mutex
	for _, some := range a.records() {
		work.Go(func() {
			part, err := d.recordSome(ctx, room, some.routes)
			if part != nil {
				a.putAll(some.users, *part)
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				faults = errors.Join(faults, err)
			}
		})
	}
	work.Wait()
	return faults
}

// routesOfUsers are routes that are recorded together. A user's are never apart, unless they are too many for one record.
type routesOfUsers struct {
	users  []mimi.UserURI
	routes []fsm.KeyPackageRoute
}

// records cuts what was claimed into records. A user whose provider's answer cannot be recorded has failed, whatever else it says.
func (a *bulkAnswer) records() (records []routesOfUsers) {
	var open routesOfUsers
	for _, part := range a.parts {
		routes, err := routesOf(part.User, part.Clients)
		if err != nil || !belong(routes) {
			a.put(part.User, mimi.BulkUserMaterial{Status: mimi.BulkFailed})
			continue
		}
		if len(routes) == 0 {
			continue
		}
		if len(open.routes) > 0 && len(open.routes)+len(routes) > routesPerRecordMax {
			records, open = append(records, open), routesOfUsers{}
		}
		open.users, open.routes = append(open.users, part.User), append(open.routes, routes...)
	}
	if len(open.routes) > 0 {
		records = append(records, open)
	}
	return records
}

// belong reports whether a provider has named clients of its own only.
func belong(routes []fsm.KeyPackageRoute) bool {
	for _, route := range routes {
		if route.Client.Provider() != route.Provider {
			return false
		}
	}
	return true
}

// recordSome writes one record. The part is what its users are answered instead where it is not written.
func (d *Desk) recordSome(ctx context.Context, room mimi.RoomURI, routes []fsm.KeyPackageRoute) (*mimi.BulkUserMaterial, error) {
	undecided := undecidedPart()
	request, err := judge.NewRecordRoutes(room, routes)
	if err != nil {
		return &undecided, err
	}
	switch refusal, err := d.record(ctx, request); {
	case errors.Is(err, fsm.ErrUnknownOutcome), errors.Is(err, fsm.ErrNotProposed), errors.Is(err, fsm.ErrOverloaded):
		return &undecided, nil
	case err != nil:
		return &undecided, err
	case refusal != "":
		return &mimi.BulkUserMaterial{Status: mimi.BulkRoomFull}, nil
	default:
		return nil, nil
	}
}
