package judge

import (
	"bytes"
	"strings"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// coded is a house whose members may make codes for guests, and whose admin may end them.
func coded() *house {
	return newHouse().allow(mimi.RoleNone, mimi.CanUseJoinCode).
		allow(roleMember, mimi.CanCreateJoinCode).change(roleMember, mimi.RoleNone, roleGuest).
		allow(roleAdmin, mimi.CanDeleteJoinCode)
}

// code makes a joining code in the name of carol.
func (m *maker) code(text string, terms CodeTerms) fsm.JoiningCode {
	m.t.Helper()
	return want[fsm.JoiningCodeMade](m.t, m.codeBy("carol", text, terms)).Code
}

func (m *maker) codeBy(name, text string, terms CodeTerms) fsm.Outcome {
	m.t.Helper()
	return m.do(constructed(NewCreateJoiningCode(m.recording.Room.URI, user(name), fsm.CodeIDOf([]byte(text)), terms)))
}

func (m *maker) revoke(name, text string) fsm.Outcome {
	m.t.Helper()
	return m.do(constructed(NewRevokeJoiningCode(m.recording.Room.URI, user(name), fsm.CodeIDOf([]byte(text)))))
}

// asking is a request of a user for the GroupInfo, with a key of its own and a code, if any.
func (m *maker) asking(name, joiningCode string) Request {
	m.t.Helper()
	return m.askingWith(m.newKey(), name, joiningCode)
}

func (m *maker) askingWith(key *mls.SigningKey, name, joiningCode string) Request {
	m.t.Helper()
	request, err := mimi.GroupInfoRequest{
		Suite: 1, Credential: basic(user(name).String()), HPKEKey: m.random(32), JoiningCode: []byte(joiningCode),
	}.Signed(key)
	m.ok(err)
	r, err := NewGroupInfo(user(name).Provider(), m.recording.Room.URI, request.Marshal())
	m.ok(err)
	return r
}

func (m *maker) ask(name, joiningCode string) fsm.Outcome {
	m.t.Helper()
	return m.do(m.asking(name, joiningCode), nil)
}

// quickLock is one that costs little to try.
func (m *maker) quickLock(passphrase string) fsm.PassphraseLock {
	m.t.Helper()
	lock := fsm.PassphraseLock{Salt: m.random(16), Rounds: 1}
	key, err := passphraseKey(lock, []byte(passphrase))
	m.ok(err)
	lock.Key = key
	return lock
}

// later lets hub time pass.
func (m *maker) later(millis uint64) {
	m.now += millis
	m.apply(fsm.Fence{})
}

func reasonOfOutcome(t *testing.T, o fsm.Outcome) string {
	t.Helper()
	return want[fsm.NotAllowed](t, o).Reason
}

// TestJoinByCode: who has a code sees the GroupInfo and joins with the role of the code, once for each use.
func TestJoinByCode(t *testing.T) {
	m := coded().open(t)
	m.code("one", CodeTerms{Role: roleGuest, Uses: 1})
	if why := reasonOfOutcome(t, m.ask("erin", "")); !strings.Contains(why, "not a participant") {
		t.Errorf("without a code: %s", why)
	}
	reasonOfOutcome(t, m.ask("erin", "two"))
	m.refused("a.example", m.joinAs("erin", listed("erin", roleGuest)), "not a participant")
	want[fsm.Disclosed](t, m.ask("erin", "one"))
	m.refused("a.example", m.joinAs("erin", listed("erin", roleMember)), "with the role 2")
	m.refused("a.example", m.joinAs("frank", listed("frank", roleGuest)), "not a participant")

	// A Commit in between ends the lease; the authorization admits the join without another.
	m.accepted("a.example", m.commit("alice1", true, nil))
	if lease, held, err := fsm.ReadLease(m.store, m.recording.Room.URI); err != nil || held {
		t.Errorf("a lease is held: %+v, %v", lease, err)
	}
	bundle := m.joinAs("erin", listed("erin", roleGuest))
	first := m.accepted("a.example", bundle)
	if again := m.accepted("a.example", bundle); again != first || m.roleNow("erin") != roleGuest {
		t.Errorf("the retry got %+v, the first %+v; erin's role is %d", again, first, m.roleNow("erin"))
	}
	reasonOfOutcome(t, m.ask("frank", "one"))
	m.accepted("a.example", m.commit("alice1", true, nil))
}

// Two users have been authorized by a single-use code and commit to the same epoch, or one after the other.
func TestSingleUseCodeIsRaced(t *testing.T) {
	race := func(t *testing.T, late func(m *maker, commit fsm.AcceptCommit, bundle mimi.CommitBundle) fsm.Outcome) {
		m := coded().open(t)
		m.code("one", CodeTerms{Role: roleGuest, Uses: 1})
		want[fsm.Disclosed](t, m.ask("erin", "one"))
		want[fsm.LeaseHeld](t, m.ask("frank", "one"))
		stale := m.store.Clone()
		bundle := m.joinAs("frank", listed("frank", roleGuest))
		second := m.judged(stale, "a.example", bundle)
		m.accepted("a.example", m.joinAs("erin", listed("erin", roleGuest)))
		switch o := late(m, second, bundle).(type) {
		case fsm.NotAllowed, fsm.WrongEpoch:
		default:
			t.Errorf("the second got %+v", o)
		}
		if m.roleNow("erin") != roleGuest || m.roleNow("frank") != mimi.RoleNone {
			t.Errorf("erin is %d, frank %d", m.roleNow("erin"), m.roleNow("frank"))
		}
	}
	t.Run("in one epoch", func(t *testing.T) {
		race(t, func(m *maker, c fsm.AcceptCommit, _ mimi.CommitBundle) fsm.Outcome { return m.apply(c) })
	})
	t.Run("in the next", func(t *testing.T) {
		race(t, func(m *maker, _ fsm.AcceptCommit, _ mimi.CommitBundle) fsm.Outcome {
			bundle := m.joinAs("frank", listed("frank", roleGuest))
			return m.send(provider(t, "a.example"), bundle)
		})
	})
	// The log alone decides: a node that is behind has not seen that the code is used up, and the epoch is not what saves it.
	t.Run("judged where the code is not used up", func(t *testing.T) {
		m := coded().open(t)
		m.code("one", CodeTerms{Role: roleGuest, Uses: 1})
		want[fsm.Disclosed](t, m.ask("frank", "one"))
		command := m.judged(m.store.Clone(), "a.example", m.joinAs("frank", listed("frank", roleGuest)))
		if command.JoiningCode != fsm.CodeIDOf([]byte("one")) {
			t.Fatalf("the Commit rests on the code %s", command.JoiningCode)
		}
		want[fsm.Done](t, m.revoke("alice", "one"))
		if why := reasonOfOutcome(t, m.apply(command)); !strings.Contains(why, "used up or revoked") {
			t.Errorf("refused for %q", why)
		}
	})
}

// Whoever has been authorized by a code is not asked for its passphrase again while the authorization stands.
func TestAuthorizedIsNotAskedAgain(t *testing.T) {
	m := coded().open(t)
	m.code("locked", CodeTerms{Role: roleGuest, Lock: m.quickLock("sesame")})
	want[fsm.Disclosed](t, m.ask("erin", "locked.sesame"))
	verdict, err := m.asking("erin", "locked.sesame").Judge(m.store)
	m.ok(err)
	command := verdict.(Propose).Command.(fsm.TakeLease)
	if command.Right != fsm.LeaseByCode || !command.Code.ID.IsZero() {
		t.Errorf("erin asks by %d with the code %+v", command.Right, command.Code)
	}
	m.later(24 * 60 * 60 * 1000)
	verdict, err = m.asking("erin", "locked.sesame").Judge(m.store)
	m.ok(err)
	if command := verdict.(Propose).Command.(fsm.TakeLease); len(command.Code.Key) == 0 {
		t.Error("after a day the code is not looked at")
	}
}

// What does not admit is answered alike, and none of it discloses anything.
func TestRefusedCodes(t *testing.T) {
	for name, c := range map[string]struct {
		present string
		before  func(m *maker)
	}{
		"unknown":           {"another", func(*maker) {}},
		"expired":           {"timed", func(m *maker) { m.later(5000) }},
		"revoked":           {"plain", func(m *maker) { want[fsm.Done](m.t, m.revoke("carol", "plain")) }},
		"without its words": {"locked", func(*maker) {}},
		"with others":       {"locked.open", func(*maker) {}},
		"used up": {"single", func(m *maker) {
			want[fsm.Disclosed](m.t, m.ask("frank", "single"))
			m.accepted("a.example", m.joinAs("frank", listed("frank", roleGuest)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := coded().open(t)
			m.code("plain", CodeTerms{Role: roleGuest})
			m.code("single", CodeTerms{Role: roleGuest, Uses: 1})
			m.code("timed", CodeTerms{Role: roleGuest, LifetimeMillis: 4000})
			m.code("locked", CodeTerms{Role: roleGuest, Lock: m.quickLock("sesame")})
			c.before(m)
			if why := reasonOfOutcome(t, m.ask("erin", c.present)); !strings.Contains(why, "the joining code does not admit") {
				t.Errorf("refused for %q", why)
			}
			want[fsm.Disclosed](t, m.ask("erin", "locked.sesame"))
		})
	}
}

// Who may make a code, and for what.
func TestWhoMakesCodes(t *testing.T) {
	for name, c := range map[string]struct {
		house *house
		by    string
		role  uint32
		why   string // empty: it is made
	}{
		"a member":             {coded(), "carol", roleGuest, ""},
		"without canCreate":    {coded(), "alice", roleGuest, "canCreateJoinCode"},
		"another's role":       {coded(), "carol", roleAdmin, "may not give the role 3"},
		"no role":              {coded(), "carol", 9, "given the role 9"},
		"banned as a role":     {coded(), "carol", roleBanned, "given the role 1"},
		"not a participant":    {coded(), "erin", roleGuest, "not a participant"},
		"banned":               {coded(), "mallory", roleGuest, "is banned"},
		"of another provider":  {coded(), "bob", roleGuest, "not a user of this provider"},
		"nobody could use it":  {newHouse().allow(roleMember, mimi.CanCreateJoinCode).change(roleMember, 0, roleGuest), "carol", roleGuest, "canUseJoinCode"},
		"a room without roles": {&house{list: newHouse().list, clients: newHouse().clients}, "carol", roleGuest, "no roles_list"},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.house.open(t)
			outcome := m.codeBy(c.by, "code", CodeTerms{Role: c.role})
			if c.why == "" {
				want[fsm.JoiningCodeMade](t, outcome)
			} else if why := reasonOfOutcome(t, outcome); !strings.Contains(why, c.why) {
				t.Errorf("refused for %q", why)
			}
		})
	}
}

// Who may end one, and what it ends.
func TestWhoEndsCodes(t *testing.T) {
	m := coded().open(t)
	m.code("code", CodeTerms{Role: roleGuest})
	for name, why := range map[string]string{
		"dave": "canDeleteJoinCode", "erin": "not a participant", "mallory": "is banned", "bob": "not a user of this provider",
	} {
		if got := reasonOfOutcome(t, m.revoke(name, "code")); !strings.Contains(got, why) {
			t.Errorf("%s is refused for %q", name, got)
		}
	}
	erin := m.asking("erin", "code")
	granted := m.granted(erin)
	want[fsm.Done](t, m.revoke("alice", "code"))
	want[fsm.Done](t, m.revoke("carol", "code"))
	outcome, err := erin.Complete(m.store, granted)
	m.ok(err)
	if why := reasonOfOutcome(t, outcome); !strings.Contains(why, "not a participant") {
		t.Errorf("after the code was revoked its lease discloses nothing: %q", why)
	}
	m.refused("a.example", m.joinAs("erin", listed("erin", roleGuest)), "not a participant")
	list := want[fsm.JoiningCodes](t, m.do(constructed(NewListJoiningCodes(m.recording.Room.URI)))).Codes
	if len(list) != 1 || list[0].State != fsm.CodeRevoked || list[0].Creator != user("carol") {
		t.Errorf("listed %+v", list)
	}
}

// The list tells that there is a passphrase, and nothing to try passphrases against.
func TestListedCodesHaveNoKeys(t *testing.T) {
	m := coded().open(t)
	lock, err := LockPassphrase([]byte("sesame"), m.random(16))
	m.ok(err)
	m.code("code", CodeTerms{Role: roleGuest, Lock: lock})
	list := want[fsm.JoiningCodes](t, m.do(constructed(NewListJoiningCodes(m.recording.Room.URI)))).Codes
	if len(list) != 1 || len(list[0].Lock.Salt) == 0 || list[0].Lock.Key != nil {
		t.Errorf("listed %+v", list)
	}
	if _, err := LockPassphrase([]byte("sesame"), m.random(8)); err == nil {
		t.Error("a short salt was taken")
	}
	if other, err := LockPassphrase([]byte("sesame"), m.random(16)); err != nil || bytes.Equal(other.Key, lock.Key) {
		t.Error("two codes with one passphrase have one key")
	}
}

// Who may see the GroupInfo: a participant whose role brings in clients, who may join by the room's policy, who has a code.
func TestWhoMayHaveALease(t *testing.T) {
	open := func() *house {
		return coded().allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roleGuest)
	}
	for name, c := range map[string]struct {
		house *house
		who   string
		code  string
		right fsm.LeaseRight
		why   string
	}{
		"a participant":                 {coded().allow(roleMember, mimi.CanAddOwnClient), "bob", "", fsm.LeaseByParticipation, ""},
		"a participant with a code":     {coded().allow(roleMember, mimi.CanAddOwnClient), "bob", "code", fsm.LeaseByParticipation, ""},
		"a participant without clients": {coded(), "bob", "", 0, "canAddOwnClient"},
		"… and with a code":             {coded(), "bob", "code", 0, "canAddOwnClient"},
		"a stranger":                    {coded(), "erin", "", 0, "not a participant"},
		"a stranger with a code":        {coded(), "erin", "code", fsm.LeaseByCode, ""},
		"the banned":                    {open(), "mallory", "", 0, "is banned"},
		"the banned with a code":        {open(), "mallory", "code", 0, "is banned"},
		"an open room":                  {open(), "erin", "", fsm.LeaseByPolicy, ""},
		"an open room, with a code":     {open(), "erin", "code", fsm.LeaseByCode, ""},
		"an open room, with a bad code": {open(), "erin", "other", 0, "does not admit"},
		"preauthorized": {coded().allow(roleGuest, mimi.CanJoinIfPreauthorized).
			with(mimi.ComponentPreauthorization, preauth(entry(roleGuest, claims("iss", "a.example")))), "erin", "", fsm.LeaseByPolicy, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.house.open(t)
			m.code("code", CodeTerms{Role: roleGuest})
			request := m.asking(c.who, c.code)
			if c.why != "" {
				if why := reasonOfOutcome(t, m.do(request, nil)); !strings.Contains(why, c.why) {
					t.Errorf("refused for %q", why)
				}
				return
			}
			verdict, err := request.Judge(m.store)
			m.ok(err)
			if command := verdict.(Propose).Command.(fsm.TakeLease); command.Right != c.right {
				t.Errorf("asked by the right %d", command.Right)
			}
			want[fsm.Disclosed](t, m.do(request, nil))
		})
	}
}

// A code that was made before the room's policy changed admits nobody whom the policy of now does not let join by it.
func TestCodeOfAnEarlierPolicy(t *testing.T) {
	open := func(more ...mimi.Capability) *house {
		return newHouse().allow(mimi.RoleNone, append(more, mimi.CanOpenJoin)...).change(mimi.RoleNone, mimi.RoleNone, roleGuest)
	}
	for name, c := range map[string]struct {
		house *house
		role  uint32
	}{
		"without canUseJoinCode": {open(), roleGuest}, "with a role that is gone": {open(mimi.CanUseJoinCode), 9},
	} {
		m := c.house.open(t)
		want[fsm.JoiningCodeMade](t, m.apply(fsm.CreateJoiningCode{
			Room: m.recording.Room.URI, ID: fsm.CodeIDOf([]byte("code")), Creator: user("carol"), Role: c.role, GroupContextHash: m.state().GroupContextHash,
		}))
		if why := reasonOfOutcome(t, m.ask("erin", "code")); !strings.Contains(why, "lets nobody join by this code") {
			t.Errorf("%s: refused for %q", name, why)
		}
	}
}

// A right that a Commit has taken away in between is not lent on: the lease is judged again, and refused.
func TestLeaseRestsOnItsGroupContext(t *testing.T) {
	m := coded().allow(mimi.RoleNone, mimi.CanOpenJoin).change(mimi.RoleNone, mimi.RoleNone, roleGuest).open(t)
	request := m.asking("erin", "")
	verdict, err := request.Judge(m.store)
	m.ok(err)
	m.accepted("a.example", m.commit("alice1", true, nil))
	want[fsm.ReadSetChanged](t, m.apply(verdict.(Propose).Command))
	want[fsm.Disclosed](t, m.do(request, nil))
}

// Who signs with the key of its leaf is told from who only bears its name.
func TestMemberIsKnownByItsKey(t *testing.T) {
	m := coded().allow(roleMember, mimi.CanAddOwnClient).open(t)
	member := func(r Request, err error) bool {
		t.Helper()
		m.ok(err)
		verdict, err := r.Judge(m.store)
		m.ok(err)
		return verdict.(Propose).Command.(fsm.TakeLease).Member
	}
	if !member(m.groupInfoRequest("bob1", "b.example")) {
		t.Error("bob's client is not known by its key")
	}
	if member(m.groupInfoOf(m.newKey(), m.client("bob1").URI.String(), "b.example", false)) {
		t.Error("another key counts as bob's client's")
	}
	if member(m.groupInfoOf(m.key("bob1"), user("bob").String(), "b.example", false)) {
		t.Error("the key counts under another name")
	}
}

// A code that was presented while its provider has to wait is not looked at, however good.
func TestGuessingIsDamped(t *testing.T) {
	m := coded().open(t)
	m.code("locked", CodeTerms{Role: roleGuest, Lock: m.quickLock("1234")})
	var refused int
	for {
		outcome := m.ask("erin", "locked.0000")
		if damped, yes := outcome.(fsm.Damped); yes {
			if damped.UntilMillis <= damped.NowMillis {
				t.Errorf("told to wait until %d at %d", damped.UntilMillis, damped.NowMillis)
			}
			break
		}
		reasonOfOutcome(t, outcome)
		if refused++; refused > 50 {
			t.Fatal("guessing is not damped")
		}
	}
	want[fsm.Damped](t, m.ask("frank", "locked.1234"))
	m.later(2000)
	want[fsm.Disclosed](t, m.ask("frank", "locked.1234"))
}
