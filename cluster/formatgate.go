package cluster

import "parley/fsm"

// formatFault says why a command must not get into the shard's log yet; nil where it may. A replica whose program is older than the
// command would stop at it, so the leader looks before it proposes. What it has applied is enough to say yes, since formats only
// rise; a *no* may be a moment old, and the command comes again.
func (r *replica) formatFault(command fsm.Command) *fsm.FormatNotReached {
	needs, has := fsm.FormatOf(command), fsm.Format(r.format.Load())
	if needs <= has {
		return nil
	}
	return &fsm.FormatNotReached{Needs: needs, Has: has}
}
