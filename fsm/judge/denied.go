package judge

import (
	"errors"
	"fmt"

	"parley/fsm"
	"parley/mls"
)

// denied carries a refusal from where it is found up to the request's Judge. Any other error is the replica's.
type denied struct{ outcome fsm.Outcome }

func (d *denied) Error() string { return fmt.Sprintf("refused: %+v", d.outcome) }

// deny refuses by policy, with a reason that the requester may see.
func deny(format string, arguments ...any) error {
	return &denied{fsm.NotAllowed{Reason: fmt.Sprintf(format, arguments...)}}
}

// objection makes a refusal of what the group, or a component of it, finds wrong with a message. It is called with errors of
// mls and mimi alone: a record of the replica that cannot be read is a *mls.MalformedError too, and is nobody's refusal.
func objection(err error) error {
	var unknown *mls.UnknownProposalsError
	var invalid *mls.InvalidError
	var malformed *mls.MalformedError
	switch {
	case errors.As(err, &unknown):
		return &denied{fsm.InvalidProposal{Refs: unknown.Refs, Reason: err.Error()}}
	case errors.As(err, &invalid), errors.As(err, &malformed):
		return &denied{fsm.NotAllowed{Reason: err.Error()}}
	default:
		return err
	}
}

// reasonOf is the text of a refusal by policy; false for any other error.
func reasonOf(err error) (string, bool) {
	var d *denied
	if !errors.As(err, &d) {
		return "", false
	}
	no, ok := d.outcome.(fsm.NotAllowed)
	return no.Reason, ok
}

// refusedOr is the outcome of a refusal, or the error that is none.
func refusedOr(err error) (fsm.Outcome, error) {
	var d *denied
	if errors.As(err, &d) {
		return d.outcome, nil
	}
	return nil, err
}

// concluded ends a Judge: a refusal becomes a verdict.
func concluded(verdict Verdict, err error) (Verdict, error) {
	var d *denied
	switch {
	case errors.As(err, &d):
		return Refuse{d.outcome}, nil
	case err != nil:
		return nil, err
	default:
		return verdict, nil
	}
}
