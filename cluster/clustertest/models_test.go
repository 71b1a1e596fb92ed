package clustertest

import (
	"testing"

	"github.com/anishathalye/porcupine"

	"parley/fsm"
	"parley/mls"
)

// A model that cannot object is none. Operations follow one another unless they are marked to overlap.
func TestModelsObject(t *testing.T) {
	granted := func(token, until uint64, epoch uint64) fsm.LeaseGranted {
		return fsm.LeaseGranted{Token: token, UntilMillis: until, Epoch: mls.Epoch(epoch)}
	}
	a, b := wish{"a", 5000}, wish{"b", 5000}
	for name, test := range map[string]struct {
		model porcupine.Model
		steps []any // inputs and outputs by turns
		fits  bool
	}{
		"claims in order":                 {inventory, []any{upload{[]string{"1", "2"}}, uploaded{}, claim{}, given{"1"}, claim{}, given{"2"}, claim{}, given{}}, true},
		"what is refused does not go out": {inventory, []any{upload{[]string{"1", "2"}}, uploaded{[]string{"1"}}, claim{}, given{"2"}}, true},
		"a claim without an answer":       {inventory, []any{upload{[]string{"1", "2"}}, uploaded{}, claim{}, nil, claim{}, given{"2"}}, true},
		"one KeyPackage twice":            {inventory, []any{upload{[]string{"1", "2"}}, uploaded{}, claim{}, given{"1"}, claim{}, given{"1"}}, false},
		"the second before the first":     {inventory, []any{upload{[]string{"1", "2"}}, uploaded{}, claim{}, given{"2"}}, false},
		"exhausted, and it was not":       {inventory, []any{upload{[]string{"1"}}, uploaded{}, claim{}, given{}}, false},
		"one that nobody uploaded":        {inventory, []any{claim{}, given{"1"}}, false},

		"leases in turn":               {lending, []any{a, granted(1, 6000, 0), b, granted(2, 11000, 0)}, true},
		"asked again":                  {lending, []any{a, granted(1, 6000, 0), a, granted(1, 6000, 0)}, true},
		"a Commit ended it":            {lending, []any{a, granted(1, 6000, 0), b, granted(2, 8000, 1)}, true},
		"held by another":              {lending, []any{a, granted(1, 6000, 0), b, fsm.LeaseHeld{UntilMillis: 6000, NowMillis: 2000}}, true},
		"two at a time":                {lending, []any{a, granted(1, 6000, 0), b, granted(2, 10999, 0)}, false},
		"a token for two":              {lending, []any{a, granted(1, 6000, 0), b, granted(1, 6000, 0)}, false},
		"another lease with its token": {lending, []any{a, granted(1, 6000, 0), a, granted(1, 7000, 0)}, false},
		"a token that falls":           {lending, []any{a, granted(2, 6000, 0), b, granted(1, 11000, 0)}, false},
		"an epoch that falls":          {lending, []any{a, granted(1, 6000, 1), b, granted(2, 11000, 0)}, false},
		"time that goes back":          {lending, []any{a, granted(1, 6000, 0), b, fsm.LeaseHeld{UntilMillis: 6000, NowMillis: 999}}, false},
		"held until it is past":        {lending, []any{a, granted(1, 6000, 0), b, fsm.LeaseHeld{UntilMillis: 6000, NowMillis: 6001}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var operations []porcupine.Operation
			for i := 0; i < len(test.steps); i += 2 {
				operations = append(operations, porcupine.Operation{
					ClientId: i, Input: test.steps[i], Output: test.steps[i+1], Call: int64(i), Return: int64(i + 1),
				})
			}
			if fits := porcupine.CheckOperations(test.model, operations); fits != test.fits {
				t.Errorf("fits: %v", fits)
			}
		})
	}
}
