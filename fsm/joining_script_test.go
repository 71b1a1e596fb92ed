package fsm_test

import (
	"fmt"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// Lines of transcripts on joining codes and on leases with grounds:
//
//	code club golden by=alice role=2 uses=1 for=60000 pass=sesame
//	revoke club golden
//	ask club by=carol@c.example client=c1 code=golden pass=sesame
//	ask club by=alice client=alice1 member=yes
//	join club c1 by=carol@c.example code=golden users=...
//
// The code "-" is one that was presented before. stale=yes rests on another GroupContext, unknown=yes on a replica that does not have the
// code.

func codeID(label string) fsm.CodeID {
	if label == "" || label == "-" {
		return fsm.CodeID{}
	}
	return fsm.CodeIDOf([]byte(label))
}

func lockOf(label, passphrase string) (lock fsm.PassphraseLock) {
	if passphrase == "" {
		return lock
	}
	return fsm.PassphraseLock{Salt: []byte("salt of " + label), Rounds: 9, Key: []byte("key of " + passphrase)}
}

func (l line) context(r *fsmtest.Room) [32]byte {
	if l.options["stale"] != "" {
		return hashOf("another context")
	}
	return r.ContextHash()
}

func createCode(r *fsmtest.Room, l line) fsm.Command {
	return fsm.CreateJoiningCode{
		Room: r.URI, ID: codeID(l.words[1]), Creator: user(l.options["by"]), Role: uint32(l.number("role", 1)), Uses: uint32(l.number("uses", 0)),
		LifetimeMillis: l.number("for", 0), Lock: lockOf(l.words[1], l.options["pass"]), GroupContextHash: l.context(r),
	}
}

func revokeCode(r *fsmtest.Room, l line) fsm.Command {
	return fsm.RevokeJoiningCode{Room: r.URI, ID: codeID(l.words[1]), GroupContextHash: l.context(r)}
}

func ask(r *fsmtest.Room, l line) fsm.Command {
	who := user(l.options["by"])
	c := fsm.TakeLease{Room: r.URI, Requester: who, Client: l.options["client"], LeaseGrounds: fsm.LeaseGrounds{
		Peer: who.Provider(), Right: fsm.LeaseByParticipation, GroupContextHash: l.context(r), Member: l.options["member"] != "",
	}}
	if l.options["right"] == "policy" {
		c.Right = fsm.LeaseByPolicy
	}
	if label := l.options["code"]; label != "" {
		lock := lockOf(label, l.options["pass"])
		c.Right, c.Code = fsm.LeaseByCode, fsm.PresentedCode{ID: codeID(label), Known: l.options["unknown"] == "", Key: lock.Key}
	}
	return c
}

// join is a Commit by a user with a code.
func (s *script) join(r *fsmtest.Room, l line) fsm.Command {
	c := s.commit(r, l).(fsm.AcceptCommit)
	c.Sender, c.JoiningCode = user(l.options["by"]), codeID(l.options["code"])
	return c
}

func describeJoins(t *testing.T, r fsm.Reader, l line, out *strings.Builder) {
	t.Helper()
	codes, err := fsm.ReadJoiningCodes(r, room(l.words[0]))
	check(t, err)
	for _, c := range codes {
		fmt.Fprintf(out, "by %s role %d used %d of %d state %d until %d\n", c.Creator, c.Role, c.Used, c.Uses, c.State, c.ExpiresMillis)
	}
	for _, name := range l.words[1:] {
		a, found, err := fsm.ReadJoinAuthorization(r, room(l.words[0]), user(name))
		check(t, err)
		fmt.Fprintf(out, "%s may join: %v as %d\n", name, found, a.Role)
	}
}
