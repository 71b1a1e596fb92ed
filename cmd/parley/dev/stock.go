package dev

import (
	"context"
	"crypto/rand"
	"fmt"
	randv2 "math/rand/v2"
	"sync"

	"parley/mimi"
	"parley/mls"
)

// stock is the inventories that claimers drain, and how far they have come. Safe for concurrent use.
type stock struct {
	users []stockedUser
	total int // KeyPackages

	mu     sync.Mutex
	claims int          // KeyPackages that were handed out
	asked  int          // that may be handed out to claims that are under way
	gate   int          // claimers wait once so many are out; the rest is for after the next kill
	empty  map[int]bool // users of whom nothing is left
}

type stockedUser struct {
	user    mimi.UserURI
	clients []mimi.ClientURI
	each    int // KeyPackages of each client
}

func newStock(users, each int) *stock {
	s := &stock{users: stockedUsers("stocked", users, each), total: users * clientsPerUser * each, empty: make(map[int]bool)}
	s.gate = s.total
	return s
}

// stockedUsers are so many users of the hub, with clients that have so many KeyPackages each.
func stockedUsers(prefix string, n, each int) (users []stockedUser) {
	for i, user := range usersNamed(prefix, n) {
		one := stockedUser{user: user, each: each}
		for c := range clientsPerUser {
			uri, err := mimi.ParseClientURI(fmt.Sprintf("mimi://a.example/d/%s%d/%d", prefix, i, c))
			if err != nil {
				panic(err) // the names are this program's
			}
			one.clients = append(one.clients, uri)
		}
		users = append(users, one)
	}
	return users
}

// uploadersMax is how many upload side by side.
const uploadersMax = 8

// uploadAll brings the users' KeyPackages to the hub.
func uploadAll(ctx context.Context, hub *backend, users []stockedUser) error {
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
	for _, one := range users {
		todo <- one
	}
	close(todo)
	all.Wait()
	return context.Cause(ctx)
}

func (u stockedUser) upload(ctx context.Context, hub *backend) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	if err := hub.allowClaims(ctx, u.user); err != nil {
		return err
	}
	for _, client := range u.clients {
		key, err := mls.GenerateSigningKey(mls.Ed25519, rand.Reader)
		if err != nil {
			return err
		}
		var made [][]byte
		for range u.each {
			k, err := packageForClaims(client, key)
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

// drained reports whether nothing is left, or more was handed out than there was: that cannot end by itself.
func (s *stock) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.empty) == len(s.users) || s.claims > s.total
}

func (s *stock) any() stockedUser { return s.users[randv2.IntN(len(s.users))] }

// next are users of whom something may be left, at most so many; none where claims must not go on yet, or nothing is left at all. What
// they may give counts as out until gave or refused.
func (s *stock) next(most int) (users []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range randv2.Perm(len(s.users)) {
		if len(users) == most || s.gate < s.total && s.claims+s.asked >= s.gate {
			break
		}
		if !s.empty[i] {
			users = append(users, i)
			s.asked += clientsPerUser
		}
	}
	return users
}

// gave notes what a claim of a user came to; nothing: the user has no more.
func (s *stock) gave(user, packages int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked -= clientsPerUser
	s.claims += packages
	if packages == 0 {
		s.empty[user] = true
	}
}

// refused notes that a claim was not decided on, for its requester has had its share.
func (s *stock) refused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked -= clientsPerUser
}
