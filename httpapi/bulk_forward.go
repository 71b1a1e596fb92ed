package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"sync"

	"parley/mimi"
	"parley/mls"
)

// singlesAtOnce bounds how many single claims of one bulk claim are on their way to a provider that takes no other.
const singlesAtOnce = 16

// claimAbroad asks other providers for their users, all at the same time.
func (d *Desk) claimAbroad(ctx context.Context, bulk bulk, abroad map[mimi.Provider][]mimi.UserURI, a *bulkAnswer) {
	ctx, cut := context.WithTimeout(ctx, d.patience.forward)
	defer cut()
	var work sync.WaitGroup
	for provider, targets := range abroad {
		work.Go(func() { d.claimFrom(ctx, provider, bulk, targets, a) })
	}
	work.Wait()
}

// claimThrough brings a bulk claim to the hub of its room. What the hub refuses as a whole comes back as it is.
func (d *Desk) claimThrough(ctx context.Context, hub mimi.Provider, bulk bulk) answer {
	ctx, cut := context.WithTimeout(ctx, d.patience.through)
	defer cut()
	targets := bulk.request.Targets()
	a := newBulkAnswer(targets)
	if refused := d.claimFrom(ctx, hub, bulk, targets, a); refused != nil {
		return relayed(refused)
	}
	return coded(a.within(bulkAnswerBytesMax))
}

// claimFrom asks one provider for targets of a bulk claim and settles their parts: as it came where it is signed once, otherwise with
// those requests alone that are for it. A provider that takes no bulk claims is sent them one by one. It returns a refusal of the whole, which
// the parts tell as well.
func (d *Desk) claimFrom(ctx context.Context, provider mimi.Provider, bulk bulk, targets []mimi.UserURI, a *bulkAnswer) (refused *Reply) {
	body, separate := bulk.body, mimi.SeparateClaims{}
	if all, ok := bulk.request.(mimi.SeparateClaims); ok {
		separate = requestsFor(all, targets)
		body = separate.Marshal()
	}
	reply, err := d.outbound.Post(ctx, provider, BulkKeyMaterialTarget(), body, bulk.idempotencyKey)
	switch {
	case errors.Is(err, errNotOffered) && bulk.request.Form() == mimi.BulkSignedOnce:
		a.putAll(targets, mimi.BulkUserMaterial{Status: mimi.BulkNotOffered})
		return nil
	case errors.Is(err, errNotOffered):
		d.claimOneByOne(ctx, provider, separate, bulk.idempotencyKey, a)
		return nil
	case err != nil:
		a.putAll(targets, notAnswered(err))
		return nil
	case !reply.OK():
		a.putAll(targets, answeredOtherwise(provider, reply))
		if reply.Status >= http.StatusBadRequest && reply.Status < http.StatusInternalServerError {
			refused = reply
		}
		return refused
	}
	response, err := mimi.ParseBulkKeyMaterialResponse(reply.Body)
	if err != nil {
		a.putAll(targets, mimi.BulkUserMaterial{Status: mimi.BulkFailed})
		return nil
	}
	a.take(targets, response)
	return nil
}

func requestsFor(all mimi.SeparateClaims, targets []mimi.UserURI) mimi.SeparateClaims {
	wanted := make(map[mimi.UserURI]bool, len(targets))
	for _, target := range targets {
		wanted[target] = true
	}
	var some mimi.SeparateClaims
	for _, request := range all.Requests {
		if wanted[request.TargetUser] {
			some.Requests = append(some.Requests, request)
		}
	}
	return some
}

// take settles targets as another provider has answered for them. One that it left out, or answered twice, has failed.
func (a *bulkAnswer) take(targets []mimi.UserURI, response mimi.BulkKeyMaterialResponse) {
	parts := make(map[mimi.UserURI]mimi.BulkUserMaterial, len(response.Users))
	for _, part := range response.Users {
		if _, twice := parts[part.User]; twice {
			part = mimi.BulkUserMaterial{Status: mimi.BulkFailed, User: part.User}
		}
		parts[part.User] = part
	}
	for _, target := range targets {
		part, answered := parts[target]
		if !answered {
			part = mimi.BulkUserMaterial{Status: mimi.BulkFailed}
		}
		a.put(target, part)
	}
}

// claimOneByOne sends single claims, as any provider takes them.
func (d *Desk) claimOneByOne(ctx context.Context, provider mimi.Provider, claims mimi.SeparateClaims, idempotencyKey string, a *bulkAnswer) {
	var work sync.WaitGroup
	turns := make(chan struct{}, singlesAtOnce)
	for _, request := range claims.Requests {
		turns <- struct{}{}
		work.Go(func() {
			defer func() { <-turns }()
			a.put(request.TargetUser, d.claimOne(ctx, provider, request, idempotencyKey))
		})
	}
	work.Wait()
}

func (d *Desk) claimOne(ctx context.Context, provider mimi.Provider, request mimi.KeyMaterialRequest, idempotencyKey string) mimi.BulkUserMaterial {
	key := keyOfOne(idempotencyKey, request.TargetUser)
	reply, err := d.outbound.Post(ctx, provider, KeyMaterialTarget(request.TargetUser), request.Marshal(), key)
	switch {
	case err != nil:
		return notAnswered(err)
	case !reply.OK():
		return answeredOtherwise(provider, reply)
	}
	response, err := mimi.ParseKeyMaterialResponse(reply.Body)
	if err != nil || response.User != request.TargetUser {
		return mimi.BulkUserMaterial{Status: mimi.BulkFailed}
	}
	return partOf(response)
}

// keyOfOne is the Idempotency-Key of a single claim that is made of a bulk claim: another for each target, since a provider may go by the
// key alone, and always the same for the same one.
func keyOfOne(idempotencyKey string, target mimi.UserURI) string {
	if idempotencyKey == "" {
		return ""
	}
	var w mls.Writer
	w.Opaque([]byte(idempotencyKey))
	w.Opaque([]byte(target.String()))
	hash := sha256.Sum256(w.Bytes())
	return hex.EncodeToString(hash[:])
}

// notAnswered is the part of users of whose provider nothing was heard.
func notAnswered(err error) mimi.BulkUserMaterial {
	var send *SendError
	if errors.As(err, &send) && !send.MaybeSent {
		return unavailablePart()
	}
	return undecidedPart()
}

// answeredOtherwise is the part of users whose provider answered with an error. 503 may be the word for an unknown outcome, as it is here.
func answeredOtherwise(provider mimi.Provider, reply *Reply) mimi.BulkUserMaterial {
	wait := max(reply.StatusError(provider).RetryAfter, retrySoon)
	switch {
	case reply.Status == http.StatusTooManyRequests:
		return mimi.BulkUserMaterial{Status: mimi.BulkThrottled, RetryAfterSeconds: seconds(wait)}
	case reply.Status >= http.StatusInternalServerError:
		part := undecidedPart()
		part.RetryAfterSeconds = seconds(wait)
		return part
	default:
		return mimi.BulkUserMaterial{Status: mimi.BulkFailed}
	}
}
