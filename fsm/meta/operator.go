package meta

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
)

// Operator is who asks for a change, and what for. The changes of a context that has one are put into the audit log. It belongs to the
// goroutine of its request: its changes come one after the other.
type Operator struct {
	By   string   // as he calls himself
	Verb string   // what he asked for
	Key  [32]byte // random

	what    string
	changes uint64
}

type operatorKey struct{}

// WithOperator returns a context whose changes are the operator's.
func WithOperator(ctx context.Context, o *Operator) context.Context {
	return context.WithValue(ctx, operatorKey{}, o)
}

// OperatorOf is whose changes those of a context are; nil where they are the node's own.
func OperatorOf(ctx context.Context) *Operator {
	o, _ := ctx.Value(operatorKey{}).(*Operator)
	return o
}

// Says gives the audit log better words for what is asked for than the commands have. It must hold no secret. A nil Operator ignores it.
func (o *Operator) Says(what string) {
	if o != nil {
		o.what = what
	}
}

// SaysAtLeast is Says where nothing was said yet.
func (o *Operator) SaysAtLeast(what string) {
	if o.what == "" {
		o.what = what
	}
}

// Changes is how many changes the operator's request has come to so far.
func (o *Operator) Changes() uint64 { return o.changes }

// Audited is a command, or nil for what was done without one, as the operator's next change.
func (o *Operator) Audited(command Command, failed string) Audited {
	o.changes++
	what := o.what
	if what == "" && command != nil {
		what = about(command)
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(o.Key[:], o.changes))
	return Audited{
		Key: [16]byte(sum[:16]), By: cut(o.By, HoldTextBytesMax), Verb: cut(o.Verb, AuditVerbBytesMax), What: cut(what, AuditWhatBytesMax),
		Failed: cut(failed, AuditCameBytesMax), Command: command,
	}
}

func cut(text string, bytesMax int) string { return text[:min(len(text), bytesMax)] }
