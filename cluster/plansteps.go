package cluster

import (
	"context"
	"errors"
	"fmt"

	"parley/fsm/meta"
)

// stepExecutors are who takes which steps of plans.
func (n *Node) stepExecutors() map[StepKind]stepExecutor {
	return map[StepKind]stepExecutor{
		StepDrainNode:      n.stepDuty(meta.Draining),
		StepLeaveNode:      n.stepDuty(meta.Leaving),
		StepSetReplication: n.stepReplication,
		StepAddReplica:     n.stepAddReplica,
		StepMoveReplica:    n.stepMoveReplica,
		StepRemoveReplica:  n.stepRemoveReplica,
		StepMoveLead:       n.stepMoveLead,
		StepOpenShard:      n.stepOpenShard,
		StepMoveSlots:      n.stepSlotMove,
		StepRetireShard:    n.stepRetireShard,
	}
}

// stepCancellers are who brings to an end what a step has begun. Of other kinds of steps nothing goes on by itself, or it ends by itself.
func (n *Node) stepCancellers() map[StepKind]stepCanceller {
	return map[StepKind]stepCanceller{
		StepMoveReplica: n.stepTakeBackMove,
		StepMoveSlots:   n.cancelSlotMove,
	}
}

// stepDuty says what a node is wanted for. What a node that leaves is wanted for does not become more by draining it.
func (n *Node) stepDuty(kind meta.DutyKind) stepExecutor {
	return func(ctx context.Context, job meta.Job, s PlanStep) (stepProgress, error) {
		if is := n.Map().Duty(s.Node).Kind; is == kind || is == meta.Leaving {
			return stepProgress{done: true}, nil
		}
		duty := meta.Duty{Node: s.Node, Kind: kind, By: job.By, Why: fmt.Sprintf("job %d", job.ID)}
		return stepProgress{done: true}, failedIfRefused(n.change(ctx, meta.AssignNode{Duty: duty}))
	}
}

func (n *Node) stepReplication(ctx context.Context, job meta.Job, s PlanStep) (stepProgress, error) {
	rules, version := n.Map().Placement()
	if int(rules.ReplicationFactor) == s.Factor {
		return stepProgress{done: true}, nil
	}
	rules.ReplicationFactor, rules.By, rules.Why = uint32(s.Factor), job.By, fmt.Sprintf("job %d", job.ID)
	err := n.change(ctx, meta.ChangePlacement{Version: version, Rules: rules})
	if _, now := n.Map().Placement(); err != nil && now != version {
		return stepProgress{}, err // somebody else was faster
	}
	return stepProgress{done: true}, failedIfRefused(err)
}

// failedIfRefused ends the job where the meta group says no for good.
func failedIfRefused(err error) error {
	if refused := (*RefusedError)(nil); errors.As(err, &refused) {
		return fmt.Errorf("%w: %s", errJobFailed, refused.Reason)
	}
	return err
}
