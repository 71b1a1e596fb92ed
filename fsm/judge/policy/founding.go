package policy

import (
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// CheckNew holds the first GroupContext of a room to what later ones are held to piece by piece: every component of MIMI can be read,
// and the policy fits itself and the members. The minima of the roles bind only who would go below them. clients counts each user's
// members. The error is a *Refusal, a *mls.MalformedError or a *mls.InvalidError.
func CheckNew(context mls.GroupContext, clients map[mimi.UserURI]int) error {
	p, err := Read(context)
	if err != nil {
		return err
	}
	appliers := mimi.ComponentAppliers()
	for _, c := range p.dictionary {
		var err error
		switch apply, known := appliers[c.ID]; {
		case !known, c.ID == mimi.ComponentParticipantList:
		case c.ID == mimi.ComponentJoinLinks: // its updates are of another form than its data
			_, err = mimi.ParseJoinLinks(c.Data)
		default:
			_, err = apply(nil, [][]byte{c.Data})
		}
		if err != nil {
			return fmt.Errorf("component 0x%04x: %w", uint16(c.ID), err)
		}
	}
	members := 0
	for _, n := range clients {
		members += n
	}
	if err := p.checkSound(); err != nil {
		return err
	}
	if most := p.base.MaxClients; most != nil && members > int(*most) {
		return refuse("the room may have %d clients, and would have %d", *most, members)
	}
	nobody := &Policy{base: p.base, roles: p.roles, hasRoles: p.hasRoles}
	all := &census{before: map[mimi.UserURI]int{}, after: clients}
	touched := Change{}
	for _, entry := range p.list {
		touched.Touched = append(touched.Touched, entry.User)
	}
	if err := nobody.checkDevices(p, touched, all); err != nil || !p.hasRoles {
		return err
	}
	if err := nobody.checkBans(p, all); err != nil {
		return err
	}
	return nobody.checkBounds(p, touched, all)
}
