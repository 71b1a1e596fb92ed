package judge

import (
	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
)

// checkPolicy holds a new room's policy to itself and to the members. mapped are clients that the room's creation will map to its
// creator. It returns what apply has to know of the policy. A shard of an older format takes any.
func (c *CreateRoom) checkPolicy(replica fsm.Reader, mapped []fsm.ClientOfUser) (fsm.RoomRules, error) {
	none := fsm.RoomRules{}
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatExclusive {
		return none, err
	}
	counts := make(map[mimi.UserURI]int)
	for _, leaf := range c.group.Members() {
		user, known, err := userOf(replica, c.room, leaf.Credential)
		if err != nil {
			return none, err
		}
		for _, m := range mapped {
			if !known && m.Client == clientOf(leaf.Credential) {
				user = m.User
			}
		}
		counts[user]++
	}
	if err := policy.CheckNew(c.group.Context(), counts); err != nil {
		return none, ruled(err)
	}
	p, err := policy.Read(c.group.Context())
	if err != nil {
		return none, ruled(err)
	}
	return rulesOf(p), nil
}
