package judge

import (
	"parley/fsm"
	"parley/fsm/judge/policy"
	"parley/mimi"
)

// checkPolicy holds a new room's policy to itself and to the members. mapped are clients that the room's creation will map to its
// creator. A shard of an older format takes any.
func (c *CreateRoom) checkPolicy(replica fsm.Reader, mapped []fsm.ClientOfUser) error {
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatExclusive {
		return err
	}
	counts := make(map[mimi.UserURI]int)
	for _, leaf := range c.group.Members() {
		user, known, err := userOf(replica, c.room, leaf.Credential)
		if err != nil {
			return err
		}
		for _, m := range mapped {
			if !known && m.Client == clientOf(leaf.Credential) {
				user = m.User
			}
		}
		counts[user]++
	}
	return ruled(policy.CheckNew(c.group.Context(), counts))
}
