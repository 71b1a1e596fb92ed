package dev

import (
	"context"
	"crypto/rand"
	"fmt"
	randv2 "math/rand/v2"
	"net/http"
	"time"

	"parley/mimi"
	"parley/mls"
)

// claimer claims KeyPackages, of several users in one request, until there are none.
type claimer struct {
	*contest
	user  mimi.UserURI
	key   *mls.SigningKey
	count int
}

// targetsMax is how many users one request names at most.
const targetsMax = 4

func (c *claimer) run(ctx context.Context) (err error) {
	if c.key, err = mls.GenerateSigningKey(mls.Ed25519, rand.Reader); err != nil {
		return err
	}
	for !c.over(ctx) && !c.stock.drained() {
		users := c.stock.next(1 + randv2.IntN(targetsMax))
		if len(users) == 0 {
			c.pause(ctx, 10*time.Millisecond)
			continue
		}
		if err := c.turn(ctx, users); err != nil {
			return fmt.Errorf("a claim of %s: %w", c.user, err)
		}
	}
	return nil
}

// turn claims the users' KeyPackages, and asks another node for the same claim again. What took nothing is decided anew, so only the
// answers that gave something are compared.
func (c *claimer) turn(ctx context.Context, users []int) error {
	c.count++
	request, err := c.request(users)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s %d", shortName(c.user), c.count)
	first, err := c.claimOnce(ctx, nil, key, request)
	if err != nil {
		return err
	}
	again, err := c.claimOnce(ctx, c.hub.otherThan(first[0].node), key, request)
	if err != nil {
		return err
	}
	for i, user := range users {
		if first[i].throttled {
			c.stock.refused()
			continue
		}
		c.stock.gave(user, len(first[i].packages))
		if len(first[i].packages) > 0 {
			c.answers.compare(fmt.Sprintf("the claim %q", first[i].key), first[i].String(), again[i].String(), first[i].node, again[i].node)
		}
	}
	return nil
}

func (c *claimer) request(users []int) (mimi.SignedBulkClaim, error) {
	claim := mimi.SignedBulkClaim{
		RequestingUser: c.user, Suites: []mls.CipherSuite{arenaSuite}, Credential: mls.BasicCredential{Identity: []byte(c.user.String())},
	}
	for _, user := range users {
		claim.TargetUsers = append(claim.TargetUsers, c.stock.users[user].user)
	}
	return claim.Signed(c.key)
}

// claimOnce asks for one KeyPackage of each client of each user until everything is decided, and notes the answers.
func (c *contest) claimOnce(ctx context.Context, at *node, key string, request mimi.SignedBulkClaim) (told []claimAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	err = until(ctx, "have the claim "+key+" decided", func(ctx context.Context) error {
		reply, err := c.ask(ctx, call{
			method: http.MethodPost, path: "/v1/bulkKeyMaterial", body: request.Marshal(), media: mediaOctets, node: at, idempotencyKey: key,
		})
		if err != nil {
			return err
		}
		told, err = readClaimAnswers(key, request.TargetUsers, reply)
		for _, one := range told {
			c.answers.claimed(one)
		}
		return err
	})
	return told, err
}
