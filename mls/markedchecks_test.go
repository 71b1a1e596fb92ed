//go:build markedchecks

package mls_test

import (
	"fmt"
	"slices"
	"testing"

	"parley/mls"
)

// TestMarkedChecks runs where TestWithoutChecks has put its marks.
func TestMarkedChecks(t *testing.T) {
	taken := make(map[int][]string)
	for _, c := range allChecks(t) {
		name := c.section + ": " + c.mutation
		mls.WithoutCheck, mls.CheckHits = 0, nil
		if err := c.judge(); !c.refused(err) {
			t.Fatalf("%s: with all checks: %v", name, err)
		}
		hits := slices.Clone(mls.CheckHits)
		slices.Sort(hits)
		var then []error
		alone := false
		for _, n := range slices.Compact(hits) {
			mls.WithoutCheck = n
			err := c.without()
			if taken[n] = append(taken[n], name); err == nil {
				t.Logf("%s\n\taccepted without %s", name, mls.CheckPlaces[n])
				alone = true
			}
			then = append(then, err)
		}
		switch mls.WithoutCheck = 0; {
		case alone && c.twice != "":
			t.Errorf("%s: nothing but one check refuses it; %q is not so", name, c.twice)
		case !alone && c.twice == "":
			t.Errorf("%s: something else refuses it as well: %v", name, then)
		case !alone:
			t.Logf("%s\n\trefused twice: then %v", name, then)
		}
	}
	for n, place := range mls.CheckPlaces[1:] {
		if taken[n+1] == nil {
			t.Logf("no row for %s", place)
		}
	}
}

// without judges a row whose check has been taken out; a panic is a refusal, since it shows that what follows relies on the check.
func (c check) without() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return c.judge()
}
