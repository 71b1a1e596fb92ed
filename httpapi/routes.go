package httpapi

import (
	"context"
	"fmt"
	"net/http"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// recordRoutes remembers at the room where each claimed KeyPackage belongs (mimi-protocol-06 §5.2). Until that is written the
// KeyPackages are not given out; the requester's repetition of the request gets the same ones.
func (d *Desk) recordRoutes(ctx context.Context, room mimi.RoomURI, response mimi.KeyMaterialResponse) error {
	if room.IsZero() {
		return nil
	}
	routes, err := routesOf(response.User, response.Clients)
	if err != nil {
		return badUpstream(response.User.Provider(), err)
	}
	if len(routes) == 0 {
		return nil
	}
	request, err := judge.NewRecordRoutes(room, routes)
	if err != nil {
		return badUpstream(response.User.Provider(), err)
	}
	refusal, err := d.record(ctx, request)
	if err == nil && refusal != "" {
		return newProblem(http.StatusConflict, problemConflict, "roomId", refusal)
	}
	return err
}

// record writes routes. The text says why the room takes them not, or not all of them; it is empty where they stand.
func (d *Desk) record(ctx context.Context, request *judge.RecordRoutes) (refusal string, err error) {
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return "", err
	}
	switch o := outcome.(type) {
	case fsm.Done, fsm.Accepted, fsm.NoSuchRoom: // a room may be created after its first claims
		return "", nil
	case fsm.NotAllowed:
		return o.Reason, nil
	default:
		return "", unexpected("a record of routes", outcome)
	}
}

// routesOf are where the KeyPackages of one user's clients belong. The error is a *mls.MalformedError, or says what is wrong with one.
func routesOf(user mimi.UserURI, clients []mimi.ClientKeyMaterial) ([]fsm.KeyPackageRoute, error) {
	var routes []fsm.KeyPackageRoute
	for i, client := range clients {
		claimed, ok := client.Material.(mimi.ClaimedKeyPackage)
		if !ok {
			continue
		}
		ref, err := claimed.KeyPackage.Ref()
		if err != nil {
			return nil, fmt.Errorf("clients[%d].keyPackage: %w", i, err)
		}
		lifetime, ok := claimed.KeyPackage.Lifetime()
		if !ok {
			return nil, &mls.MalformedError{Field: fmt.Sprintf("clients[%d].keyPackage.leaf_node", i), Reason: "it has no lifetime"}
		}
		routes = append(routes, fsm.KeyPackageRoute{
			Ref: ref, Provider: user.Provider(), User: user, Client: client.Client, NotAfter: lifetime.NotAfter,
		})
	}
	return routes, nil
}
