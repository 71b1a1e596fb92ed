package fsm_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mls"
)

// exclusiveRoom is a room in a shard of the format that has joining codes.
func exclusiveRoom(t *testing.T) (*fsmtest.Store, *fsmtest.Room, *script) {
	t.Helper()
	store, r := bornRoomOf(t, thirdSettings(hub))
	s := newScript()
	s.rooms["club"] = r
	return store, r, s
}

// A provider has as many users as it likes. Their leases without a Commit are counted together.
func TestProviderWaitsForItsLeases(t *testing.T) {
	store, _, s := exclusiveRoom(t)
	for i := range 65 {
		stamp := uint64(10_000 * (i + 1))
		asked := s.command(fmt.Sprintf("ask club by=user%d@d.example client=c right=policy", i))
		outcome := applyTo(t, store, uint64(2+i), stamp, asked)[0]
		if _, granted := outcome.(fsm.LeaseGranted); granted != (i < 64) {
			t.Fatalf("request %d: %+v", i, outcome)
		}
	}
	other := s.command("ask club by=zoe@e.example client=c right=policy")
	if outcome, granted := applyTo(t, store, 99, 660_000, other)[0].(fsm.LeaseGranted); !granted {
		t.Errorf("another provider waits: %+v", outcome)
	}
	check(t, fsm.VerifyState(store))
}

// So many codes are kept for a room and no more, those that ended within a day included.
func TestJoiningCodesAreBounded(t *testing.T) {
	store, _, s := exclusiveRoom(t)
	index, stamp := uint64(2), uint64(2000)
	run := func(text string) fsm.Outcome {
		index++
		return applyTo(t, store, index, stamp, s.command(text))[0]
	}
	for i := range fsm.JoiningCodesMax {
		if made, ok := run(fmt.Sprintf("code club c%d by=alice", i)).(fsm.JoiningCodeMade); !ok {
			t.Fatalf("code %d: %+v", i, made)
		}
	}
	if o, refused := run("code club more by=alice").(fsm.NotAllowed); !refused {
		t.Errorf("a code beyond the bound: %+v", o)
	}
	if o, made := run("code club c7 by=alice").(fsm.JoiningCodeMade); !made {
		t.Errorf("a retry at the bound: %+v", o)
	}
	run("revoke club c7")
	run("sweep 100")
	if o, refused := run("code club more by=alice").(fsm.NotAllowed); !refused {
		t.Errorf("a code in place of one that ended just now: %+v", o)
	}
	stamp += 24*60*60*1000 + 1
	run("sweep 100")
	if o, made := run("code club more by=alice").(fsm.JoiningCodeMade); !made {
		t.Errorf("a code in place of one that ended yesterday: %+v", o)
	}
	check(t, fsm.VerifyState(store))
}

// What joining codes bring belongs to their format.
func TestJoiningCodesBelongToAFormat(t *testing.T) {
	store, r := bornRoomOf(t, secondSettings(hub))
	s := newScript()
	s.rooms["club"] = r
	for i, text := range []string{
		"code club c by=alice", "revoke club c", "ask club by=alice client=a", "join club c by=carol@c.example code=c", "judged 1 ask club by=alice client=a",
	} {
		command := s.command(text)
		outcome := applyTo(t, store, uint64(2+i), 2000, command)[0]
		if format := fsm.FormatOf(command); format != fsm.FormatExclusive {
			t.Errorf("%s may be proposed from format %d on", text, format)
		}
		if outcome != (fsm.FormatNotReached{Needs: fsm.FormatExclusive, Has: fsm.FormatQueues}) {
			t.Errorf("%s: %+v", text, outcome)
		}
	}
}

// A room that is destroyed has no codes any more, and nobody joins by one.
func TestCodesEndWithTheirRoom(t *testing.T) {
	store, r, s := exclusiveRoom(t)
	join := joinOf(r, "carol@c.example", "code", 1)
	for i, text := range []string{"code club code by=alice", "ask club by=carol@c.example client=c code=code", "ask club by=dave@d.example client=d code=wrong"} {
		applyTo(t, store, uint64(2+i), 2000, s.command(text))
	}
	destroyed := fsm.DestroyRoom{Room: club, Incarnation: r.Incarnation, GroupContextHash: r.ContextHash()}
	if o, ok := applyTo(t, store, 9, 3000, destroyed)[0].(fsm.Accepted); !ok {
		t.Fatalf("the room is not destroyed: %+v", o)
	}
	check(t, fsm.VerifyState(store))
	codes, err := fsm.ReadJoiningCodes(store, club)
	check(t, err)
	if _, authorized, err := fsm.ReadJoinAuthorization(store, club, user("carol@c.example")); len(codes) > 0 || authorized || err != nil {
		t.Errorf("left are %v, authorized %v, %v", codes, authorized, err)
	}
	for i, c := range []fsm.Command{s.command("code club other by=alice"), s.command("revoke club code"), s.command("ask club by=dave@d.example client=d code=code"), join} {
		if o, ended := applyTo(t, store, uint64(10+i), 4000, c)[0].(fsm.RoomEnded); !ended {
			t.Errorf("%T: %+v", c, o)
		}
	}
	applyTo(t, store, 20, 10*24*60*60*1000, fsm.Sweep{Max: 100})
	check(t, fsm.VerifyState(store))
}

// What codes bring goes with time: what is left is the room, and the lease with its token.
func TestWhatCodesBringEnds(t *testing.T) {
	store, _, s := exclusiveRoom(t)
	before := store.Len()
	for i, text := range []string{
		"code club timed by=alice for=50000", "code club over by=alice", "revoke club over",
		"ask club by=carol@c.example client=c code=timed", "ask club by=dave@d.example client=d code=wrong",
	} {
		applyTo(t, store, uint64(2+i), 2000, s.command(text))
	}
	if store.Len() < before+8 {
		t.Fatalf("%d keys came of it: the test is wrong", store.Len()-before)
	}
	for i := range 10 {
		applyTo(t, store, uint64(10+i), 10*24*60*60*1000, fsm.Sweep{Max: 2})
		check(t, fsm.VerifyState(store))
	}
	if left := store.Len() - before; left != 1 {
		t.Errorf("%d keys are left", left)
	}
}

// codeModel is what may happen by one code, whatever is asked in whatever order.
type codeModel struct {
	uses, joined int
	ends         uint64
	revoked      bool
	users        map[string]bool // who have presented it while it was open
}

// TestCodesKeepTheirPromises lets users present codes, join, come again late and repeat themselves, while codes are revoked and time
// passes: a code admits as many as it is for, none after its end, and nobody who has not presented it; and no two hold the GroupInfo.
func TestCodesKeepTheirPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		store, r, s := exclusiveRoom(t)
		models := map[string]*codeModel{}
		labels, users := []string{"c0", "c1", "c2"}, []string{"u0@d.example", "u1@d.example", "u2@e.example", "u3@e.example"}
		var late []fsm.AcceptCommit // made before, perhaps of an epoch that is gone
		index, now := uint64(1), uint64(2000)
		var held lentTo
		do := func(c fsm.Command) fsm.Outcome {
			index++
			outcome := applyTo(t, store, index, now, c)[0]
			if err := fsm.VerifyState(store); err != nil {
				rt.Fatal(err)
			}
			return outcome
		}
		for range rapid.IntRange(10, 40).Draw(rt, "steps") {
			label, who := rapid.SampledFrom(labels).Draw(rt, "code"), rapid.SampledFrom(users).Draw(rt, "user")
			m := models[label]
			switch rapid.SampledFrom([]string{"create", "ask", "ask", "join", "join", "revoke", "wait", "sweep"}).Draw(rt, "step") {
			case "create":
				uses, lifetime := rapid.IntRange(0, 2).Draw(rt, "uses"), rapid.SampledFrom([]uint64{0, 40_000}).Draw(rt, "for")
				_, there, err := fsm.ReadJoiningCode(store, club, codeID(label))
				check(t, err)
				made, ok := do(s.command(fmt.Sprintf("code club %s by=alice uses=%d for=%d", label, uses, lifetime))).(fsm.JoiningCodeMade)
				if ok && !there {
					presented := map[string]bool{}
					if m != nil {
						presented = m.users // a real code is never made again under the same name; here its authorizations are
					}
					models[label] = &codeModel{uses: uses, ends: made.Code.ExpiresMillis, users: presented}
				}
			case "ask":
				if _, in := participant(t, store, who); in {
					continue
				}
				asked := s.command(fmt.Sprintf("ask club by=%s client=x code=%s", who, label)).(fsm.TakeLease)
				outcome := do(asked)
				if _, refused := outcome.(fsm.NotAllowed); !refused && m != nil {
					m.users[who] = true
				}
				if g, granted := outcome.(fsm.LeaseGranted); granted {
					if held.to != who && now < held.until && g.Token != held.token {
						rt.Fatalf("%s and %s have the GroupInfo", who, held.to)
					}
					held = lentTo{who, g.Token, g.UntilMillis}
				}
			case "join":
				late = append(late, joinOf(r, who, label, index))
				c := late[len(late)-1-rapid.IntRange(0, min(3, len(late)-1)).Draw(rt, "before")]
				epoch := r.Epoch
				if accepted, ok := do(c).(fsm.Accepted); ok && c.Reads.Epoch == epoch && accepted.Epoch == epoch+1 {
					r.Advance(c)
					held = lentTo{token: held.token}
					checkJoined(rt, c, models, now)
				}
			case "revoke":
				if _, done := do(s.command("revoke club " + label)).(fsm.Done); done && m != nil {
					m.revoked = true
				}
			case "wait":
				now += rapid.Uint64Range(0, 30_000).Draw(rt, "millis")
				do(fsm.Fence{})
			case "sweep":
				do(fsm.Sweep{Max: 3})
			}
		}
	})
}

type lentTo struct {
	to    string
	token uint64
	until uint64
}

func participant(t *testing.T, r fsm.Reader, who string) (mls.Epoch, bool) {
	t.Helper()
	since, found, err := fsm.ReadParticipantSince(r, club, user(who))
	check(t, err)
	return since, found
}

// joinOf is a Commit of the room's epoch by which a user joins with a code.
func joinOf(r *fsmtest.Room, who, label string, mark uint64) fsm.AcceptCommit {
	c := r.Commit(fsmtest.Next{
		Label: fmt.Sprint(who, " by ", label, " ", mark), Participants: append(slices.Clone(r.Participants), fsm.Participant{User: user(who), Role: 1}),
	})
	c.Sender, c.JoiningCode = user(who), codeID(label)
	return c
}

// checkJoined checks an accepted join against what may happen by its code.
func checkJoined(rt *rapid.T, c fsm.AcceptCommit, models map[string]*codeModel, now uint64) {
	for label, m := range models {
		if codeID(label) != c.JoiningCode {
			continue
		}
		m.joined++
		switch {
		case m.uses > 0 && m.joined > m.uses:
			rt.Fatalf("%d joined by a code for %d", m.joined, m.uses)
		case m.revoked:
			rt.Fatal("a revoked code admits")
		case m.ends > 0 && now >= m.ends:
			rt.Fatalf("a code that ended at %d admits at %d", m.ends, now)
		}
		for name := range m.users {
			if user(name) == c.Sender {
				return
			}
		}
		rt.Fatalf("%s joined and has not presented the code", c.Sender)
	}
	rt.Fatal("a Commit rests on a code that there is not")
}
