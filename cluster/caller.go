package cluster

import (
	"context"
	"errors"
	"math"

	"parley/fsm"
	"parley/fsm/meta"
	"parley/mls"
)

// A peer that is removed, or a token that is revoked, while a request of its is under way must not have that decided. The shards know
// neither: they know the version of the settings, which such a change raises, and refuse what was judged under an earlier one. So a
// caller is looked up again each time that a command is about to be proposed, in a map that is no older than the settings it was judged
// under. What is accepted then was judged under settings, in force at that place in the log, at which the caller was still known.

// vouched says that a request's caller was known as of a version of the settings. The node that took the request finds that out; one
// that judges it on its behalf goes by it.
type vouched uint64

// vouchedAlways is for what the node asks of itself.
const vouchedAlways vouched = math.MaxUint64

// vouch looks the caller of a request up.
func (q *query) vouch() (_ vouched, denied bool) {
	if !q.called {
		return vouchedAlways, false
	}
	current := q.node.Map()
	_, version := current.Settings()
	return vouched(version), !current.Admits(q.caller)
}

// admit decides whether a command may be proposed for the request's caller: nil, errElsewhere where this node's map has to catch up
// first. denied is the outcome where it may not.
func (q *query) admit(command fsm.Command) (denied fsm.Outcome, err error) {
	known := q.vouched
	if known == 0 {
		var gone bool
		if known, gone = q.vouch(); gone {
			return q.shutOut()
		}
	}
	if judgedUnder(command) > uint64(known) {
		return nil, errElsewhere
	}
	return nil, nil
}

// shutOut is the answer to a caller that is not known any more.
func (q *query) shutOut() (fsm.Outcome, error) {
	if q.open {
		return nil, q.unavailable(errors.New("the caller has been shut out, and an earlier attempt may have been accepted"))
	}
	return fsm.NotAllowed{Reason: "the caller is not known any more"}, nil
}

// judgedUnder is the version of the settings to which a command is bound; 0 where it is to none.
func judgedUnder(command fsm.Command) uint64 {
	switch c := command.(type) {
	case fsm.Judged:
		return c.Settings
	case fsm.AcceptCommit:
		return c.Reads.Enforcement
	default:
		return 0
	}
}

// takeCaller takes note of whose request it is.
func (q *query) takeCaller(ctx context.Context) { q.caller, q.called = meta.CallerOf(ctx) }

// doVersion is the last of DoRequest. The first does not say how far the caller is vouched for.
const doVersion = 2

func (v vouched) appendTo(w *mls.Writer) { w.Uint64(uint64(v)) }

// readVouched reads it from a DoRequest of a version. Nothing counts as vouched for never.
func readVouched(r *mls.Reader, version uint8) vouched {
	if version < doVersion {
		return vouchedAlways // of a node that knows no better
	}
	v := vouched(r.Uint64("vouched"))
	if v == 0 {
		r.Fail("vouched", "is of no settings")
	}
	return v
}
