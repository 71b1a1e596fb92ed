package cluster

import (
	"context"
	"errors"
	"fmt"

	"parley/fsm"
	"parley/fsm/meta"
)

// settingsRoundsMax is how often a change of the settings begins anew because others have changed them meanwhile.
const settingsRoundsMax = 10

// ChangeSettings lets change make new settings of those in force, whose version it is told, and returns what they are then and under
// which version. Where somebody else was faster it is asked again, with what the other has made of them: so two changes at a time both
// hold, unless they are of the same limit. The errors are those of change, and of Change; a cluster whose format is below fsm.FormatBulk
// refuses, since a node may run a program that does not know the command.
func (n *Node) ChangeSettings(
	ctx context.Context, change func(in fsm.Settings, version uint64) (fsm.Settings, error),
) (fsm.Settings, uint64, error) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return fsm.Settings{}, 0, err
	}
	defer done()
	if !n.Map().Initialised() {
		return fsm.Settings{}, 0, ErrNotInitialised
	}
	for round := 1; ; round++ {
		in, version := n.Map().Settings()
		if in.Format < fsm.FormatBulk {
			return in, version, &RefusedError{fmt.Sprintf(
				"the cluster is of format %d, and its settings can be changed from format %d on", in.Format, fsm.FormatBulk)}
		}
		in.HubKeys = nil
		wanted, err := change(in, version)
		if err != nil {
			return in, version, err
		}
		index, err := n.changeAt(ctx, meta.ChangeSettings{Version: version, Settings: wanted})
		if err == nil {
			is, now := n.Map().Settings()
			return is, now, nil
		}
		var refused *RefusedError
		if !errors.As(err, &refused) || round == settingsRoundsMax {
			return in, version, err
		}
		// This node's map may be behind what refused the change.
		if err := n.meta.machine.applied.wait(ctx, index); err != nil {
			return in, version, fmt.Errorf("%w: %v", fsm.ErrNotProposed, err)
		}
		if _, now := n.Map().Settings(); now == version {
			return in, version, refused // it was not for the version
		}
	}
}
