package server

import (
	"context"
	"fmt"

	"parley/cmd/parley/settings"
	"parley/fsm"
	"parley/httpapi"
)

func (o *operations) Settings(context.Context) (httpapi.ClusterSettings, error) {
	in, version := o.node.Map().Settings()
	return shown(in, version), nil
}

func (o *operations) ChangeSettings(ctx context.Context, c httpapi.SettingsChange) (httpapi.ClusterSettings, error) {
	in, version, err := o.node.ChangeSettings(ctx, func(in fsm.Settings, version uint64) (fsm.Settings, error) {
		if c.Version != 0 && c.Version != version {
			return in, &httpapi.RefusedError{
				Reason:  fmt.Sprintf("The settings are of version %d by now, and the change was made to version %d.", version, c.Version),
				Blocker: "another change", See: "parley cluster settings show", Clear: "the change to what is there now",
			}
		}
		return settings.Change(in, c.Set)
	})
	if err != nil {
		return httpapi.ClusterSettings{}, refusal(err)
	}
	o.settle(ctx)
	return shown(in, version), nil
}

// shown are the settings in the form for people.
func shown(in fsm.Settings, version uint64) httpapi.ClusterSettings {
	defaults := settings.Defaults(in)
	out := httpapi.ClusterSettings{Version: version, Settings: []httpapi.Setting{}}
	for _, s := range settings.All() {
		one := httpapi.Setting{Name: s.Name, Value: s.Value(in), Default: s.Value(defaults), Meaning: s.Meaning}
		one.Changed = one.Value != one.Default
		out.Settings = append(out.Settings, one)
	}
	return out
}
