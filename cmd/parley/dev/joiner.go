package dev

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	randv2 "math/rand/v2"
	"net/http"
	"time"

	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// joiner is a participant that asks again and again for the GroupInfo of its room, which one client at a time is lent, and where others
// commit joins with what it was lent.
type joiner struct {
	*contest
	arena   *arena
	user    mimi.UserURI
	number  int // among the room's joiners
	commits bool
	client  *mlstest.Client // made with its first Commit
	private []byte          // to which the GroupInfo is encrypted
	request []byte
	holder  string
}

func (j *joiner) run(ctx context.Context) error {
	if err := j.prepare(); err != nil {
		return err
	}
	for !j.over(ctx) {
		if err := j.turn(ctx); err != nil {
			return fmt.Errorf("%s wants to join %s: %w", j.user, j.arena.room, err)
		}
		j.pause(ctx, time.Duration((1+randv2.ExpFloat64())*float64(100*time.Millisecond)))
	}
	return nil
}

func (j *joiner) prepare() error {
	suite, err := arenaSuite.Suite()
	if err != nil {
		return err
	}
	public, private, err := suite.GenerateHPKEKey(rand.Reader)
	if err != nil {
		return err
	}
	key, err := mls.GenerateSigningKey(suite.Scheme, rand.Reader)
	if err != nil {
		return err
	}
	request, err := mimi.GroupInfoRequest{
		Suite: arenaSuite, Credential: mls.BasicCredential{Identity: []byte(j.user.String())}, HPKEKey: public,
	}.Signed(key)
	j.private, j.request, j.holder = private, request.Marshal(), j.user.String()
	return err
}

// turn asks, and where it is lent the GroupInfo asks another node again: it has the lease, so it must get the same. Then it may join.
func (j *joiner) turn(ctx context.Context) error {
	first, granted, err := j.lease(ctx, nil)
	if err != nil || !granted {
		return err
	}
	again, granted, err := j.lease(ctx, j.hub.otherThan(first.node))
	if err == nil && granted && again.epoch == first.epoch {
		j.answers.compare(fmt.Sprintf("the lease of epoch %d of %s for %s", first.epoch, j.arena.room, j.user),
			fmt.Sprintf("%x", first.lent), fmt.Sprintf("%x", again.lent), first.node, again.node)
	}
	if err != nil || !j.commits {
		return err
	}
	return j.join(ctx, first.epoch)
}

// join wants the epoch that was lent. Members may have been faster: a lease does not hold them up.
func (j *joiner) join(ctx context.Context, epoch mls.Epoch) error {
	if epoch > 0 {
		select {
		case <-j.arena.beyond(epoch - 1): // the room's others may not know of it yet
		case <-j.finished:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
	wanted, err := j.arena.join(j, epoch)
	if err != nil {
		return err
	}
	_, err = j.commitTwice(ctx, j.arena, wanted)
	return err
}

// lease asks once; granted is false where another has the GroupInfo.
func (j *joiner) lease(ctx context.Context, at *node) (told leaseAnswer, granted bool, err error) {
	sent := time.Now()
	reply, err := j.ask(ctx, call{
		method: http.MethodPost, path: "/v1/rooms/" + mimi.PathSegment(j.arena.room) + "/groupInfo", body: j.request, media: mediaOctets, node: at,
	})
	if err != nil {
		return told, false, err
	}
	if reply.status == http.StatusTooManyRequests {
		j.answers.refusedLease()
		return told, false, nil
	}
	told, err = j.open(reply)
	if err != nil {
		return told, false, err
	}
	told.sent, told.received = sent, time.Now()
	j.answers.leased(told)
	return told, true, nil
}

// open decrypts what the hub lends.
func (j *joiner) open(r reply) (leaseAnswer, error) {
	told := leaseAnswer{room: j.arena.room, holder: j.holder, node: r.node}
	if r.status != http.StatusOK {
		return told, fmt.Errorf("%s answered %d: %s", r.node.ID, r.status, bytes.TrimSpace(r.body))
	}
	response, err := mimi.ParseGroupInfoResponse(r.body)
	if err != nil {
		return told, err
	}
	given, ok := response.(mimi.GroupInfoGranted)
	if !ok {
		return told, fmt.Errorf("%s answered %s", r.node.ID, response.Code())
	}
	if !bytes.Equal(given.HubSender.SignatureKey, j.hubKey) || !given.VerifySignature() {
		return told, errors.New("the answer is not signed by the hub")
	}
	opened, err := given.Open(j.private)
	if err != nil {
		return told, err
	}
	tree, full := opened.Tree.(mimi.FullTree)
	if !full {
		return told, errors.New("the tree is not there")
	}
	told.epoch, told.lent = opened.GroupInfo.Context.Epoch, lentHash(opened.GroupInfo, tree.Encoded)
	return told, nil
}
