package dev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// guestKeyPackages is how many each client of a guest has.
const guestKeyPackages = 5

// guest is a participant whom one member brings into the group and takes out of it again, with KeyPackages that it claims for the room.
// That member's racer alone uses it.
type guest struct {
	stockedUser
	held  []mls.KeyPackage // claimed, one of each client, and in no accepted Commit yet
	spent bool             // there are no more to be had
}

// invitations are for whom a Welcome with what is held is.
func (g *guest) invitations() (list []invitation, err error) {
	for _, k := range g.held {
		ref, err := k.Ref()
		if err != nil {
			return nil, err
		}
		identity, basic := k.Leaf.Credential.(mls.BasicCredential)
		at := slices.IndexFunc(g.clients, func(c mimi.ClientURI) bool { return basic && c.String() == string(identity.Identity) })
		if at < 0 {
			return nil, fmt.Errorf("a KeyPackage that was given for %s is of none of its clients", g.user)
		}
		list = append(list, invitation{ref: ref, user: g.user, client: g.clients[at]})
	}
	return list, nil
}

// provide claims KeyPackages of the guest for the room, through two nodes, unless some are held. Without any it is spent: none are left,
// or the room has had its share of them for a while.
func (r *racer) provide(ctx context.Context) (err error) {
	g := r.guest
	if len(g.held) > 0 || g.spent {
		return nil
	}
	if r.key == nil {
		if r.key, err = mls.GenerateSigningKey(mls.Ed25519, rand.Reader); err != nil {
			return err
		}
	}
	r.claims++
	user := r.arena.members[r.leaf]
	request, err := mimi.SignedBulkClaim{
		RequestingUser: user, TargetUsers: []mimi.UserURI{g.user}, Room: r.arena.room, Suites: []mls.CipherSuite{arenaSuite},
		Credential: mls.BasicCredential{Identity: []byte(user.String())},
	}.Signed(r.key)
	if err != nil {
		return err
	}
	key := fmt.Sprintf("%s for its room, %d", shortName(user), r.claims)
	first, err := r.claimOnce(ctx, nil, key, request)
	if err != nil {
		return err
	}
	again, err := r.claimOnce(ctx, r.hub.otherThan(first[0].node), key, request)
	if err != nil {
		return err
	}
	if len(first[0].packages) == 0 {
		g.spent = true
		return nil
	}
	r.answers.compare(fmt.Sprintf("the claim %q", first[0].key), first[0].String(), again[0].String(), first[0].node, again[0].node)
	if g.held = first[0].given; len(g.held) != clientsPerUser {
		return errors.New("a guest gave KeyPackages of some of its clients only")
	}
	return nil
}
