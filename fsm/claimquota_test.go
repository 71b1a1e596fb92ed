package fsm_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
	"parley/mls"
)

// Random claims of a user's inventory by requesters of three providers, held against a model of the rules: no KeyPackage goes to two
// claims, no pair takes more in its window than it may, no other provider takes more of a client's last ones than it may, and nobody
// is put off without need.
func TestClaimQuotas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDrain(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			d.step()
		}
		d.finish()
	})
}

const (
	quotaWindow = 10_000
	quotaPair   = 4
	quotaRoom   = 2
	quotaFloor  = 5
	quotaBelow  = 2
)

// window is a model of one: since when it counts, and how much.
type window struct {
	since uint64
	n     int
}

func (w *window) at(now uint64) *window {
	if w.n > 0 && now >= w.since+quotaWindow {
		*w = window{}
	}
	return w
}

func (w *window) count(now uint64) {
	if w.n == 0 {
		w.since = now
	}
	w.n++
}

type pair struct {
	window
	rooms map[mimi.RoomURI]int
}

type drain struct {
	t          *rapid.T
	store      *fsmtest.Store
	index, now uint64
	made       int
	left       [2]int // of each client, by the model
	pairs      map[string]*pair
	below      map[string]*window
	given      map[mls.KeyPackageRef]string // to which claim
	answers    map[string]fsm.Claimed
}

func newDrain(t *rapid.T) *drain {
	d := &drain{
		t: t, store: fsmtest.NewStore(), now: 1_000_000, pairs: map[string]*pair{}, below: map[string]*window{},
		given: map[mls.KeyPackageRef]string{}, answers: map[string]fsm.Claimed{},
	}
	settings := fsm.DefaultSettings(hub)
	settings.Claims = fsm.ClaimRules{
		ConsentDefault: fsm.ConsentAllow, WindowMillis: quotaWindow, PerPairMax: quotaPair, PerRoomMax: quotaRoom, Floor: quotaFloor, BelowFloorMax: quotaBelow,
	}
	slot := fsm.SlotOfUser(alice)
	d.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: slot, Last: slot}, fsm.EnterSettings{Version: 1, Settings: settings})
	return d
}

func (d *drain) apply(commands ...fsm.Command) []fsm.Outcome {
	d.index++
	result, err := fsm.Apply(d.store, d.index, fsm.EncodeEntry(fsm.Entry{StampMillis: d.now, Commands: commands}))
	if err != nil {
		d.t.Fatal(err)
	}
	if err := fsm.VerifyState(d.store); err != nil {
		d.t.Fatal(err)
	}
	return result.Outcomes
}

func (d *drain) step() {
	d.now += rapid.Uint64Range(0, 3000).Draw(d.t, "later")
	d.made++
	switch rapid.IntRange(0, 5).Draw(d.t, "kind") {
	case 0:
		i := rapid.IntRange(0, 1).Draw(d.t, "client")
		upload := fsm.UploadKeyPackages{User: alice, Client: client(fmt.Sprint("alice", i))}
		for n := range rapid.IntRange(1, 6).Draw(d.t, "packages") {
			upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{Ref: ref(fmt.Sprint(d.made, n)), Suite: 1, NotAfter: d.now/1000 + 1_000_000})
		}
		d.left[i] += int(d.apply(upload)[0].(fsm.Uploaded).Stored)
	case 1:
		d.apply(fsm.Sweep{Max: 100})
	default:
		d.claim()
	}
}

func (d *drain) claim() {
	from := rapid.SampledFrom([]mimi.Provider{hub, peer, provider("c.example")}).Draw(d.t, "from")
	name := rapid.SampledFrom([]string{"ann", "ben"}).Draw(d.t, "by")
	c := fsm.ClaimKeyPackages{
		User: alice, Requester: user(name + "@" + from.String()), Provider: from, Suites: []mls.CipherSuite{1},
		Room: room(rapid.SampledFrom([]string{"x", "y", "z"}).Draw(d.t, "room")), ReplayKey: hashOf(fmt.Sprint(d.made)), ReplayMillis: 60_000,
	}
	key := c.Requester.String()
	if d.pairs[key] == nil {
		d.pairs[key] = &pair{rooms: map[mimi.RoomURI]int{}}
	}
	p := d.pairs[key]
	if p.at(d.now).n == 0 {
		p.rooms = map[mimi.RoomURI]int{}
	}
	full := p.n >= quotaPair || p.rooms[c.Room] >= quotaRoom
	var low []*window // of the clients below the floor that the claim would take from
	for i, left := range d.left {
		of := fmt.Sprint(from, i)
		if d.below[of] == nil {
			d.below[of] = &window{}
		}
		if from != hub && left > 0 && left <= quotaFloor {
			low = append(low, d.below[of].at(d.now))
			full = full || d.below[of].n >= quotaBelow
		}
	}
	outcome := d.apply(c)[0]
	if throttled, yes := outcome.(fsm.ClaimThrottled); yes {
		if !full || throttled.UntilMillis <= d.now || throttled.UntilMillis > d.now+quotaWindow || throttled.Reason == "" {
			d.t.Fatalf("%s is put off without need, or not right: %+v at %d", key, throttled, d.now)
		}
		return
	}
	claimed, ok := outcome.(fsm.Claimed)
	if !ok || full && claimed.Code != mimi.KeyMaterialUserUnknown {
		d.t.Fatalf("%s got %+v beyond what it may", key, outcome)
	}
	if d.take(claimed, fmt.Sprint(d.made)) == 0 {
		return
	}
	p.count(d.now)
	p.rooms[c.Room]++
	for _, w := range low {
		w.count(d.now)
	}
	if again := d.apply(c)[0].(fsm.Claimed); fmt.Sprint(again) != fmt.Sprint(claimed) {
		d.t.Fatalf("the same claim again got %+v", again)
	}
}

// take counts what a claim was given.
func (d *drain) take(claimed fsm.Claimed, claim string) (taken int) {
	for _, one := range claimed.Clients {
		if one.Code != mimi.KeyMaterialClientSuccess {
			continue
		}
		if other, twice := d.given[one.Ref]; twice {
			d.t.Fatalf("%s went to the claims %s and %s", one.Ref, other, claim)
		}
		d.given[one.Ref] = claim
		name := one.Client.String()
		d.left[name[len(name)-1]-'0']--
		taken++
	}
	return taken
}

// finish sweeps when every window has ended: no count is left.
func (d *drain) finish() {
	d.now += 100_000
	d.apply(fsm.Sweep{Max: 10_000})
	if kinds, err := fsm.Kinds(d.store); err != nil || kinds[0x28]+kinds[0x29] > 0 {
		d.t.Fatalf("%d and %d counts are left, %v", kinds[0x28], kinds[0x29], err)
	}
}
