package fsm

import "errors"

// The cluster could not decide. A Go error from a request is one of these, a *mls.MalformedError, or a fault of this node;
// what the protocol refuses is an Outcome, never an error.
var (
	// ErrNotProposed: nothing was written and nothing will be; the request can be sent again anywhere.
	ErrNotProposed = errors.New("not proposed: no leader could be reached in time")

	// ErrUnknownOutcome: the command may have been committed. It is never reported as a failure; sending the same request
	// again finds out, since every command is recognised when it comes twice.
	ErrUnknownOutcome = errors.New("outcome unknown: the command may have been accepted")

	// ErrOverloaded: a bounded queue was full; nothing was written.
	ErrOverloaded = errors.New("overloaded: nothing was written")
)
