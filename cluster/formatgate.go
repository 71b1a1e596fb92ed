package cluster

import (
	"context"

	"parley/fsm"
)

// formatFault says why a command must not get into the shard's log yet; nil where it may. A replica whose program is older than the
// command would stop at it, so the leader looks before it proposes. What it has applied is enough to say yes, since formats only rise.
func (r *replica) formatFault(command fsm.Command) *fsm.FormatNotReached {
	needs, has := fsm.FormatOf(command), fsm.Format(r.format.Load())
	if needs <= has {
		return nil
	}
	return &fsm.FormatNotReached{Needs: needs, Has: has}
}

// denyFormat refuses a command for its format, unless the format turns out to be reached. A leader may not have applied yet what raised
// it, so a *no* comes after a fence, as every other does. A fence of which nothing is known leaves nothing open.
func (r *replica) denyFormat(ctx context.Context, command fsm.Command) (reply answer, refused bool) {
	reply = r.decide(ctx, fsm.Fence{})
	switch reply.code {
	case answerOutcome:
		fault := r.formatFault(command)
		if fault == nil {
			return answer{}, false
		}
		return answer{code: answerOutcome, index: reply.index, outcome: *fault}, true
	case answerUnknown:
		return answer{code: answerNotProposed}, true
	default:
		return reply, true
	}
}
