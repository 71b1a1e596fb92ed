package cluster

import "testing"

// A view is lent again to who was cut off, as long as it is new enough, of the state that is in use, and nobody was sent all of it.
func TestLentState(t *testing.T) {
	state, content := stateOfPairs(t, []int{1, 2, 3}, 10, 1)
	applied := uint64(1)
	var l lentState
	failed := func(err error) { t.Error(err) }
	borrow := func(atLeast uint64) *lentView {
		t.Helper()
		v, err := l.borrow(state, atLeast)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	// use borrows, sees that the view is of an index, and gives it back.
	use := func(when string, atLeast, want uint64, sent bool) {
		t.Helper()
		v := borrow(atLeast)
		if v.Applied() != want {
			t.Errorf("%s the state of %d was lent, not that of %d", when, v.Applied(), want)
		}
		if err := l.giveBack(v, sent, failed); err != nil {
			t.Fatal(err)
		}
		applied++
		putPairs(t, state, content, 10, applied) // the shard goes on
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	use("at first", 1, 1, false)
	use("after a cut", 1, 1, false)
	use("where that is too old", 2, 3, false)
	use("after another cut", 2, 3, true)
	use("after all was sent", 2, 5, false)
	do(l.expire(l.current))
	use("after nobody came back", 2, 6, false)
	do(l.drop())
	use("after the log was let go", 2, 7, false)
	do(state.Restore(t.Context(), applied, func(put func(key, value []byte) error) error { return put(pairKey(1), nil) }))
	use("after the state was replaced", 2, 8, false)

	one, two := borrow(2), borrow(2)
	if one != two || one.Applied() != 8 {
		t.Errorf("two at a time were lent %d and %d", one.Applied(), two.Applied())
	}
	do(l.expire(one)) // its timer had run out when it was borrowed again
	do(l.giveBack(one, true, failed))
	if _, err := two.Get(pairKey(1)); err != nil {
		t.Errorf("a view was taken away from its reader: %v", err)
	}
	do(l.close())
	do(l.giveBack(two, false, failed))
	use("after the end", 2, 9, false)
	if l.current != nil {
		t.Error("a view is kept after the end")
	}
}
