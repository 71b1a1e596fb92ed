// Package judge turns requests into commands: what is expensive and changeable (parsing, signatures, the tree, policy) is
// done here once, before the log, against a replica of the shard at the node that took the request. It is pure.
package judge

import (
	"parley/fsm"
	"parley/mls"
)

// Request is something a provider or a client asks of a hub. The set is closed; EncodeRequest carries one to another node.
type Request interface {
	// Slot tells which shard decides.
	Slot() fsm.SlotID

	// Judge reads the replica and says what to do; call On, which binds that to what it rests on. An error is a *mls.MalformedError, or the replica's own.
	Judge(replica fsm.Reader) (Verdict, error)

	// Complete adds to the outcome what can be read from a replica that has applied the command. Most requests return the
	// outcome as it is.
	Complete(replica fsm.Reader, outcome fsm.Outcome) (fsm.Outcome, error)

	kind() requestKind
	appendArguments(w *mls.Writer)
}

// On judges a request against a replica. What it proposes is bound to the settings there, from the format on that knows it, so that
// the log decides on it only while they are in force.
func On(replica fsm.Reader, r Request) (Verdict, error) {
	verdict, err := r.Judge(replica)
	proposed, ok := verdict.(Propose)
	if err != nil || !ok {
		return verdict, err
	}
	format, err := fsm.ReadFormat(replica)
	if err != nil || format < fsm.FormatQueues {
		return verdict, err
	}
	_, version, err := fsm.ReadSettings(replica)
	return Propose{fsm.Bind(proposed.Command, version)}, err
}

// Verdict is what Judge found: Propose, Answer or Refuse.
type Verdict interface{ verdict() }

// Propose: let the log decide on the command.
type Propose struct{ Command fsm.Command }

// Answer is a stable fact that any replica which has applied it may give.
type Answer struct{ Outcome fsm.Outcome }

// Refuse is a *no* that holds only if the replica is not older than a fence: fence, catch up, judge again, and only then answer.
type Refuse struct{ Outcome fsm.Outcome }

func (Propose) verdict() {}
func (Answer) verdict()  {}
func (Refuse) verdict()  {}

// Decided is what one of several requests came to: an outcome or an error.
type Decided struct {
	Outcome fsm.Outcome
	Err     error
}
