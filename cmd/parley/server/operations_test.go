package server

import (
	"errors"
	"strings"
	"testing"

	"parley/cluster"
	"parley/fsm"
	"parley/httpapi"
)

// Where another job is in the way, that is what an operator is told, and not what else a refusal of the command may mean.
func TestJobInTheWay(t *testing.T) {
	busy := &cluster.RefusedError{Reason: "job 80 (resize) is running, and only one job at a time may change the placement"}
	for name, told := range map[string]error{"a node": tooFew(busy, "n2"), "slots": slotRefusal(busy), "anything": refusal(busy)} {
		var refused *httpapi.RefusedError
		if !errors.As(told, &refused) || refused.Blocker != "that job" || refused.See != "parley job list" {
			t.Errorf("%s: %+v", name, told)
		}
	}
	var refused *httpapi.RefusedError
	if told := tooFew(&cluster.RefusedError{Reason: "too few"}, "n2"); !errors.As(told, &refused) || refused.See != "parley node list" {
		t.Errorf("%+v", told)
	}
	if told := tooFew(fsm.ErrNotProposed, "n2"); !errors.Is(told, fsm.ErrNotProposed) {
		t.Errorf("%v", told)
	}
}

// A node that leaves for good says that it is to be left alone when its last replica has gone.
func TestPartingNodeIsNotReady(t *testing.T) {
	for _, test := range []struct {
		leaves, hears bool
		says          string
	}{
		{false, true, ""},
		{false, false, ""},
		{true, true, "sends everybody elsewhere"},
		{true, false, "it is out"},
	} {
		if got := parting(test.leaves, test.hears); (got == "") != (test.says == "") || !strings.Contains(got, test.says) {
			t.Errorf("%+v: %q", test, got)
		}
	}
}
