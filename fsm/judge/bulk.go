package judge

import (
	"crypto/sha256"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// BulkClaim is a claim of many users' KeyPackages that is signed once (docs/extensions.md). It is parsed once, and its signature is
// verified once, however many of its targets are decided at this node.
type BulkClaim struct {
	from           mimi.Provider
	claim          mimi.SignedBulkClaim
	body           []byte
	idempotencyKey string
	genuine        bool // whether the signature holds
}

// NewBulkClaim reads a BulkKeyMaterialRequest, signed once, from a provider.
func NewBulkClaim(from mimi.Provider, body []byte, idempotencyKey string) (*BulkClaim, error) {
	body = slices.Clone(body)
	request, err := mimi.ParseBulkKeyMaterialRequest(body)
	if err != nil {
		return nil, err
	}
	claim, ok := request.(mimi.SignedBulkClaim)
	if !ok {
		return nil, &mls.MalformedError{Field: "BulkKeyMaterialRequest.form", Reason: "it is not signed once"}
	}
	if len(idempotencyKey) > idempotencyKeyBytesMax {
		return nil, &mls.MalformedError{Field: "Idempotency-Key", Reason: "it is longer than 255 bytes"}
	}
	return &BulkClaim{
		from: from, claim: claim, body: body, idempotencyKey: idempotencyKey, genuine: claim.VerifySignature(),
	}, nil
}

// Refusal says why nothing may be claimed by the request, for any of its targets; empty where nothing speaks against it. The
// reason is for the requester.
func (b *BulkClaim) Refusal(settings fsm.Settings) string {
	reason, _ := reasonOf(b.check(settings))
	return reason
}

func (b *BulkClaim) check(settings fsm.Settings) error {
	return claimant{
		from: b.from, requester: b.claim.RequestingUser, room: b.claim.Room, credential: b.claim.Credential,
	}.check(settings, "bulk_claim_signature", b.genuine)
}

// For is the part of one of the targets. The error is a *mls.MalformedError for a user whom the claim does not name.
func (b *BulkClaim) For(target mimi.UserURI) (*ClaimInBulk, error) {
	if !slices.Contains(b.claim.TargetUsers, target) {
		return nil, &mls.MalformedError{Field: "target", Reason: "the claim does not name this user"}
	}
	return &ClaimInBulk{whole: b, target: target}, nil
}

// ClaimInBulk takes one KeyPackage of each client of one of a bulk claim's targets. Each target is decided in its own slot.
type ClaimInBulk struct {
	asDecided
	whole  *BulkClaim
	target mimi.UserURI
}

// newClaimInBulk reads a target's part from the whole claim's body.
func newClaimInBulk(from mimi.Provider, target mimi.UserURI, body []byte, idempotencyKey string) (*ClaimInBulk, error) {
	whole, err := NewBulkClaim(from, body, idempotencyKey)
	if err != nil {
		return nil, err
	}
	return whole.For(target)
}

// Target is the user whose part it is.
func (c *ClaimInBulk) Target() mimi.UserURI { return c.target }

func (c *ClaimInBulk) Slot() fsm.SlotID { return fsm.SlotOfUser(c.target) }
func (*ClaimInBulk) kind() requestKind  { return kindClaimInBulk }

// Judge verifies who asks before anything can be consumed, as for a single claim.
func (c *ClaimInBulk) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	if err := c.whole.check(settings); err != nil {
		return concluded(nil, err)
	}
	if !slices.Contains(c.whole.claim.AcceptableVersions(), mls.MLS10) {
		return Answer{fsm.Claimed{User: c.target, Code: mimi.KeyMaterialIncompatibleProtocol}}, nil
	}
	return Propose{c.command()}, nil
}

func (c *ClaimInBulk) command() fsm.ClaimKeyPackages {
	claim := c.whole.claim
	command := fsm.ClaimKeyPackages{
		User:         c.target,
		Requester:    claim.RequestingUser,
		Provider:     c.whole.from,
		Room:         claim.Room,
		Suites:       claim.AcceptableSuites(),
		Extensions:   claim.RequiredCapabilities.Extensions,
		Proposals:    claim.RequiredCapabilities.Proposals,
		Credentials:  claim.RequiredCapabilities.Credentials,
		ReplayKey:    c.replayKey(),
		ReplayMillis: replayByBodyMillis,
	}
	if c.whole.idempotencyKey != "" {
		command.ReplayMillis = replayKeyedMillis
	}
	if claim.RequestingUser == c.target {
		command.Exclude = clientOf(claim.Credential)
	}
	return command
}

// replayKey names the target's part: by the sender with its Idempotency-Key and what is claimed of this target, so that a repetition
// for those targets alone that are still missing gets the same; or by the sender and the whole body.
func (c *ClaimInBulk) replayKey() [32]byte {
	var w mls.Writer
	w.Opaque([]byte("bulk")) // with it there are four parts, and a single claim has three: no key is both's
	w.Opaque([]byte(c.whole.from.String()))
	w.Opaque([]byte(c.whole.idempotencyKey))
	if c.whole.idempotencyKey != "" {
		w.Opaque(c.whole.claim.TermsFor(c.target))
	} else {
		w.Opaque(c.whole.body)
	}
	return sha256.Sum256(w.Bytes())
}

func (c *ClaimInBulk) appendArguments(w *mls.Writer) {
	appendURIs(w, c.whole.from, c.target)
	w.Opaque(c.whole.body)
	w.Opaque([]byte(c.whole.idempotencyKey))
}
