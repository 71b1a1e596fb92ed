package dev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"parley/mimi"
	"parley/mls"
)

// ClaimBench is a provider of three nodes with users to claim from, for the comparison of bulk claims with single ones. One goroutine uses it.
type ClaimBench struct {
	run     *run
	backend *backend
	key     *mls.SigningKey
	claims  int // each is of another user and for another room, so that none is a retry and none meets a quota

	targets []mimi.UserURI
	clients [][]mimi.ClientURI // of each target
}

// NewClaimBench starts the provider with so many users, each with so many clients. Folder, Executable and Out of the options count. Close it.
func NewClaimBench(ctx context.Context, o Options, users, clients int) (_ *ClaimBench, err error) {
	recording, err := loadRecording()
	if err != nil {
		return nil, err
	}
	l, err := newLayout(o.Folder, o.Executable, providerSize{domain: "a.example", nodes: 3}, providerSize{domain: "b.example", nodes: 1})
	if err != nil {
		return nil, err
	}
	c := &ClaimBench{run: &run{layout: l, recording: recording, show: &show{out: o.Out}, out: o.Out}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := c.run.start(ctx); err != nil {
		return nil, err
	}
	if c.backend, err = newBackend(c.run.hub(), l.caPEM); err != nil {
		return nil, err
	}
	if c.key, err = mls.GenerateSigningKey(mls.Ed25519, rand.Reader); err != nil {
		return nil, err
	}
	if err := c.name(users, clients); err != nil {
		return nil, err
	}
	return c, c.each(ctx, uploadsAtOnce, c.consent)
}

func (c *ClaimBench) name(users, clients int) error {
	for i := range users {
		user, err := mimi.ParseUserURI(fmt.Sprintf("mimi://a.example/u/target%d", i))
		if err != nil {
			return err
		}
		var own []mimi.ClientURI
		for j := range clients {
			client, err := mimi.ParseClientURI(fmt.Sprintf("mimi://a.example/d/target%d/%d", i, j))
			if err != nil {
				return err
			}
			own = append(own, client)
		}
		c.targets, c.clients = append(c.targets, user), append(c.clients, own)
	}
	return nil
}

// consent lets everybody claim from a target.
func (c *ClaimBench) consent(ctx context.Context, i int) error {
	return c.backend.allowClaims(ctx, c.targets[i])
}

// Close stops the provider's processes.
func (c *ClaimBench) Close() error { return c.run.stop() }

// uploadsAtOnce is how many uploads are under way at the same time.
const uploadsAtOnce = 8

// Stock uploads so many KeyPackages for each client.
func (c *ClaimBench) Stock(ctx context.Context, each int) error {
	return c.each(ctx, uploadsAtOnce, func(ctx context.Context, i int) error {
		for _, client := range c.clients[i] {
			if err := c.upload(ctx, c.targets[i], client, each); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *ClaimBench) upload(ctx context.Context, user mimi.UserURI, client mimi.ClientURI, count int) error {
	key, err := mls.GenerateSigningKey(mls.Ed25519, rand.Reader)
	if err != nil {
		return err
	}
	var packages [][]byte
	for range count {
		k, err := packageForClaims(client, key)
		if err != nil {
			return err
		}
		packages = append(packages, k.Marshal())
	}
	stored, err := c.backend.upload(ctx, user, client, packages)
	if err == nil && stored != count {
		err = fmt.Errorf("%s: of %d KeyPackages %d were stored", client, count, stored)
	}
	return err
}

// packageForClaims is one whose private keys nobody has.
func packageForClaims(client mimi.ClientURI, key *mls.SigningKey) (mls.KeyPackage, error) {
	random := make([]byte, 64)
	if _, err := io.ReadFull(rand.Reader, random); err != nil {
		return mls.KeyPackage{}, err
	}
	now := uint64(time.Now().Unix())
	k := mls.KeyPackage{Suite: 1, InitKey: random[:32], Leaf: mls.LeafNode{
		EncryptionKey: random[32:], SignatureKey: key.Public(), Credential: mls.BasicCredential{Identity: []byte(client.String())},
		Capabilities: mls.Capabilities{
			Versions: []mls.Version{mls.MLS10}, Suites: []mls.CipherSuite{1}, Credentials: []mls.CredentialType{mls.CredentialBasic},
			Extensions: []mls.ExtensionType{mls.ExtensionAppDataDictionary}, Proposals: []mls.ProposalType{mls.ProposalAppDataUpdate},
		},
		Source: mls.Lifetime{NotBefore: now - 3600, NotAfter: now + 30*24*3600},
	}}
	if err := k.Leaf.Sign(key, mls.LeafPlace{}); err != nil {
		return mls.KeyPackage{}, err
	}
	return k, k.Sign(key)
}

// each does something for every target, for at most so many at the same time. It returns the first error of each.
func (c *ClaimBench) each(ctx context.Context, atOnce int, do func(ctx context.Context, i int) error) error {
	var work sync.WaitGroup
	wrong := make([]error, len(c.targets))
	turns := make(chan struct{}, atOnce)
	for i := range c.targets {
		turns <- struct{}{}
		work.Go(func() {
			defer func() { <-turns }()
			wrong[i] = do(ctx, i)
		})
	}
	work.Wait()
	return errors.Join(wrong...)
}

// next is who claims now, and for which room.
func (c *ClaimBench) next() (user mimi.UserURI, room mimi.RoomURI, credential mls.Credential, err error) {
	c.claims++
	user, wrongUser := mimi.ParseUserURI(fmt.Sprintf("mimi://a.example/u/claimer%d", c.claims))
	room, wrongRoom := mimi.ParseRoomURI(fmt.Sprintf("mimi://a.example/r/claims%d", c.claims))
	return user, room, mls.BasicCredential{Identity: []byte(user.String())}, errors.Join(wrongUser, wrongRoom)
}

// Bulk claims one KeyPackage of each client of all users in one request, and returns how long the answer took.
func (c *ClaimBench) Bulk(ctx context.Context) (time.Duration, error) {
	user, room, credential, err := c.next()
	if err != nil {
		return 0, err
	}
	claim, err := mimi.SignedBulkClaim{RequestingUser: user, TargetUsers: c.targets, Room: room, Credential: credential}.Signed(c.key)
	if err != nil {
		return 0, err
	}
	body := claim.Marshal()
	began := time.Now()
	reply, err := c.backend.octets(ctx, nil, "/v1/bulkKeyMaterial", body)
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	response, err := mimi.ParseBulkKeyMaterialResponse(reply.body)
	if err != nil {
		return 0, err
	}
	for i, part := range response.Users {
		if part.Status != mimi.BulkUserCode(mimi.KeyMaterialSuccess) || len(part.Clients) != len(c.clients[i]) {
			return 0, fmt.Errorf("%s: %s, %d clients", part.User, part.Status, len(part.Clients))
		}
	}
	if len(response.Users) != len(c.targets) {
		return 0, fmt.Errorf("%d of %d users were answered", len(response.Users), len(c.targets))
	}
	return took, nil
}

// Singles claims the same with a request for each user, so many at the same time, and returns how long all answers took.
func (c *ClaimBench) Singles(ctx context.Context, atOnce int) (time.Duration, error) {
	user, room, credential, err := c.next()
	if err != nil {
		return 0, err
	}
	requests := make([]mimi.KeyMaterialRequest, len(c.targets))
	for i, target := range c.targets {
		requests[i], err = mimi.KeyMaterialRequest{
			RequestingUser: user, TargetUser: target, Room: room, Suites: []mls.CipherSuite{1}, Credential: credential,
		}.Signed(c.key)
		if err != nil {
			return 0, err
		}
	}
	began := time.Now()
	err = c.each(ctx, atOnce, func(ctx context.Context, i int) error {
		response, err := c.backend.claim(ctx, requests[i])
		if err == nil && (response.Status != mimi.KeyMaterialSuccess || len(response.Clients) != len(c.clients[i])) {
			err = fmt.Errorf("%s: %s, %d clients", response.User, response.Status, len(response.Clients))
		}
		return err
	})
	return time.Since(began), err
}
