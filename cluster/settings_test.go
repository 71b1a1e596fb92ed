package cluster

import (
	"errors"
	"sync"
	"testing"

	"parley/fsm"
)

// TestSettingsChangeSideBySide lets two nodes change different limits until each has done so some times, from what its own map says, which
// may be behind: no change takes another's back.
func TestSettingsChangeSideBySide(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	const rounds = 15
	changes := map[string]func(*fsm.Settings, uint32){
		"n1": func(s *fsm.Settings, to uint32) { s.EpochWindow = to },
		"n2": func(s *fsm.Settings, to uint32) { s.KeyPackagesPerClientMax = to },
	}
	var all sync.WaitGroup
	for id, set := range changes {
		all.Go(func() {
			for i := range uint32(rounds) {
				_, _, err := c.nodes[id].ChangeSettings(c.context(), func(in fsm.Settings, _ uint64) (fsm.Settings, error) {
					set(&in, 100+i)
					return in, nil
				})
				if err != nil {
					t.Errorf("%s, change %d: %v", id, i, err)
				}
				is, _ := c.nodes[id].Map().Settings()
				still := is
				set(&still, 100+i)
				if still.EpochWindow != is.EpochWindow || still.KeyPackagesPerClientMax != is.KeyPackagesPerClientMax {
					t.Errorf("%s: change %d is gone", id, i)
				}
			}
		})
	}
	all.Wait()
	is, version, err := c.nodes["n3"].ChangeSettings(c.context(), func(in fsm.Settings, _ uint64) (fsm.Settings, error) {
		in.LeaveGraceMillis++
		return in, nil
	})
	if err != nil || is.EpochWindow != 100+rounds-1 || is.KeyPackagesPerClientMax != 100+rounds-1 || version < 2*rounds {
		t.Errorf("%v, version %d: window %d, KeyPackages %d", err, version, is.EpochWindow, is.KeyPackagesPerClientMax)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	c := threeNodes(t, nil)
	c.awaitSettings()
	asked := 0
	var refused *RefusedError
	_, _, err := c.nodes["n2"].ChangeSettings(c.context(), func(in fsm.Settings, _ uint64) (fsm.Settings, error) {
		asked++
		in.LeaseMinMillis = in.LeaseMaxMillis + 1
		return in, nil
	})
	if !errors.As(err, &refused) || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	given := errors.New("not these")
	if _, _, err := c.nodes["n2"].ChangeSettings(c.context(), func(in fsm.Settings, _ uint64) (fsm.Settings, error) {
		return in, given
	}); !errors.Is(err, given) {
		t.Errorf("%v", err)
	}
}
