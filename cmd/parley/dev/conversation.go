package dev

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"parley/mimi"
	"parley/mls"
)

// stepMax is how long any step may take before the run is a failure; a failover takes part of it.
const stepMax = 30 * time.Second

// conversation plays the recorded conversation against two running providers: the hub, and the one that follows.
type conversation struct {
	recording *recording
	hub       *backend
	follower  *backend
	ledger    *ledger
	show      *show
	door      *peerDoor // to the hub's nodes, in the follower's name
	hubNodes  *operator // kills and restarts nodes of the hub, and asks who leads
	failover  time.Duration
	begun     time.Time      // the first claim is later
	killed    time.Time      // when a leader was killed for the first time; the last claim and the lease are earlier
	tail      []recordedStep // what the scenario has not played
	kills     int            // how often the scenario failover kills a leader in the tail
	// rival is a Commit for an epoch that won has taken; set once both have been played.
	won, rival recordedStep
}

func (c *conversation) room() mimi.RoomURI { return c.recording.Room.URI }

// both are the providers that follow the room once Bob is in.
func (c *conversation) both() []string {
	return []string{c.hub.provider.domain, c.follower.provider.domain}
}

func (c *conversation) backendOf(client *recordedClient) *backend {
	if client.URI.Provider().String() == c.hub.provider.domain {
		return c.hub
	}
	return c.follower
}

// play runs the whole conversation. Its error says what differed from what was expected.
func (c *conversation) play(ctx context.Context) error {
	c.begun = time.Now()
	for _, part := range []struct {
		heading string
		run     func(context.Context) error
	}{
		{"Meeting", c.meet},
		{"Talking, and joining from outside", c.talk},
		{"Two Commits race for one epoch", c.race},
	} {
		c.show.heading("%s", part.heading)
		if err := part.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// timed runs one step within stepMax.
func (c *conversation) timed(ctx context.Context, text string, run func(context.Context) ([]string, error)) error {
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	start := time.Now()
	details, err := run(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", text, err)
	}
	c.show.done(time.Since(start), text, details...)
	return nil
}

// act is a step with what is shown of it.
type act struct {
	text string
	run  func(context.Context) ([]string, error)
}

// inOrder runs steps until one fails.
func (c *conversation) inOrder(ctx context.Context, acts ...act) error {
	for _, a := range acts {
		if err := c.timed(ctx, a.text, a.run); err != nil {
			return err
		}
	}
	return nil
}

// meet: KeyPackages, a claim across providers, a room, and the Commit that brings Bob in.
func (c *conversation) meet(ctx context.Context) error {
	if err := c.inOrder(ctx,
		act{"Bob's three clients upload KeyPackages at " + c.follower.provider.domain, c.uploadAll},
		act{"Alice asks for Bob's KeyPackages, and he has not agreed yet", c.claimTooEarly},
		act{"Bob lets Alice add him to the room", c.consent},
		act{"Alice claims a KeyPackage for each of Bob's clients, across providers", c.claim},
		act{"Alice creates " + c.room().String(), c.create},
	); err != nil {
		return err
	}
	return c.send(ctx, c.recording.Steps[1], "Alice's Commit bundle adds Bob and two of his clients", c.both()...)
}

func (c *conversation) uploadAll(ctx context.Context) ([]string, error) {
	var details []string
	for _, name := range []string{"bob1", "bob2", "bob3"} {
		client, err := c.recording.client(name)
		if err != nil {
			return nil, err
		}
		stored, err := c.follower.upload(ctx, client.User, client.URI, client.packages())
		if err != nil {
			return nil, err
		}
		if stored != len(client.KeyPackages) {
			return nil, fmt.Errorf("%s: %d of %d KeyPackages were stored", name, stored, len(client.KeyPackages))
		}
		details = append(details, fmt.Sprintf("%s: %d KeyPackages", name, stored))
	}
	return details, nil
}

// claimTooEarly is refused, and burns nothing.
func (c *conversation) claimTooEarly(ctx context.Context) ([]string, error) {
	request, err := c.claimRequest()
	if err != nil {
		return nil, err
	}
	response, err := c.hub.claim(ctx, request)
	if err != nil {
		return nil, err
	}
	if response.Status != mimi.KeyMaterialNoConsent || len(response.Clients) > 0 {
		return nil, fmt.Errorf("the answer is %s with %d clients, not noConsent", response.Status, len(response.Clients))
	}
	return []string{"noConsent"}, nil
}

func (c *conversation) consent(ctx context.Context) ([]string, error) {
	request, err := c.claimRequest()
	if err != nil {
		return nil, err
	}
	return nil, c.follower.grant(ctx, request.TargetUser, request.RequestingUser, request.Room)
}

// claim asks twice with the same bytes: the second answer must be the first.
func (c *conversation) claim(ctx context.Context) ([]string, error) {
	request, err := c.claimRequest()
	if err != nil {
		return nil, err
	}
	first, err := c.hub.claim(ctx, request)
	if err != nil {
		return nil, err
	}
	if first.Status != mimi.KeyMaterialSuccess || len(first.Clients) != 3 {
		return nil, fmt.Errorf("the answer is %s with %d clients, not success with 3", first.Status, len(first.Clients))
	}
	again, err := c.hub.claim(ctx, request)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first.Marshal(), again.Marshal()) {
		return nil, errors.New("the same claim again got other KeyPackages")
	}
	return []string{"the same request again: the same three KeyPackages, none burnt"}, nil
}

func (c *conversation) claimRequest() (mimi.KeyMaterialRequest, error) {
	alice, err := c.recording.client("alice1")
	if err != nil {
		return mimi.KeyMaterialRequest{}, err
	}
	bob, err := c.recording.client("bob1")
	if err != nil {
		return mimi.KeyMaterialRequest{}, err
	}
	key, err := alice.signingKey()
	if err != nil {
		return mimi.KeyMaterialRequest{}, err
	}
	return mimi.KeyMaterialRequest{
		RequestingUser: alice.User, TargetUser: bob.User, Room: c.room(), Suites: []mls.CipherSuite{1},
		RequiredCapabilities: mls.RequiredCapabilities{
			Extensions:  []mls.ExtensionType{mls.ExtensionAppDataDictionary},
			Proposals:   []mls.ProposalType{mls.ProposalAppDataUpdate},
			Credentials: []mls.CredentialType{mls.CredentialBasic},
		},
		Credential: mls.BasicCredential{Identity: []byte(alice.URI.String())},
	}.Signed(key)
}

func (c *conversation) create(ctx context.Context) ([]string, error) {
	step := c.recording.Steps[0]
	alice, err := c.recording.sender(step)
	if err != nil {
		return nil, err
	}
	return nil, c.hub.createRoom(ctx, c.room(), alice.User, step.GroupInfo, step.RatchetTree)
}

// talk plays the rest of what comes before the race.
func (c *conversation) talk(ctx context.Context) error {
	for i, step := range c.recording.Steps[2:] {
		if step.Kind == kindExternalCommit {
			before := c.recording.Steps[2+i-1]
			text := fmt.Sprintf("%s asks for the GroupInfo of epoch %d", shortName(step.From), step.Epoch)
			err := c.timed(ctx, text, func(ctx context.Context) ([]string, error) { return c.lease(ctx, step, before) })
			if err != nil {
				return err
			}
		}
		if err := c.send(ctx, step, describe(step), c.both()...); err != nil {
			return err
		}
	}
	return nil
}

func describe(step recordedStep) string {
	who := shortName(step.From)
	switch step.Kind {
	case kindMessage:
		return fmt.Sprintf("%s: %s", who, step.Plaintext)
	case kindProposal:
		return fmt.Sprintf("%s proposes to rename the room", who)
	case kindExternalCommit:
		return fmt.Sprintf("%s joins by an external Commit", who)
	default:
		return fmt.Sprintf("%s commits, epoch %d → %d", who, step.Epoch, step.Epoch+1)
	}
}

// lease fetches the GroupInfo for an external join, through the joiner's own provider, and opens it as the joiner would.
func (c *conversation) lease(ctx context.Context, join, before recordedStep) ([]string, error) {
	joiner, err := c.recording.sender(join)
	if err != nil {
		return nil, err
	}
	suite, err := mls.CipherSuite(1).Suite()
	if err != nil {
		return nil, err
	}
	public, private, err := suite.GenerateHPKEKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := joiner.signingKey()
	if err != nil {
		return nil, err
	}
	request, err := mimi.GroupInfoRequest{
		Suite: 1, Credential: mls.BasicCredential{Identity: []byte(joiner.URI.String())}, HPKEKey: public,
	}.Signed(key)
	if err != nil {
		return nil, err
	}
	response, err := c.backendOf(joiner).groupInfo(ctx, c.room(), request)
	if err != nil {
		return nil, err
	}
	granted, ok := response.(mimi.GroupInfoGranted)
	if !ok {
		return nil, fmt.Errorf("the answer is %s", response.Code())
	}
	if !bytes.Equal(granted.HubSender.SignatureKey, c.recording.HubKey.Public) || !granted.VerifySignature() {
		return nil, errors.New("the answer is not signed by the hub")
	}
	opened, err := granted.Open(private)
	if err != nil {
		return nil, err
	}
	return c.compareGroupInfo(opened, before)
}

func (c *conversation) compareGroupInfo(opened mimi.GroupInfoRatchetTree, before recordedStep) ([]string, error) {
	info := mls.MLSMessage{Body: &opened.GroupInfo}.Marshal()
	tree, full := opened.Tree.(mimi.FullTree)
	if !bytes.Equal(info, before.GroupInfo) || !full || !bytes.Equal(tree.Encoded, before.RatchetTree) {
		return nil, errors.New("the GroupInfo or the tree is not what the last committer made")
	}
	return []string{fmt.Sprintf("sealed to the client, signed by the hub; GroupInfo %d bytes, tree %d bytes", len(info), len(tree.Encoded))}, nil
}

// send sends a step through the sender's own provider and records what was accepted.
func (c *conversation) send(ctx context.Context, step recordedStep, text string, to ...string) error {
	return c.timed(ctx, text, func(ctx context.Context) ([]string, error) { return nil, c.deliver(ctx, step, to...) })
}

func (c *conversation) deliver(ctx context.Context, step recordedStep, to ...string) error {
	if step.Kind == kindMessage {
		return c.say(ctx, step, to...)
	}
	response, err := c.handshake(ctx, nil, step)
	if err != nil {
		return err
	}
	if _, ok := response.Result.(mimi.UpdateSuccess); !ok {
		return fmt.Errorf("%s: %s: %s", step.Name, response.Result.Code(), response.Description)
	}
	c.recordHandshake(step, to...)
	return nil
}

func (c *conversation) recordHandshake(step recordedStep, to ...string) {
	if step.Kind == kindProposal {
		c.ledger.accept(step.Name, mls.ContentProposal, step.Proposal, to...)
		return
	}
	c.ledger.accept(step.Name, mls.ContentCommit, step.Commit, to...)
	if len(step.Welcome) > 0 {
		c.ledger.accept(step.Name+"'s Welcome", 0, step.Welcome, c.follower.provider.domain)
	}
}

func (c *conversation) say(ctx context.Context, step recordedStep, to ...string) error {
	sender, err := c.recording.sender(step)
	if err != nil {
		return err
	}
	message, err := mls.ParseMLSMessage(step.Message)
	if err != nil {
		return err
	}
	private, ok := message.Body.(*mls.PrivateMessage)
	if !ok {
		return fmt.Errorf("step %s is not a PrivateMessage", step.Name)
	}
	response, err := c.backendOf(sender).submit(ctx, c.room(), mimi.SubmitMessageRequest{Message: private, Sender: sender.User})
	if err != nil {
		return err
	}
	if _, ok := response.(mimi.SubmitAccepted); !ok {
		return fmt.Errorf("%s: %s", step.Name, response.Code())
	}
	c.ledger.accept(step.Name, mls.ContentApplication, step.Message, to...)
	return nil
}

// handshake sends a Commit or Proposal through one node of the sender's provider, or through any.
func (c *conversation) handshake(ctx context.Context, n *node, step recordedStep) (updated, error) {
	sender, err := c.recording.sender(step)
	if err != nil {
		return updated{}, err
	}
	bundle, err := step.bundle()
	if err != nil {
		return updated{}, err
	}
	return c.backendOf(sender).update(ctx, n, c.room(), bundle)
}

// race lets two Commits for one epoch loose at once, and goes on in the branch of the one that won.
func (c *conversation) race(ctx context.Context) error {
	alice, bob := c.recording.Race.Alice, c.recording.Race.Bob
	var aliceWon bool
	text := fmt.Sprintf("alice1 and bob1 both commit in epoch %d, through their own providers", alice.Epoch)
	err := c.timed(ctx, text, func(ctx context.Context) ([]string, error) {
		answers := make(chan struct {
			updated
			error
		}, 1)
		go func() {
			u, err := c.handshake(ctx, nil, bob)
			answers <- struct {
				updated
				error
			}{u, err}
		}()
		fromAlice, err := c.handshake(ctx, nil, alice)
		fromBob := <-answers
		if err := errors.Join(err, fromBob.error); err != nil {
			return nil, err
		}
		var details []string
		aliceWon, details, err = judgeRace(alice, bob, fromAlice, fromBob.updated)
		return details, err
	})
	if err != nil {
		return err
	}
	winner, rest := alice, c.recording.Branches.Alice
	if !aliceWon {
		winner, rest = bob, c.recording.Branches.Bob
	}
	c.recordHandshake(winner, c.both()...)
	return c.afterRace(ctx, rest)
}

func judgeRace(alice, bob recordedStep, fromAlice, fromBob updated) (aliceWon bool, details []string, err error) {
	_, aliceWon = fromAlice.Result.(mimi.UpdateSuccess)
	_, bobWon := fromBob.Result.(mimi.UpdateSuccess)
	if aliceWon == bobWon {
		return false, nil, fmt.Errorf("alice got %s and bob %s: exactly one must win", fromAlice.Result.Code(), fromBob.Result.Code())
	}
	winner, loser, lost := alice, "bob1", fromBob
	if bobWon {
		winner, loser, lost = bob, "alice1", fromAlice
	}
	if err := checkLost(lost, winner); err != nil {
		return false, nil, err
	}
	return aliceWon, []string{fmt.Sprintf("%s won; %s was told: wrongEpoch, the room is in epoch %d", shortName(winner.From), loser, winner.Epoch+1)}, nil
}

// checkLost holds an answer to what the loser of an epoch must be told.
func checkLost(lost updated, winner recordedStep) error {
	wrong, ok := lost.Result.(mimi.UpdateWrongEpoch)
	if !ok {
		return fmt.Errorf("the loser got %s: %s", lost.Result.Code(), lost.Description)
	}
	if wrong.Current <= winner.Epoch {
		return fmt.Errorf("the loser was told epoch %d", wrong.Current)
	}
	if hash := sha256.Sum256(winner.Commit); lost.winner != hex.EncodeToString(hash[:]) {
		return fmt.Errorf("the loser was told the winner %q, not %x", lost.winner, hash)
	}
	return nil
}
