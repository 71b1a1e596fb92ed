package cluster

import (
	"context"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
)

// auditMost is how many entries of the audit log are read at once.
const auditMost = 1000

// audited is a change as it goes into the log: what an operator asks for takes its entry of the audit log along, from the format on in
// which every node can read that.
func (n *Node) audited(ctx context.Context, command meta.Command) meta.Command {
	operator := meta.OperatorOf(ctx)
	if operator == nil || n.Settings().Format < fsm.FormatResize {
		return command
	}
	return operator.Audited(command, "")
}

// RecordAction puts into the audit log what a context's operator did without a change of the map; failed says why nothing came of it and is
// empty where something did. Nothing is recorded for a context without an operator, nor where the cluster is of a format that has no such
// log. The errors are those of Change.
func (n *Node) RecordAction(ctx context.Context, failed string) error {
	operator := meta.OperatorOf(ctx)
	if operator == nil || n.Settings().Format < fsm.FormatResize {
		return nil
	}
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = n.bringMeta(ctx, operator.Audited(nil, failed))
	return err
}

// Audit reads the audit log as this node knows it, the newest first: entries with a sequence below before, or from the last one on where
// that is 0; most is 1 to 1000.
func (n *Node) Audit(before uint64, most int) (entries []meta.AuditEntry, err error) {
	err = n.viewMeta(func(r fsm.Reader) error {
		entries, err = meta.ReadAudit(r, before, min(max(most, 1), auditMost))
		return err
	})
	return entries, err
}

// viewMeta reads this node's own copy of the meta group's state.
func (n *Node) viewMeta(read func(fsm.Reader) error) error {
	view, err := n.meta.machine.state.View()
	if err != nil {
		return fmt.Errorf("%w: %v", fsm.ErrNotProposed, err)
	}
	defer view.Close()
	return read(view)
}
