package fsm_test

import (
	"fmt"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// bornUsers is a store in which every slot is here, under given settings.
func bornUsers(tb testing.TB, settings fsm.Settings) *fsmtest.Store {
	tb.Helper()
	store := fsmtest.NewStore()
	applyTo(tb, store, 1, 1000, fsm.OwnSlots{Shard: 1, Generation: 1, Last: fsm.SlotCount - 1}, fsm.EnterSettings{Version: 1, Settings: settings})
	return store
}

// A user's entries are bounded, a command counts whole, and what is there already may be said again at the bound.
func TestConsentEntriesAreBounded(t *testing.T) {
	store := bornUsers(t, fsm.DefaultSettings(hub))
	index := uint64(1)
	set := func(entries ...fsm.ConsentEntry) fsm.Outcome {
		index++
		return applyTo(t, store, index, 2000, fsm.SetConsents{User: bob, Entries: entries})[0]
	}
	granted := func(i int) fsm.ConsentEntry {
		return fsm.ConsentEntry{Requester: user(fmt.Sprint("friend", i)), Consent: fsm.ConsentGranted}
	}
	for first := 0; first < 9_990; first += 999 {
		entries := make([]fsm.ConsentEntry, 0, 999)
		for i := range 999 {
			entries = append(entries, granted(first+i))
		}
		if got := set(entries...); got != (fsm.Done{}) {
			t.Fatalf("%d entries got %+v", first, got)
		}
	}
	var tooMany []fsm.ConsentEntry
	for i := range 11 {
		tooMany = append(tooMany, granted(20_000+i), granted(20_000+i))
	}
	before := store.Len()
	if _, refused := set(tooMany...).(fsm.NotAllowed); !refused || store.Len() != before {
		t.Errorf("entry 10,001 was taken, or a part of its command: %d records", store.Len()-before)
	}
	if got := set(tooMany[:20]...); got != (fsm.Done{}) {
		t.Errorf("entry 10,000 got %+v", got)
	}
	revoked := granted(7)
	revoked.Consent = fsm.ConsentRevoked
	if got := set(revoked, granted(8)); got != (fsm.Done{}) {
		t.Errorf("a change at the bound got %+v", got)
	}
	check(t, fsm.VerifyState(store))
}

// Pages are of one requester or of all, and put together they are everything once.
func TestConsentPages(t *testing.T) {
	store := bornUsers(t, fsm.DefaultSettings(hub))
	var entries []fsm.ConsentEntry
	for i := range 30 {
		requester := user(fmt.Sprint("friend", i%10))
		e := fsm.ConsentEntry{Requester: requester, Consent: fsm.ConsentGranted}
		if i >= 10 {
			e.Room = room(fmt.Sprint("room", i))
		}
		entries = append(entries, e)
	}
	applyTo(t, store, 2, 2000, fsm.SetConsents{User: bob, Entries: entries})
	all := func(requester mimi.UserURI, max int) (found []fsm.ConsentEntry) {
		var from []byte
		for {
			page, err := fsm.ReadConsents(store, bob, requester, from, max)
			check(t, err)
			if page.Count != 30 || len(page.Entries) > max {
				t.Fatalf("a page of %d of %d entries", len(page.Entries), page.Count)
			}
			found, from = append(found, page.Entries...), page.Continue
			if len(from) == 0 {
				return found
			}
		}
	}
	for _, max := range []int{1, 7, 30, 100} {
		seen := map[fsm.ConsentEntry]int{}
		for _, e := range all(mimi.UserURI{}, max) {
			e.Millis = 0
			seen[e]++
		}
		for _, e := range entries {
			if seen[e] != 1 {
				t.Errorf("pages of %d have %+v %d times", max, e, seen[e])
			}
		}
		if mine := all(user("friend3"), max); len(mine) != 3 || !mine[0].Room.IsZero() || mine[1].Requester != user("friend3") {
			t.Errorf("pages of %d have %+v of one requester", max, mine)
		}
	}
	for _, from := range [][]byte{{0xff}, make([]byte, 64), []byte("anything")} {
		if _, err := fsm.ReadConsents(store, bob, user("friend3"), from, 5); err != nil {
			t.Errorf("from %x: %v", from, err)
		}
	}
}

// A refusal looks at a bounded number of entries.
func TestConsentRefusalLooksAtFewEntries(t *testing.T) {
	store := bornUsers(t, fsm.DefaultSettings(hub))
	var entries []fsm.ConsentEntry
	for i := range 1000 {
		entries = append(entries, fsm.ConsentEntry{Requester: alice, Room: room(fmt.Sprint("room", i)), Consent: fsm.ConsentRevoked})
	}
	applyTo(t, store, 2, 2000, fsm.SetConsents{User: bob, Entries: entries})
	counting := &countingStore{Store: store}
	outcome := applyTo(t, counting, 3, 3000, fsm.ClaimKeyPackages{User: bob, Requester: alice, Provider: hub, Suites: []mls.CipherSuite{1}})[0]
	if claimed := outcome.(fsm.Claimed); claimed.Code != mimi.KeyMaterialNoConsent || counting.visited > 120 {
		t.Errorf("%s after %d records", claimed.Code, counting.visited)
	}
}

// countingStore counts what scans visit.
type countingStore struct {
	fsm.Store
	visited int
}

func (s *countingStore) Scan(lower, upper []byte, visit func(k, v []byte) (bool, error)) error {
	return s.Store.Scan(lower, upper, func(k, v []byte) (bool, error) {
		s.visited++
		return visit(k, v)
	})
}
