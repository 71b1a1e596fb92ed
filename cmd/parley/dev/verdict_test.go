package dev

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// contested is a small account that balances: two epochs of a room, two claims, two leases of which the first runs out.
type contested struct {
	answers *answers
	log     *chronicle
	arena   *arena
	inbox   *delivered
}

var begun = time.UnixMilli(1_000_000)

func newContested(t *testing.T) *contested {
	t.Helper()
	room, err := mimi.ParseRoomURI("mimi://a.example/r/arena")
	if err != nil {
		t.Fatal(err)
	}
	c := &contested{
		answers: newAnswers(), log: &chronicle{},
		arena: &arena{room: room, lent: map[mls.Epoch][32]byte{0: {10}, 1: {11}, 2: {12}}, welcomes: make(map[[32]byte][]invitation)},
		inbox: newDelivered(),
	}
	c.grant("anna", 1, 2, 1000, 11000)
	c.grant("anna", 1, 2, 1500, 11000) // asked again
	c.commit(0, 1, 2000)
	c.commit(0, 1, 2000) // came twice
	c.commit(1, 2, 3000)
	c.grant("anna", 2, 2, 4000, 14000)
	c.grant("bert", 3, 2, 14000, 24000)
	c.claim(1, "a", "b")
	c.claim(2, "c")
	c.told(0, 1, 1, 2000)
	c.told(0, 9, 1, 0)
	c.told(1, 2, 2, 3000)
	c.given("one", "a", "b")
	c.given("one", "a", "b")
	c.given("two", "c")
	c.lent("anna", 2, 4*time.Second)
	c.lent("bert", 2, 14*time.Second)
	for _, name := range []string{"guest", "another"} {
		c.arena.welcomes[[32]byte{2}] = append(c.arena.welcomes[[32]byte{2}], invited(name))
	}
	c.came(0, 1)
	c.came(1, 2)
	c.welcomed(invited("guest"), invited("another"))
	return c
}

func invited(name string) invitation {
	return invitation{ref: mls.KeyPackageRef(name), user: usersNamed(name, 1)[0]}
}

// came is the delivery of a Commit.
func (c *contested) came(epoch mls.Epoch, hash byte) {
	c.inbox.commits[c.arena.room] = append(c.inbox.commits[c.arena.room], deliveredCommit{epoch, [32]byte{hash}})
}

// welcomed is the delivery of a Welcome to those whom it is for.
func (c *contested) welcomed(to ...invitation) {
	w := deliveredWelcome{item: "000-1", to: to}
	for _, i := range to {
		w.refs = append(w.refs, i.ref)
	}
	c.inbox.welcomes[c.arena.room] = append(c.inbox.welcomes[c.arena.room], w)
}

func (c *contested) decide(millis uint64, command fsm.Command, outcome fsm.Outcome) {
	c.log.decisions = append(c.log.decisions, decision{
		shard: 1, index: uint64(len(c.log.decisions) + 1), millis: millis, command: command, outcome: outcome,
	})
}

func (c *contested) commit(epoch mls.Epoch, hash byte, millis uint64) {
	c.decide(millis, fsm.AcceptCommit{Room: c.arena.room, Reads: fsm.ReadSet{Epoch: epoch}, CommitHash: [32]byte{hash}},
		fsm.Accepted{Millis: millis, Epoch: epoch + 1})
}

func (c *contested) grant(to string, token uint64, epoch mls.Epoch, at, until uint64) {
	if token == 1 {
		epoch = 0
	}
	c.decide(at, fsm.TakeLease{Room: c.arena.room, Requester: usersNamed(to, 1)[0]}, fsm.LeaseGranted{Token: token, UntilMillis: until, Epoch: epoch})
}

func (c *contested) claim(key byte, packages ...string) {
	var claimed fsm.Claimed
	for _, p := range packages {
		claimed.Clients = append(claimed.Clients, fsm.ClaimedClient{Code: mimi.KeyMaterialClientSuccess, KeyPackage: []byte(p)})
	}
	c.decide(0, fsm.ClaimKeyPackages{ReplayKey: [32]byte{key}}, claimed)
}

// told is an answer to the Commit with this hash; it was accepted where it is the winner.
func (c *contested) told(epoch mls.Epoch, hash, winner byte, millis uint64) {
	c.answers.committed(commitAnswer{
		room: c.arena.room, epoch: epoch, hash: [32]byte{hash}, winner: [32]byte{winner}, accepted: hash == winner, millis: millis, node: &node{ID: "n1"},
	})
}

func (c *contested) given(key string, packages ...string) {
	told := claimAnswer{key: key, node: &node{ID: "n1"}}
	for _, p := range packages {
		told.packages = append(told.packages, sha256.Sum256([]byte(p)))
	}
	c.answers.claimed(told)
}

func (c *contested) lent(to string, epoch mls.Epoch, at time.Duration) {
	c.lentSlowly(to, epoch, at, 20*time.Millisecond)
}

func (c *contested) lentSlowly(to string, epoch mls.Epoch, at, took time.Duration) {
	c.answers.leased(leaseAnswer{
		room: c.arena.room, epoch: epoch, holder: usersNamed(to, 1)[0].String(), lent: [32]byte{10 + byte(epoch)},
		sent: begun.Add(at), received: begun.Add(at + took), node: &node{ID: "n1"},
	})
}

func TestVerdictFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct {
		spoil  func(*contested)
		broken promise // none for promises
		want   string
	}{
		"nothing": {func(*contested) {}, promises, ""},
		"the log has two Commits for an epoch": {
			func(c *contested) { c.commit(1, 7, 3000) }, promiseEpoch, "the log gives epoch 1 to"},
		"an epoch is left out": {
			func(c *contested) {
				c.commit(3, 7, 5000)
			}, promiseEpoch, "no Commit of epoch 2 is in the log"},
		"two Commits were told that they won": {
			func(c *contested) { c.told(1, 7, 7, 3000) }, promiseEpoch, "in the log it is"},
		"a Commit was told that it won, and is not in the log": {
			func(c *contested) { c.told(2, 7, 7, 3000) }, promiseEpoch, "which nothing in the log took"},
		"a Commit was told another time": {
			func(c *contested) { c.told(1, 2, 2, 3001) }, promiseEpoch, "was taken at 3001"},
		"a Commit leads elsewhere": {
			func(c *contested) {
				c.decide(5000, fsm.AcceptCommit{Room: c.arena.room, Reads: fsm.ReadSet{Epoch: 2}}, fsm.Accepted{Epoch: 4})
				c.came(2, 0)
			}, promiseEpoch, "brought it into epoch 4"},
		"a KeyPackage is in two answers": {
			func(c *contested) { c.given("three", "c") }, promiseKeyPackage, `to the claim "two"`},
		"a KeyPackage was never claimed": {
			func(c *contested) { c.given("three", "d") }, promiseKeyPackage, "no claim in the log has it"},
		"a claim got others than before": {
			func(c *contested) {
				c.claim(2, "d")
				c.given("two", "d")
			}, promiseKeyPackage, "other ones"},
		"the log gives a KeyPackage twice": {
			func(c *contested) { c.claim(3, "c") }, promiseKeyPackage, "to two claims"},
		"two leases at a time": {
			func(c *contested) { c.grant("carl", 4, 2, 23999, 33999) }, promiseLease, "gets lease 4 at 23999"},
		"a token for two": {
			func(c *contested) { c.grant("carl", 3, 2, 15000, 24000) }, promiseLease, "is given again"},
		"a lease is longer when it is given again": {
			func(c *contested) { c.grant("bert", 3, 2, 15000, 25000) }, promiseLease, "is given again"},
		"a token falls": {
			func(c *contested) { c.grant("carl", 2, 2, 25000, 35000) }, promiseLease, "token 2 after 3"},
		"something was lent without a lease": {
			func(c *contested) { c.lent("carl", 2, 30*time.Second) }, promiseLease, "to whom the log gives no lease"},
		"something else was lent": {
			func(c *contested) { c.arena.lent[2] = [32]byte{99} }, promiseLease, "something else than the committer made"},
		"the answers alone show two leases at a time": {
			func(c *contested) {
				c.answers.lent = nil
				c.lent("anna", 2, 4*time.Second)
				c.lent("bert", 2, 12*time.Second)
			}, promiseLease, "lent epoch 2 to"},
		"a retry is told something else": {
			func(c *contested) { c.answers.compare("it", "yes", "no", &node{ID: "n1"}, &node{ID: "n2"}) }, promiseRetry, "n2 then"},
		"a Commit was not delivered": {
			func(c *contested) { c.inbox.commits[c.arena.room] = c.inbox.commits[c.arena.room][:1] }, promiseDelivery, "of epoch 1 was not delivered"},
		"a Commit was delivered twice": {
			func(c *contested) { c.came(1, 2) }, promiseDelivery, "came where that of epoch 2 was due"},
		"Commits were delivered out of order": {
			func(c *contested) { slices.Reverse(c.inbox.commits[c.arena.room]) }, promiseDelivery, "came where that of epoch 0 was due"},
		"a loser was delivered": {
			func(c *contested) { c.inbox.commits[c.arena.room][1].hash = [32]byte{9} }, promiseDelivery, "of epoch 1 was delivered, and in the log"},
		"a Welcome was not delivered": {
			func(c *contested) { delete(c.inbox.welcomes, c.arena.room) }, promiseDelivery, "was not delivered"},
		"a Welcome was delivered twice": {
			func(c *contested) { c.welcomed(invited("guest"), invited("another")) }, promiseDelivery, "or it came before"},
		"a loser's Welcome was delivered": {
			func(c *contested) { c.welcomed(invited("third")) }, promiseDelivery, "whom no accepted Commit added"},
		"a Welcome was not sent to whom it is for": {
			func(c *contested) { c.inbox.welcomes[c.arena.room][0].to[1] = invited("third") }, promiseDelivery, "and does not say so"},
		"the replicas differ": {
			func(c *contested) { c.log.broken = []string{"n1 and n2"} }, promiseLog, "n1 and n2"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContested(t)
			test.spoil(c)
			v := judgeContest(c.answers, c.log, []*arena{c.arena}, c.inbox)
			for p := range promises {
				if (len(v.broken[p]) > 0) != (p == test.broken) {
					t.Errorf("%q: %q", p, v.broken[p])
				}
			}
			var out bytes.Buffer
			err := v.print(&out)
			if (err != nil) != (test.broken != promises) || err != nil && !errors.Is(err, errBroken) || !strings.Contains(out.String(), test.want) {
				t.Errorf("error %v, want %q in:\n%s", err, test.want, out.String())
			}
		})
	}
}

// A retry of a lease, or an answer that was on its way while the lease began or ended, proves nothing.
func TestTurnsAreNotInvented(t *testing.T) {
	c := newContested(t)
	c.answers.lent = nil
	c.lentSlowly("anna", 2, 0, 12*time.Second) // the lease may have begun at any moment of that
	c.lent("anna", 2, 12200*time.Millisecond)  // a retry
	c.lent("bert", 2, 16*time.Second)
	c.lent("anna", 2, 27*time.Second)
	c.lent("anna", 2, 36900*time.Millisecond) // a retry, at the end of the lease
	c.lent("bert", 2, 37010*time.Millisecond)
	if v := judgeContest(c.answers, c.log, []*arena{c.arena}, c.inbox); len(v.broken[promiseLease]) > 0 {
		t.Errorf("%q", v.broken[promiseLease])
	}
}
