package judge

import (
	"bytes"
	"testing"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// bulkOf is a bulk claim of alice's for bob and another user of his provider, altered before it is signed.
func (m *maker) bulkOf(alter func(*mimi.SignedBulkClaim)) mimi.SignedBulkClaim {
	m.t.Helper()
	claim := mimi.SignedBulkClaim{
		RequestingUser: m.client("alice1").User, TargetUsers: []mimi.UserURI{m.client("bob1").User, m.user("mimi://b.example/u/betty")},
		Room: m.recording.Room.URI, Credential: basic(m.client("alice1").URI.String()),
	}
	if alter != nil {
		alter(&claim)
	}
	claim, err := claim.Signed(m.key("alice1"))
	m.ok(err)
	return claim
}

func (m *maker) user(uri string) mimi.UserURI {
	m.t.Helper()
	u, err := mimi.ParseUserURI(uri)
	m.ok(err)
	return u
}

func (m *maker) bulkPart(from string, claim mimi.SignedBulkClaim, target mimi.UserURI, key string) (*ClaimInBulk, error) {
	m.t.Helper()
	return newClaimInBulk(provider(m.t, from), target, claim.Marshal(), key)
}

// commandOf is what a part of a bulk claim would have the log decide.
func (m *maker) commandOf(part *ClaimInBulk, err error) fsm.ClaimKeyPackages {
	m.t.Helper()
	m.ok(err)
	verdict, err := part.Judge(m.store)
	m.ok(err)
	return verdict.(Propose).Command.(fsm.ClaimKeyPackages)
}

// A bulk claim is refused for every target by what refuses a single claim.
func TestBulkClaimant(t *testing.T) {
	m := openMaker(t)
	m.frozen = true
	spoilt := m.bulkOf(nil)
	spoilt.Signature[3] ^= 1
	of := func(user, credential string) mimi.SignedBulkClaim {
		return m.bulkOf(func(c *mimi.SignedBulkClaim) { c.RequestingUser, c.Credential = m.user(user), basic(credential) })
	}
	for name, c := range map[string]struct {
		from    string
		claim   mimi.SignedBulkClaim
		allowed bool
	}{
		"by the requester's provider": {"a.example", m.bulkOf(nil), true},
		"forwarded by the room's hub": {"a.example", of("mimi://c.example/u/carol", "mimi://c.example/d/carol1"), true},
		"bad signature":               {"a.example", spoilt, false},
		"of another user's name":      {"a.example", of("mimi://a.example/u/alice", "mimi://a.example/u/anna"), false},
		"of another provider's name":  {"a.example", of("mimi://a.example/u/alice", "mimi://c.example/d/carol1"), false},
		"foreign requester":           {"c.example", m.bulkOf(nil), false},
	} {
		whole, err := NewBulkClaim(provider(t, c.from), c.claim.Marshal(), "")
		m.ok(err)
		if reason := whole.Refusal(fsm.DefaultSettings(provider(t, "a.example"))); (reason == "") != c.allowed {
			t.Errorf("%s: %q", name, reason)
		}
		before := m.digest()
		for _, target := range c.claim.TargetUsers {
			part, err := whole.For(target)
			outcome := m.do(constructed(part, err))
			if claimed, ok := outcome.(fsm.Claimed); ok != c.allowed || ok && claimed.User != target {
				t.Errorf("%s: %s got %+v", name, target, outcome)
			}
		}
		if !c.allowed && m.digest() != before {
			t.Errorf("%s: the refusal changed the state", name)
		}
	}
}

func TestBulkCommand(t *testing.T) {
	m := openMaker(t)
	bob, alice := m.client("bob1").User, m.client("alice1").User
	single := m.claimOf(nil)
	part := m.commandOf(m.bulkPart("a.example", m.bulkOf(nil), bob, ""))
	alone := (&Claim{from: provider(t, "a.example"), request: single, body: single.Marshal()}).command()
	if part.ReplayKey == alone.ReplayKey {
		t.Error("a single claim has the same replay key")
	}
	part.ReplayKey, alone.ReplayKey = [32]byte{}, [32]byte{}
	if !bytes.Equal(fsm.EncodeCommand(part), fsm.EncodeCommand(alone)) {
		t.Errorf("by default it claims %+v, a single claim %+v", part, alone)
	}
	own := m.bulkOf(func(c *mimi.SignedBulkClaim) { c.TargetUsers = []mimi.UserURI{bob, alice} })
	if c := m.commandOf(m.bulkPart("a.example", own, alice, "")); c.Exclude != m.client("alice1").URI {
		t.Errorf("of her own clients it leaves out %q", c.Exclude)
	}
	if c := m.commandOf(m.bulkPart("a.example", own, bob, "")); !c.Exclude.IsZero() {
		t.Errorf("of bob's clients it leaves out %q", c.Exclude)
	}
	if _, err := m.bulkPart("a.example", own, m.user("mimi://b.example/u/betty"), ""); err == nil {
		t.Error("a part was made for a user whom the claim does not name")
	}
}

// With an Idempotency-Key a part is the same in whatever company it comes; without one it takes the same bytes.
func TestBulkReplayKeys(t *testing.T) {
	m := openMaker(t)
	bob := m.client("bob1").User
	both := m.bulkOf(nil)
	less := m.bulkOf(func(c *mimi.SignedBulkClaim) { c.TargetUsers = []mimi.UserURI{bob} })
	elsewhere := m.bulkOf(func(c *mimi.SignedBulkClaim) { c.Room = mimi.RoomURI{} })
	of := func(from string, claim mimi.SignedBulkClaim, key string) [32]byte {
		t.Helper()
		part, err := m.bulkPart(from, claim, bob, key)
		m.ok(err)
		return part.replayKey()
	}
	if of("a.example", both, "k") != of("a.example", less, "k") {
		t.Error("with a key the rest of the list counts")
	}
	first := of("a.example", both, "")
	if again := of("a.example", both, ""); again != first {
		t.Error("the same bytes are another claim")
	}
	for name, other := range map[string][32]byte{
		"another list, no key": of("a.example", less, ""), "a key": of("a.example", both, "k"), "another sender": of("b.example", both, ""),
	} {
		if other == first {
			t.Errorf("%s: the same claim", name)
		}
	}
	if of("a.example", both, "k") == of("a.example", elsewhere, "k") || of("a.example", both, "k") == of("a.example", both, "l") {
		t.Error("another room or another key is the same claim")
	}
	part, err := m.bulkPart("a.example", both, m.user("mimi://b.example/u/betty"), "k")
	m.ok(err)
	if part.replayKey() == of("a.example", both, "k") {
		t.Error("two targets have one replay key")
	}
}

func TestBulkVersions(t *testing.T) {
	m := openMaker(t)
	bob := m.client("bob1").User
	for _, c := range []struct {
		versions     []mls.Version
		incompatible bool
	}{{nil, false}, {[]mls.Version{0x0a0a, mls.MLS10}, false}, {[]mls.Version{0x0a0a}, true}} {
		claim := m.bulkOf(func(b *mimi.SignedBulkClaim) { b.Versions = c.versions })
		got := want[fsm.Claimed](t, m.do(constructed(m.bulkPart("a.example", claim, bob, ""))))
		if (got.Code == mimi.KeyMaterialIncompatibleProtocol) != c.incompatible {
			t.Errorf("%v: %s", c.versions, got.Code)
		}
	}
}
