package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

// idempotencyKeyBytesMax bounds the Idempotency-Key header.
const idempotencyKeyBytesMax = 255

// keyMaterial is POST /v1/keyMaterial/{targetUser} of the peer listener (mimi-protocol-06 §5.2). As the target's provider it
// claims; as the hub of the request's room it passes the request on to the target's provider.
func (s *PeerServer) keyMaterial(c echo.Context) error {
	caller, err := s.caller(c)
	if err != nil {
		return err
	}
	claim, err := readClaim(c, lastInPath(c), s.bodyBytesMax)
	if err != nil {
		return err
	}
	if a, none := claim.incompatible(); none {
		return a.send(c)
	}
	from, err := claimant(caller, claim.request.RequestingUser, claim.request.Room, "KeyMaterialRequest.requestingUser")
	if err != nil {
		return err
	}
	if !s.desk.isOurs(claim.target.Provider()) && !s.desk.isOurs(claim.request.Room.Provider()) {
		return newProblem(http.StatusForbidden, problemNotYours, "roomId",
			"A claim for another provider's user goes through the hub of its room, which is not here.")
	}
	a, err := s.desk.claim(c.Request().Context(), from, claim)
	if err != nil {
		return err
	}
	return a.send(c)
}

// claimant is the domain in whose name a peer claims: the requesting user's own provider, or the hub of the room.
func claimant(caller caller, requester mimi.UserURI, room mimi.RoomURI, field string) (mimi.Provider, error) {
	for _, domain := range []mimi.Provider{requester.Provider(), room.Provider()} {
		if caller.speaksFor(domain) {
			return domain, nil
		}
	}
	return mimi.Provider{}, newProblem(http.StatusForbidden, problemNotYours, field,
		fmt.Sprintf("%s is neither the provider of the requesting user nor the hub of the room.", caller.domain))
}

// claim is a KeyMaterialRequest as it came, with what has to be known of it to find its way.
type claim struct {
	target         mimi.UserURI
	protocol       mimi.Protocol
	request        mimi.KeyMaterialRequest // none of a protocol other than mls10
	body           []byte                  // forwarded byte for byte: it is signed
	idempotencyKey string
}

func readClaim(c echo.Context, path string, limit int64) (claim, error) {
	target, err := mimi.UserURIFromPath(path)
	if err != nil {
		return claim{}, err
	}
	key, err := idempotencyKey(c)
	if err != nil {
		return claim{}, err
	}
	body, err := readBody(c, limit)
	if err != nil {
		return claim{}, err
	}
	protocol, named, err := mimi.KeyMaterialProtocol(body)
	if err != nil {
		return claim{}, err
	}
	if named != target {
		return claim{}, newProblem(http.StatusBadRequest, problemMalformed, "KeyMaterialRequest.targetUser",
			"It is not the user that the path names.")
	}
	if protocol != mimi.ProtocolMLS10 {
		return claim{target: target, protocol: protocol}, nil
	}
	request, err := mimi.ParseKeyMaterialRequest(body)
	if err != nil {
		return claim{}, err
	}
	return claim{target: target, protocol: protocol, request: request, body: body, idempotencyKey: key}, nil
}

// idempotencyKey reads the request's header; empty where there is none.
func idempotencyKey(c echo.Context) (string, error) {
	key := c.Request().Header.Get(mimi.HeaderIdempotencyKey)
	if len(key) > idempotencyKeyBytesMax {
		return "", newProblem(http.StatusBadRequest, problemMalformed, mimi.HeaderIdempotencyKey,
			fmt.Sprintf("more than %d bytes", idempotencyKeyBytesMax))
	}
	return key, nil
}

// incompatible is the answer to a claim of another protocol than mls10: nobody here has KeyPackages for it.
func (c claim) incompatible() (answer, bool) {
	return coded(mimi.KeyMaterialResponse{Status: mimi.KeyMaterialIncompatibleProtocol, User: c.target}), c.protocol != mimi.ProtocolMLS10
}

// claim hands out KeyPackages of a local user, or fetches those of another provider's. Either way the room remembers where they
// went before anybody has them, so that a Welcome finds its way.
func (d *Desk) claim(ctx context.Context, from mimi.Provider, claim claim) (answer, error) {
	var a answer
	var err error
	if d.isOurs(claim.target.Provider()) {
		a, err = d.claimHere(ctx, from, claim)
	} else {
		a, err = d.claimThere(ctx, from, claim)
	}
	if err != nil || a.status != http.StatusOK {
		return a, err
	}
	response, err := mimi.ParseKeyMaterialResponse(a.body)
	if err == nil && response.User != claim.target {
		err = &mls.MalformedError{Field: "KeyMaterialResponse.userUri", Reason: "it is not the user that was asked for"}
	}
	if err != nil {
		// The fault is the target provider's, not the requester's.
		return answer{}, badUpstream(claim.target.Provider(), err)
	}
	err = d.recordRoutes(ctx, claim.request.Room, response)
	var refused *Problem
	switch {
	case errors.As(err, &refused):
		return answer{}, refused
	case err != nil:
		// The KeyPackages are claimed. "Nothing was written" would have them thrown away; the same request again gets them.
		return answer{}, fmt.Errorf("%w: the claim stands, its routes are not recorded: %v", fsm.ErrUnknownOutcome, err)
	}
	return a, nil
}

func (d *Desk) claimHere(ctx context.Context, from mimi.Provider, claim claim) (answer, error) {
	request, err := d.borneOut(from, claim)
	if err != nil {
		return answer{}, err
	}
	outcome, err := d.hub.Do(ctx, request)
	if err != nil {
		return answer{}, err
	}
	switch o := outcome.(type) {
	case fsm.Claimed:
		response, err := claimedResponse(o)
		if err != nil {
			return answer{}, err
		}
		return coded(response), nil
	case fsm.ClaimThrottled:
		return answer{}, throttled(o)
	case fsm.NotAllowed:
		return coded(mimi.KeyMaterialResponse{Status: mimi.KeyMaterialNoConsent, User: claim.target}), nil
	default:
		return answer{}, unexpected("a claim", outcome)
	}
}

// borneOut is the claim for the judge, unless its own parts show that it is not its requester's.
func (d *Desk) borneOut(from mimi.Provider, claim claim) (*judge.Claim, error) {
	request, err := judge.NewClaim(from, claim.target, claim.body, claim.idempotencyKey)
	if err != nil {
		return nil, err
	}
	if reason := request.Refusal(d.config.Settings()); reason != "" {
		return nil, notBorneOut("KeyMaterialRequest", reason)
	}
	return request, nil
}

// notBorneOut refuses a claim whose own parts do not show that it is the requester's. Nothing was looked up for it.
func notBorneOut(field, reason string) *Problem {
	return newProblem(http.StatusForbidden, problemNotBorneOut, field, reason)
}

// throttled is a claim that comes too soon. It is no answer of the draft's: none of its codes says that there may be KeyPackages later.
func throttled(o fsm.ClaimThrottled) *Problem {
	return newProblem(http.StatusTooManyRequests, problemTooMany, "KeyMaterialRequest.requestingUser", sentence(o.Reason)).after(waitOf(o))
}

// waitOf is how long a claim is too soon, never nothing.
func waitOf(o fsm.ClaimThrottled) time.Duration {
	return time.Duration(max(o.UntilMillis, o.NowMillis+1)-o.NowMillis) * time.Millisecond
}

// sentence makes a reason a sentence.
func sentence(reason string) string {
	if reason == "" {
		return ""
	}
	return strings.ToUpper(reason[:1]) + reason[1:] + "."
}

func claimedResponse(claimed fsm.Claimed) (mimi.KeyMaterialResponse, error) {
	response := mimi.KeyMaterialResponse{Status: claimed.Code, User: claimed.User}
	if !claimed.Code.ListsClients() {
		return response, nil
	}
	for _, client := range claimed.Clients {
		material := mimi.ClientKeyMaterial{Client: client.Client}
		switch client.Code {
		case mimi.KeyMaterialClientSuccess:
			keyPackage, err := mls.ParseKeyPackage(client.KeyPackage)
			if err != nil {
				return response, fmt.Errorf("stored KeyPackage of %s: %s", client.Client, err)
			}
			material.Material = mimi.ClaimedKeyPackage{KeyPackage: keyPackage}
		case mimi.KeyMaterialNothingCompatible:
			material.Material = mimi.NothingCompatible{}
		default:
			material.Material = mimi.MaterialExhausted{}
		}
		response.Clients = append(response.Clients, material)
	}
	return response, nil
}

// claimThere passes the request on byte for byte, but none that can be seen to be forged. The target's provider recognises it when it
// comes twice.
func (d *Desk) claimThere(ctx context.Context, from mimi.Provider, claim claim) (answer, error) {
	if _, err := d.borneOut(from, claim); err != nil {
		return answer{}, err
	}
	target := claim.target.Provider()
	reply, err := d.outbound.Post(ctx, target, KeyMaterialTarget(claim.target), claim.body, claim.idempotencyKey)
	if err != nil {
		return answer{}, err
	}
	if reply.OK() {
		return answer{status: http.StatusOK, contentType: mimi.MediaType, body: reply.Body}, nil
	}
	return answer{}, refusedUpstream(target, reply)
}

// badUpstream: another provider's answer cannot be read.
func badUpstream(provider mimi.Provider, err error) *Problem {
	return newProblem(http.StatusBadGateway, problemUpstream, "", fmt.Sprintf("The answer of %s cannot be used: %s.", provider, err))
}

// refusedUpstream: another provider answered with an error. One that asks for patience is passed on as such, and one that has been
// asked too often as that.
func refusedUpstream(provider mimi.Provider, reply *Reply) *Problem {
	failed := reply.StatusError(provider)
	status := http.StatusBadGateway
	switch reply.Status {
	case http.StatusTooManyRequests:
		return newProblem(reply.Status, problemTooMany, "", fmt.Sprintf("%s has been asked too often.", provider)).after(failed.RetryAfter)
	case http.StatusServiceUnavailable:
		status = reply.Status
	}
	return newProblem(status, problemUpstream, "", fmt.Sprintf("%s answered %d.", provider, reply.Status)).after(failed.RetryAfter)
}
