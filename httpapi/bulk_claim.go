package httpapi

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"parley/fsm"
	"parley/fsm/judge"
	"parley/mimi"
)

// claimMany decides a bulk claim: each local user in its own slot, all at the same time, and with forward other providers' users by asking
// those. A part that is not decided in time is answered as such; the rest does not wait for it. Before anything is given out the room
// remembers where it went. faults are errors of this node that befell single parts, for the log.
func (d *Desk) claimMany(ctx context.Context, from mimi.Provider, bulk bulk, forward bool) (_ answer, faults, err error) {
	requests, err := d.partsHere(from, bulk)
	if err != nil {
		return answer{}, nil, err
	}
	targets := bulk.request.Targets()
	a := newBulkAnswer(targets)
	var work sync.WaitGroup
	failures := make([]error, len(targets))
	here, cut := context.WithTimeout(ctx, d.patience.decide)
	defer cut()
	abroad := map[mimi.Provider][]mimi.UserURI{}
	for i, target := range targets {
		request, local := requests[target]
		switch {
		case local:
			work.Go(func() {
				var part mimi.BulkUserMaterial
				part, failures[i] = d.claimPart(here, request)
				a.put(target, part)
			})
		case forward:
			abroad[target.Provider()] = append(abroad[target.Provider()], target)
		default:
			a.put(target, mimi.BulkUserMaterial{Status: mimi.BulkElsewhere})
		}
	}
	d.claimAbroad(ctx, bulk, abroad, a)
	work.Wait()
	faults = errors.Join(errors.Join(failures...), d.recordBulkRoutes(ctx, bulk.request.ForRoom(), a))
	return coded(a.within(bulkAnswerBytesMax)), faults, nil
}

// partsHere makes a request for each local target. Nothing is decided yet, and nothing will be for a claim that is not its requester's: then
// the error is a *Problem with the reason.
func (d *Desk) partsHere(from mimi.Provider, bulk bulk) (map[mimi.UserURI]judge.Request, error) {
	switch request := bulk.request.(type) {
	case mimi.SignedBulkClaim:
		return d.partsOfOne(from, bulk, request)
	case mimi.SeparateClaims:
		return d.partsOfSeveral(from, bulk, request)
	default:
		return nil, fmt.Errorf("a bulk claim of the form %s", bulk.request.Form())
	}
}

func (d *Desk) partsOfOne(from mimi.Provider, bulk bulk, claim mimi.SignedBulkClaim) (map[mimi.UserURI]judge.Request, error) {
	whole, err := judge.NewBulkClaim(from, bulk.body, bulk.idempotencyKey)
	if err != nil {
		return nil, err
	}
	if reason := whole.Refusal(d.config.Settings()); reason != "" {
		return nil, notBorneOut("BulkKeyMaterialRequest.claim", reason)
	}
	parts := map[mimi.UserURI]judge.Request{}
	for _, target := range claim.TargetUsers {
		if !d.isOurs(target.Provider()) {
			continue
		}
		if parts[target], err = whole.For(target); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// partsOfSeveral checks those for other providers as well: a hub passes nothing on that it can see to be forged.
func (d *Desk) partsOfSeveral(from mimi.Provider, bulk bulk, claims mimi.SeparateClaims) (map[mimi.UserURI]judge.Request, error) {
	parts := map[mimi.UserURI]judge.Request{}
	for i, request := range claims.Requests {
		claim, err := judge.NewClaim(from, request.TargetUser, request.Marshal(), bulk.idempotencyKey)
		if err != nil {
			return nil, err
		}
		if reason := claim.Refusal(d.config.Settings()); reason != "" {
			return nil, notBorneOut(fmt.Sprintf("BulkKeyMaterialRequest.requests[%d]", i), reason)
		}
		if d.isOurs(request.TargetUser.Provider()) {
			parts[request.TargetUser] = claim
		}
	}
	return parts, nil
}

// claimPart has the cluster decide one target's part. A fault of this node leaves it open whether something was taken.
func (d *Desk) claimPart(ctx context.Context, request judge.Request) (_ mimi.BulkUserMaterial, fault error) {
	outcome, err := d.hub.Do(ctx, request)
	switch {
	case errors.Is(err, fsm.ErrUnknownOutcome):
		return undecidedPart(), nil
	case errors.Is(err, fsm.ErrNotProposed), errors.Is(err, fsm.ErrOverloaded):
		return unavailablePart(), nil
	case err != nil:
		return undecidedPart(), err
	}
	switch o := outcome.(type) {
	case fsm.Claimed:
		response, err := claimedResponse(o)
		if err != nil {
			return undecidedPart(), err
		}
		return partOf(response), nil
	case fsm.ClaimThrottled:
		return mimi.BulkUserMaterial{Status: mimi.BulkThrottled, RetryAfterSeconds: seconds(waitOf(o))}, nil
	case fsm.NotAllowed:
		return mimi.BulkUserMaterial{Status: mimi.BulkUserCode(mimi.KeyMaterialNoConsent)}, nil
	default:
		return undecidedPart(), unexpected("a part of a bulk claim", outcome)
	}
}

// partOf is a single claim's answer as a part.
func partOf(response mimi.KeyMaterialResponse) mimi.BulkUserMaterial {
	return mimi.BulkUserMaterial{Status: mimi.BulkUserCode(response.Status), User: response.User, Clients: response.Clients}
}
