package mimi

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"

	"parley/mls"
)

func sampleSignedClaim() SignedBulkClaim {
	return SignedBulkClaim{
		RequestingUser: sampleAlice, TargetUsers: []UserURI{sampleBob, sampleAlice}, Room: sampleRoom,
		Versions: []mls.Version{mls.MLS10, 0x0a0a}, Suites: []mls.CipherSuite{1, 3},
		RequiredCapabilities: mls.RequiredCapabilities{Extensions: []mls.ExtensionType{6}, Credentials: []mls.CredentialType{1}},
		SignatureKey:         opaque(1, 32), Credential: sampleCredential, Signature: opaque(2, 64),
	}
}

func sampleBulkRequests() []BulkKeyMaterialRequest {
	other := sampleRequest()
	other.TargetUser = sampleAlice
	return []BulkKeyMaterialRequest{
		sampleSignedClaim(),
		SignedBulkClaim{RequestingUser: sampleAlice, TargetUsers: []UserURI{sampleBob}, Credential: sampleCredential},
		SeparateClaims{[]KeyMaterialRequest{sampleRequest(), other}},
	}
}

func sampleBulkResponse() BulkKeyMaterialResponse {
	return BulkKeyMaterialResponse{[]BulkUserMaterial{
		{Status: BulkUserCode(KeyMaterialPartialSuccess), User: sampleBob, Clients: []ClientKeyMaterial{
			{Client: sampleClient, Material: ClaimedKeyPackage{sampleKeyPackage()}},
			{Client: sampleClient, Material: MaterialExhausted{}},
			{Client: sampleClient, Material: NothingCompatible{}},
		}},
		{Status: BulkUserCode(KeyMaterialUserUnknown), User: sampleAlice},
		{Status: BulkThrottled, User: sampleAlice, RetryAfterSeconds: 60},
		{Status: BulkUndecided, User: sampleAlice, RetryAfterSeconds: 1},
		{Status: BulkElsewhere, User: sampleAlice},
	}}
}

func init() {
	codecs = append(codecs,
		codecOf("BulkKeyMaterialRequest", ParseBulkKeyMaterialRequest, sampleBulkRequests()...),
		codecOf("BulkKeyMaterialResponse", ParseBulkKeyMaterialResponse, BulkKeyMaterialResponse{}, sampleBulkResponse()))
}

func FuzzBulkKeyMaterialRequest(f *testing.F)  { fuzzIdentity(f, "BulkKeyMaterialRequest", nil) }
func FuzzBulkKeyMaterialResponse(f *testing.F) { fuzzIdentity(f, "BulkKeyMaterialResponse", nil) }

func TestBulkRefusals(t *testing.T) {
	signed := func(change func(*SignedBulkClaim)) []byte {
		claim := sampleSignedClaim()
		change(&claim)
		return claim.Marshal()
	}
	separate := func(change func(*KeyMaterialRequest)) []byte {
		other := sampleRequest()
		other.TargetUser = sampleAlice
		change(&other)
		return SeparateClaims{[]KeyMaterialRequest{sampleRequest(), other}}.Marshal()
	}
	many := make([]UserURI, BulkTargetsMax+1)
	for i := range many {
		many[i] = mustUser(fmt.Sprintf("mimi://b.example/u/%d", i))
	}
	for name, test := range map[string]struct {
		body  []byte
		field string
	}{
		"another format":    {poke(sampleSignedClaim().Marshal(), 0, 2), "BulkKeyMaterialRequest.format"},
		"another form":      {poke(sampleSignedClaim().Marshal(), 1, 3), "BulkKeyMaterialRequest.form"},
		"nobody":            {signed(func(c *SignedBulkClaim) { c.TargetUsers = nil }), "BulkKeyMaterialRequest.targetUsers"},
		"too many":          {signed(func(c *SignedBulkClaim) { c.TargetUsers = many }), "BulkKeyMaterialRequest.targetUsers"},
		"somebody twice":    {signed(func(c *SignedBulkClaim) { c.TargetUsers = []UserURI{sampleBob, sampleBob} }), "BulkKeyMaterialRequest.targetUsers"},
		"no request":        {SeparateClaims{}.Marshal(), "BulkKeyMaterialRequest.targetUsers"},
		"several requests":  {separate(func(r *KeyMaterialRequest) { r.TargetUser = sampleBob }), "BulkKeyMaterialRequest.targetUsers"},
		"several rooms":     {separate(func(r *KeyMaterialRequest) { r.Room = RoomURI{} }), "BulkKeyMaterialRequest.requests"},
		"several in person": {separate(func(r *KeyMaterialRequest) { r.RequestingUser = sampleBob }), "BulkKeyMaterialRequest.requests"},
	} {
		var malformed *mls.MalformedError
		if _, err := ParseBulkKeyMaterialRequest(test.body); !errors.As(err, &malformed) || malformed.Field != test.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ParseBulkKeyMaterialRequest(signed(func(c *SignedBulkClaim) { c.TargetUsers = many[1:] })); err != nil {
		t.Errorf("%d users: %v", BulkTargetsMax, err)
	}
	var malformed *mls.MalformedError
	unknown := BulkKeyMaterialResponse{[]BulkUserMaterial{{Status: 0x60, User: sampleBob}}}.Marshal()
	if _, err := ParseBulkKeyMaterialResponse(unknown); !errors.As(err, &malformed) || malformed.Field != "BulkKeyMaterialResponse.users[0].userStatus" {
		t.Errorf("an unknown code: %v", err)
	}
}

// The signature covers every part of a claim, and the list of its targets as a whole.
func TestBulkSignature(t *testing.T) {
	key, err := mls.GenerateSigningKey(mls.Ed25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claim, err := sampleSignedClaim().Signed(key)
	if err != nil || !claim.VerifySignature() {
		t.Fatalf("its own signature: %v", err)
	}
	parsed, err := ParseBulkKeyMaterialRequest(claim.Marshal())
	if err != nil || !parsed.(SignedBulkClaim).VerifySignature() {
		t.Errorf("after parsing: %v", err)
	}
	for name, change := range map[string]func(*SignedBulkClaim){
		"requester":    func(c *SignedBulkClaim) { c.RequestingUser = sampleBob },
		"one fewer":    func(c *SignedBulkClaim) { c.TargetUsers = c.TargetUsers[:1] },
		"order":        func(c *SignedBulkClaim) { c.TargetUsers = []UserURI{sampleAlice, sampleBob} },
		"room":         func(c *SignedBulkClaim) { c.Room = RoomURI{} },
		"versions":     func(c *SignedBulkClaim) { c.Versions = nil },
		"suites":       func(c *SignedBulkClaim) { c.Suites = []mls.CipherSuite{3, 1} },
		"capabilities": func(c *SignedBulkClaim) { c.RequiredCapabilities.Extensions = nil },
		"key":          func(c *SignedBulkClaim) { c.SignatureKey = opaque(7, 32) },
		"credential":   func(c *SignedBulkClaim) { c.Credential = mls.BasicCredential{Identity: []byte("x")} },
	} {
		altered := claim
		change(&altered)
		if altered.VerifySignature() {
			t.Errorf("the signature holds with another %s", name)
		}
	}
	one := SignedBulkClaim{RequestingUser: sampleAlice, TargetUsers: []UserURI{sampleBob}, Credential: sampleCredential}
	if got := one.AcceptableVersions(); len(got) != 1 || got[0] != mls.MLS10 {
		t.Errorf("versions by default: %v", got)
	}
	if got := one.AcceptableSuites(); len(got) != 1 || got[0] != 1 {
		t.Errorf("suites by default: %v", got)
	}
}

// A target's terms are the same in whatever company it is claimed, and in whatever spelling.
func TestBulkTerms(t *testing.T) {
	alone := sampleSignedClaim()
	alone.TargetUsers = []UserURI{sampleBob}
	if !bytes.Equal(alone.TermsFor(sampleBob), sampleSignedClaim().TermsFor(sampleBob)) {
		t.Error("they depend on the other targets")
	}
	if bytes.Equal(alone.TermsFor(sampleBob), alone.TermsFor(sampleAlice)) {
		t.Error("they do not depend on the target")
	}
	var w mls.Writer
	w.Uint8(bulkFormat)
	w.Uint8(uint8(BulkSignedOnce))
	alone.targetSpellings = []spelling{spelling("MIMI://B.example/u/bob")}
	alone.AppendTo(&w)
	parsed, err := ParseBulkKeyMaterialRequest(w.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	spelled := parsed.(SignedBulkClaim)
	if !bytes.Equal(spelled.Marshal(), w.Bytes()) || bytes.Equal(spelled.SignedBytes(), sampleSignedClaim().SignedBytes()) {
		t.Error("the spelling is lost")
	}
	if !bytes.Equal(spelled.TermsFor(sampleBob), alone.TermsFor(sampleBob)) {
		t.Error("the terms depend on the spelling")
	}
}
