package policy

import (
	"parley/mimi"
)

// Departure is who is on the way out of a room. The first New of Inactive, and those of Left among them, would be by what is asked now.
type Departure struct {
	Left     []mimi.UserURI // leave the participant list
	Inactive []mimi.UserURI // keep no client in the group; Left are among them
	New      int
	// Active counts each user's clients. It is asked only where that matters, for it looks at every member.
	Active func() (map[mimi.UserURI]int, error)
}

// CheckDeparture refuses a departure that would leave fewer in a role than its minima (room-policy-03 §8.1.2). The error is a *Refusal,
// or Active's.
func (p *Policy) CheckDeparture(d Departure) error {
	for _, user := range d.Inactive[:d.New] {
		role := p.role(p.roleOf(user))
		if p.among(d.Left, role.Index) > 0 && p.holders(role.Index)-p.among(d.Left, role.Index) < int(role.Participants.Min) {
			return refuse("%s may not leave yet: the role %d (%s) must have %d participants", user, role.Index, role.Name, role.Participants.Min)
		}
		if role.Active.Min == 0 {
			continue
		}
		clients, err := d.Active()
		if err != nil {
			return err
		}
		if clients[user] == 0 {
			continue
		}
		for _, gone := range d.Inactive {
			delete(clients, gone)
		}
		if p.active(role.Index, clients) < int(role.Active.Min) {
			return refuse("%s may not go yet: the role %d (%s) must have %d active participants", user, role.Index, role.Name, role.Active.Min)
		}
	}
	return nil
}
