package judge

import (
	"crypto/sha256"
	"slices"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// How long a claim that comes again gets the same KeyPackages: with an Idempotency-Key, and by its bytes alone. Ed25519 is
// deterministic and the request holds no nonce, so the same bytes after that are a new claim.
const (
	replayKeyedMillis  = 24 * 60 * 60 * 1000
	replayByBodyMillis = 60 * 1000
)

// idempotencyKeyBytesMax bounds the header's value.
const idempotencyKeyBytesMax = 255

// Claim takes one KeyPackage of each client of a local user (mimi-protocol-06 §5.2).
type Claim struct {
	asDecided
	from           mimi.Provider
	request        mimi.KeyMaterialRequest
	body           []byte
	idempotencyKey string
	genuine        bool // whether the signature holds
}

// NewClaim reads a KeyMaterialRequest from a provider; target is the user in the request's path.
func NewClaim(from mimi.Provider, target mimi.UserURI, body []byte, idempotencyKey string) (*Claim, error) {
	body = slices.Clone(body)
	request, err := mimi.ParseKeyMaterialRequest(body)
	if err != nil {
		return nil, err
	}
	if request.TargetUser != target {
		return nil, &mls.MalformedError{Field: "KeyMaterialRequest.targetUser", Reason: "it is not the user in the path"}
	}
	if len(idempotencyKey) > idempotencyKeyBytesMax {
		return nil, &mls.MalformedError{Field: "Idempotency-Key", Reason: "it is longer than 255 bytes"}
	}
	return &Claim{
		from: from, request: request, body: body, idempotencyKey: idempotencyKey, genuine: request.VerifySignature(),
	}, nil
}

// Request is what was parsed.
func (c *Claim) Request() mimi.KeyMaterialRequest { return c.request }

func (c *Claim) Slot() fsm.SlotID { return fsm.SlotOfUser(c.request.TargetUser) }
func (*Claim) kind() requestKind  { return kindClaim }

// Judge verifies who asks before anything can be consumed. The sender is the requester's provider, or the hub of the room,
// which forwards the request as it is (mimi-protocol-06 §5.2).
func (c *Claim) Judge(replica fsm.Reader) (Verdict, error) {
	settings, _, err := fsm.ReadSettings(replica)
	if err != nil {
		return nil, err
	}
	return concluded(Propose{c.command()}, c.check(settings))
}

// Refusal says why nothing may be claimed by the request; empty where nothing speaks against it. The reason is for the requester.
func (c *Claim) Refusal(settings fsm.Settings) string {
	reason, _ := reasonOf(c.check(settings))
	return reason
}

func (c *Claim) check(settings fsm.Settings) error {
	return claimant{
		from: c.from, requester: c.request.RequestingUser, room: c.request.Room, credential: c.request.Credential,
	}.check(settings, "key_material_request_signature", c.genuine)
}

func (c *Claim) command() fsm.ClaimKeyPackages {
	command := fsm.ClaimKeyPackages{
		User:         c.request.TargetUser,
		Requester:    c.request.RequestingUser,
		Provider:     c.from,
		Room:         c.request.Room,
		Suites:       c.request.Suites,
		Extensions:   c.request.RequiredCapabilities.Extensions,
		Proposals:    c.request.RequiredCapabilities.Proposals,
		Credentials:  c.request.RequiredCapabilities.Credentials,
		ReplayKey:    c.replayKey(),
		ReplayMillis: replayByBodyMillis,
	}
	if c.idempotencyKey != "" {
		command.ReplayMillis = replayKeyedMillis
	}
	if c.request.RequestingUser == c.request.TargetUser {
		command.Exclude = clientOf(c.request.Credential)
	}
	return command
}

// replayKey names the claim: by the sender with its Idempotency-Key and the body, so that a key used for another request is
// another claim; or by the sender and the body.
func (c *Claim) replayKey() [32]byte {
	var w mls.Writer
	w.Opaque([]byte(c.from.String()))
	w.Opaque([]byte(c.idempotencyKey))
	w.Opaque(c.body)
	return sha256.Sum256(w.Bytes())
}

func (c *Claim) appendArguments(w *mls.Writer) {
	appendURIs(w, c.from, c.request.TargetUser)
	w.Opaque(c.body)
	w.Opaque([]byte(c.idempotencyKey))
}
