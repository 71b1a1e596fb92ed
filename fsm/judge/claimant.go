package judge

import (
	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// claimant is who claims KeyPackages, and who brought the claim: the requester's provider, or the hub of the room, which forwards
// it as it is (mimi-protocol-06 §5.2).
type claimant struct {
	from       mimi.Provider
	requester  mimi.UserURI
	room       mimi.RoomURI // none where the claim is for no room
	credential mls.Credential
}

// check refuses whoever may not claim. field is the signature's in the message; genuine tells whether that holds.
func (c claimant) check(settings fsm.Settings, field string, genuine bool) error {
	own := sameProvider(settings, c.from, c.requester.Provider())
	forwarded := sameProvider(settings, c.from, c.room.Provider())
	user, names := namedBy(c.credential).(mimi.UserURI)
	switch {
	case !own && !forwarded:
		return deny("requestingUser belongs to another provider, and the sender is not the room's hub")
	case names && user != c.requester:
		return deny("requesterCredential names another user than requestingUser")
	case domainOf(c.credential) != c.requester.Provider():
		return deny("requesterCredential does not belong to requestingUser's provider")
	case !genuine:
		return deny("%s is wrong", field)
	}
	return nil
}
