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

// Random grants, revocations and policies, held against the rule in so many words: the room's entry, else the one for any room, else
// the user's policy, else the cluster's; and whatever is refused takes nothing.
func TestConsentFollowsTheRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newConsentModel(t)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			m.step()
		}
	})
}

type scope struct {
	requester mimi.UserURI
	room      mimi.RoomURI
}

type consentModel struct {
	t       *rapid.T
	store   *fsmtest.Store
	index   uint64
	made    int
	left    uint32
	cluster fsm.ConsentPolicy
	policy  fsm.ConsentPolicy
	entries map[scope]fsm.Consent
}

var (
	requesters = []mimi.UserURI{alice, user("anna"), bob}
	rooms      = []mimi.RoomURI{{}, room("x"), room("y@b.example")}
)

func newConsentModel(t *rapid.T) *consentModel {
	m := &consentModel{
		t: t, store: fsmtest.NewStore(), entries: map[scope]fsm.Consent{},
		cluster: rapid.SampledFrom([]fsm.ConsentPolicy{fsm.ConsentAsk, fsm.ConsentAllow, fsm.ConsentProvider}).Draw(t, "default"),
	}
	settings := fsm.DefaultSettings(hub)
	settings.Claims = fsm.ClaimRules{ConsentDefault: m.cluster}
	slot := fsm.SlotOfUser(user("target"))
	m.apply(fsm.OwnSlots{Shard: 1, Generation: 1, First: slot, Last: slot}, fsm.EnterSettings{Version: 1, Settings: settings})
	upload := fsm.UploadKeyPackages{User: user("target"), Client: client("target1")}
	for i := range 100 {
		upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{Ref: refNumber(i), Suite: 1, NotAfter: 90_000})
	}
	m.left = m.apply(upload)[0].(fsm.Uploaded).Left
	return m
}

func (m *consentModel) apply(commands ...fsm.Command) []fsm.Outcome {
	m.index++
	result, err := fsm.Apply(m.store, m.index, fsm.EncodeEntry(fsm.Entry{StampMillis: 1_000_000 + m.index, Commands: commands}))
	if err != nil {
		m.t.Fatal(err)
	}
	if err := fsm.VerifyState(m.store); err != nil {
		m.t.Fatal(err)
	}
	return result.Outcomes
}

func (m *consentModel) step() {
	at := scope{rapid.SampledFrom(requesters).Draw(m.t, "requester"), rapid.SampledFrom(rooms).Draw(m.t, "room")}
	switch rapid.IntRange(0, 5).Draw(m.t, "kind") {
	case 0, 1:
		consent := rapid.SampledFrom([]fsm.Consent{fsm.ConsentForgotten, fsm.ConsentGranted, fsm.ConsentRevoked}).Draw(m.t, "consent")
		m.apply(fsm.SetConsents{User: user("target"), Entries: []fsm.ConsentEntry{{Requester: at.requester, Room: at.room, Consent: consent}}})
		if consent == fsm.ConsentRevoked && at.room.IsZero() {
			for _, r := range rooms {
				delete(m.entries, scope{at.requester, r})
			}
		}
		if delete(m.entries, at); consent != fsm.ConsentForgotten {
			m.entries[at] = consent
		}
		m.compare()
	case 2:
		m.policy = fsm.ConsentPolicy(rapid.IntRange(0, 4).Draw(m.t, "policy"))
		m.apply(fsm.SetConsentPolicy{User: user("target"), Policy: m.policy})
	default:
		m.claim(at)
	}
}

func (m *consentModel) compare() {
	page, err := fsm.ReadConsents(m.store, user("target"), mimi.UserURI{}, nil, 100)
	if err != nil || int(page.Count) != len(m.entries) || len(page.Entries) != len(m.entries) {
		m.t.Fatalf("%d entries, counted as %d, where %d are: %v", len(page.Entries), page.Count, len(m.entries), err)
	}
	for _, e := range page.Entries {
		if m.entries[scope{e.Requester, e.Room}] != e.Consent {
			m.t.Fatalf("%+v is not what was said", e)
		}
	}
}

func (m *consentModel) claim(at scope) {
	m.made++
	outcome := m.apply(fsm.ClaimKeyPackages{
		User: user("target"), Requester: at.requester, Room: at.room, Provider: hub, Suites: []mls.CipherSuite{1}, ReplayKey: hashOf(fmt.Sprint(m.made)),
	})[0].(fsm.Claimed)
	if want := m.code(at); outcome.Code != want {
		m.t.Fatalf("%+v got %s, not %s: policy %s over %s, %v", at, outcome.Code, want, m.policy, m.cluster, m.entries)
	}
	if outcome.Code == mimi.KeyMaterialSuccess {
		m.left--
	}
	if clients, _, err := fsm.ReadInventory(m.store, user("target")); err != nil || clients[0].SingleUse != m.left {
		m.t.Fatalf("%d KeyPackages are left, not %d", clients[0].SingleUse, m.left)
	}
}

func (m *consentModel) code(at scope) mimi.KeyMaterialUserCode {
	policy := m.policy
	if policy == fsm.ConsentAsCluster {
		policy = m.cluster
	}
	decides, said := m.entries[at]
	if !said {
		decides, said = m.entries[scope{requester: at.requester}]
	}
	elsewhere := false
	for _, r := range rooms[1:] {
		elsewhere = elsewhere || m.entries[scope{at.requester, r}] == fsm.ConsentGranted
	}
	switch {
	case policy == fsm.ConsentNobody, said && decides == fsm.ConsentRevoked:
		return mimi.KeyMaterialNoConsent
	case said, policy == fsm.ConsentAllow, policy == fsm.ConsentProvider && at.requester.Provider() == hub:
		return mimi.KeyMaterialSuccess
	case elsewhere:
		return mimi.KeyMaterialNoConsentForRoom
	default:
		return mimi.KeyMaterialNoConsent
	}
}
