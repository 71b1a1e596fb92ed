package dev

import (
	"context"
	"crypto/rand"
	"fmt"
	randv2 "math/rand/v2"
	"net/http"
	"sync"
	"time"

	"parley/mimi"
	"parley/mls"
)

// stock is the inventories that claimers drain, and how far they have come. Safe for concurrent use.
type stock struct {
	users []stockedUser
	total int // KeyPackages

	mu     sync.Mutex
	claims int          // KeyPackages that were handed out
	gate   int          // claimers wait once so many are out; the rest is for after the next kill
	empty  map[int]bool // users of whom nothing is left
}

type stockedUser struct {
	user    mimi.UserURI
	clients []mimi.ClientURI
	each    int // KeyPackages of each client
}

func newStock(users, each int) *stock {
	s := &stock{total: users * clientsPerUser * each, empty: make(map[int]bool)}
	s.gate = s.total
	for i, user := range usersNamed("stocked", users) {
		one := stockedUser{user: user, each: each}
		for c := range clientsPerUser {
			uri, err := mimi.ParseClientURI(fmt.Sprintf("mimi://a.example/d/stocked%d/%d", i, c))
			if err != nil {
				panic(err) // the names are this program's
			}
			one.clients = append(one.clients, uri)
		}
		s.users = append(s.users, one)
	}
	return s
}

// uploadersMax is how many upload side by side.
const uploadersMax = 8

// upload brings all KeyPackages to the hub.
func (s *stock) upload(ctx context.Context, hub *backend) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	todo := make(chan stockedUser)
	var all sync.WaitGroup
	for range uploadersMax {
		all.Go(func() {
			for one := range todo {
				if err := one.upload(ctx, hub); err != nil {
					fail(err)
				}
			}
		})
	}
	for _, one := range s.users {
		todo <- one
	}
	close(todo)
	all.Wait()
	return context.Cause(ctx)
}

func (u stockedUser) upload(ctx context.Context, hub *backend) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	for _, client := range u.clients {
		key, err := mls.GenerateSigningKey(mls.Ed25519, rand.Reader)
		if err != nil {
			return err
		}
		var made [][]byte
		for range u.each {
			k, err := newKeyPackage(client, key)
			if err != nil {
				return err
			}
			made = append(made, k.Marshal())
		}
		stored, err := hub.upload(ctx, u.user, client, made)
		if err != nil {
			return err
		}
		if stored != u.each {
			return fmt.Errorf("%s: %d of %d KeyPackages were stored", client, stored, u.each)
		}
	}
	return nil
}

// newKeyPackage makes one whose private halves nobody has.
func newKeyPackage(client mimi.ClientURI, key *mls.SigningKey) (mls.KeyPackage, error) {
	random := make([]byte, 64)
	rand.Read(random) // never fails
	k := mls.KeyPackage{Suite: arenaSuite, InitKey: random[:32], Leaf: mls.LeafNode{
		EncryptionKey: random[32:], SignatureKey: key.Public(),
		Credential: mls.BasicCredential{Identity: []byte(client.String())},
		Capabilities: mls.Capabilities{
			Versions: []mls.Version{mls.MLS10}, Suites: []mls.CipherSuite{arenaSuite}, Credentials: []mls.CredentialType{mls.CredentialBasic},
			Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
		},
		Source: lifetimeAround(time.Now()),
	}}
	if err := k.Leaf.Sign(key, mls.LeafPlace{}); err != nil {
		return k, err
	}
	return k, k.Sign(key)
}

// share is a part of all KeyPackages, counted in claims of one for each client.
func (s *stock) share(part, of int) int { return min(s.total*part/of, s.total) }

// open lets claims go on until so many are out.
func (s *stock) open(gate int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gate = gate
}

// taken counts what is out.
func (s *stock) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims
}

func (s *stock) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.empty) == len(s.users)
}

func (s *stock) any() stockedUser { return s.users[randv2.IntN(len(s.users))] }

// next is a user of whom something may be left; wait where claims must not go on yet, none where nothing is left.
func (s *stock) next() (user int, wait, none bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.empty) == len(s.users) {
		return 0, false, true
	}
	if s.claims >= s.gate && s.gate < s.total {
		return 0, true, false
	}
	for i := randv2.IntN(len(s.users)); ; i = (i + 1) % len(s.users) {
		if !s.empty[i] {
			return i, false, false
		}
	}
}

// gave notes what a claim of a user came to; nothing: the user has no more.
func (s *stock) gave(user, packages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claims += packages
	if packages == 0 {
		s.empty[user] = true
	}
}

// claimer claims KeyPackages until there are none.
type claimer struct {
	*contest
	user  mimi.UserURI
	key   *mls.SigningKey
	count int
}

func (c *claimer) run(ctx context.Context) (err error) {
	if c.key, err = mls.GenerateSigningKey(mls.Ed25519, rand.Reader); err != nil {
		return err
	}
	for !c.over(ctx) {
		user, wait, none := c.stock.next()
		if none {
			return nil
		}
		if wait {
			c.pause(ctx, 10*time.Millisecond)
			continue
		}
		if err := c.turn(ctx, user); err != nil {
			return fmt.Errorf("a claim of %s: %w", c.user, err)
		}
	}
	return nil
}

// turn claims one user's KeyPackages, and asks another node for the same claim again.
func (c *claimer) turn(ctx context.Context, user int) error {
	c.count++
	key := fmt.Sprintf("%s %d", shortName(c.user), c.count)
	first, err := c.claim(ctx, nil, user, key)
	if err != nil {
		return err
	}
	c.stock.gave(user, len(first.packages))
	if len(first.packages) == 0 {
		return nil // what took nothing is decided anew
	}
	again, err := c.claim(ctx, c.otherThan(first.node), user, key)
	if err != nil {
		return err
	}
	c.answers.compare(fmt.Sprintf("the claim %q", key), string(first.body), string(again.body), first.node, again.node)
	return nil
}

// claim asks for one KeyPackage of each client of a user, and notes the answer.
func (c *claimer) claim(ctx context.Context, at *node, user int, key string) (claimAnswer, error) {
	request, err := mimi.KeyMaterialRequest{
		RequestingUser: c.user, TargetUser: c.stock.users[user].user, Suites: []mls.CipherSuite{arenaSuite},
		Credential: mls.BasicCredential{Identity: []byte(c.user.String())},
	}.Signed(c.key)
	if err != nil {
		return claimAnswer{}, err
	}
	reply, err := c.ask(ctx, call{
		method: http.MethodPost, path: "/v1/keyMaterial/" + mimi.PathSegment(request.TargetUser), body: request.Marshal(), media: mediaOctets,
		node: at, idempotencyKey: key,
	})
	if err != nil {
		return claimAnswer{}, err
	}
	told, err := readClaimAnswer(key, reply)
	if err == nil {
		c.answers.claimed(told)
	}
	return told, err
}
