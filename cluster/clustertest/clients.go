package clustertest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"time"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/judge"
	"parley/mimi"
	"parley/mls"
)

const (
	epochsPerRoom = 40 // then the clients go on in a new room
	callTimeout   = 8 * time.Second
	thinkMean     = 2 * time.Second
)

// crowd is the clients of a world.
type crowd struct {
	world   *World
	history *history
	stop    context.Context
	wait    sync.WaitGroup

	stages [3]stage
	think  time.Duration // between two deeds, on average
}

// stage is a place for one room after the other. Whoever has the turn may use it; nobody waits for it with a mutex, since fake
// time does not pass over that.
type stage struct {
	turn  chan struct{} // capacity 1
	scene *scene
}

// scene is a room as the clients know it together.
type scene struct {
	mu      sync.Mutex
	room    *fsmtest.Room
	wanted  map[[32]byte]fsm.AcceptCommit // every Commit that somebody wants
	counter int
}

// client is one of the crowd. It belongs to one goroutine.
type client struct {
	*crowd
	number int
	random *rand.Rand
	twins  int // how many others it has been
}

func newCrowd(w *World, stop context.Context) *crowd {
	c := &crowd{world: w, history: newHistory(), stop: stop, think: thinkMean}
	for i := range c.stages {
		c.stages[i].turn = make(chan struct{}, 1)
	}
	return c
}

// start lets n clients in.
func (c *crowd) start(n int) {
	for i := range n {
		one := &client{crowd: c, number: i, random: rand.New(rand.NewPCG(c.world.seed, 100+uint64(i)))}
		c.wait.Go(one.run)
	}
}

func (c *client) run() {
	deeds := []func(){c.commit, c.commit, c.rush, c.message, c.message, c.claim, c.lease, c.look, c.foundAndLook}
	for c.stop.Err() == nil {
		deeds[c.random.IntN(len(deeds))]()
		c.sleep(time.Duration(c.random.ExpFloat64() * float64(c.think)))
	}
}

func (c *client) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.stop.Done():
	}
}

// somebody is a node that lives; nil where none does.
func (c *client) somebody() *life {
	all := c.world.alive()
	if len(all) == 0 {
		return nil
	}
	return all[c.random.IntN(len(all))]
}

// errLost: the node died before its answer could have reached anybody.
var errLost = fmt.Errorf("%w: the node died", fsm.ErrUnknownOutcome)

// ask brings a command to a node.
func (c *client) ask(l *life, command fsm.Command) (fsm.Outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	outcome, _, err := l.node.Propose(ctx, command)
	if l.dead.Load() {
		return nil, errLost
	}
	if malformed := (*mls.MalformedError)(nil); errors.As(err, &malformed) {
		c.world.violated("%T is called malformed: %v", command, err)
	}
	if err == nil {
		c.history.answer(strings.TrimPrefix(reflect.TypeOf(outcome).String(), "fsm."))
	} else if errors.Is(err, fsm.ErrNotProposed) {
		c.history.answer("not proposed")
	} else {
		c.history.answer("unknown")
	}
	return outcome, err
}

// decide asks, one node after the other, until somebody knows. nil: the clients were stopped first.
func (c *client) decide(command fsm.Command) fsm.Outcome {
	begun := time.Now()
	for c.stop.Err() == nil {
		if l := c.somebody(); l != nil {
			if outcome, err := c.ask(l, command); err == nil {
				c.history.took(time.Since(begun))
				return outcome
			}
		}
		c.sleep(time.Second / 4)
	}
	return nil
}

var people = []mimi.UserURI{user("alice"), user("bob"), user("carol")}

func user(name string) mimi.UserURI { return must(mimi.ParseUserURI("mimi://a.example/u/" + name)) }

// scene is one of the rooms that the clients are in now; nil if they were stopped first. The first to come into a new one founds
// it, and the others wait.
func (c *client) scene() *scene {
	at := &c.stages[c.random.IntN(len(c.stages))]
	select {
	case at.turn <- struct{}{}:
		defer func() { <-at.turn }()
	case <-c.stop.Done():
		return nil
	}
	if at.scene == nil || at.scene.over() {
		at.scene = c.found(fmt.Sprintf("room%d", c.random.Uint64()))
	}
	return at.scene
}

func (s *scene) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room.Epoch >= epochsPerRoom
}

func (c *client) found(name string) *scene {
	uri := must(mimi.ParseRoomURI("mimi://a.example/r/" + name))
	r := fsmtest.NewRoom(uri, 0, people, []mimi.Provider{local, peer})
	outcome := c.decide(r.Create())
	if outcome == nil {
		return nil
	}
	if _, yes := outcome.(fsm.Accepted); !yes {
		c.world.violated("the new room %s got %T", uri, outcome)
		return nil
	}
	r.Incarnation, r.Settings = c.world.entries.birth(uri), settingsVersion(c.somebody())
	return &scene{room: r, wanted: make(map[[32]byte]fsm.AcceptCommit)}
}

// settingsVersion is the newest that a node knows, 1 if there is none.
func settingsVersion(l *life) uint64 {
	if l == nil {
		return 1
	}
	_, version := l.node.Map().Settings()
	return version
}

// commit wants the room's next epoch.
func (c *client) commit() {
	s := c.scene()
	if s == nil {
		return
	}
	wanted := c.want(s)
	if c.random.IntN(8) == 0 {
		c.commitOnce(s, wanted)
		return
	}
	if c.random.IntN(6) == 0 { // the same Commit through two nodes at a time
		c.beside(func(twin *client) { twin.settle(s, wanted) })
	}
	c.settle(s, wanted)
}

// want makes a Commit of the room's present epoch that nobody else makes.
func (c *client) want(s *scene) fsm.AcceptCommit {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counter++
	wanted := s.room.Commit(fsmtest.Next{Label: fmt.Sprintf("client %d, %d", c.number, s.counter)})
	if c.random.IntN(50) == 0 { // more than an entry can hold
		wanted = fsmtest.Grown(wanted, 300, 1000)
	}
	s.wanted[wanted.CommitHash] = wanted
	return wanted
}

// rush lets several clients want the same epoch at the same time.
func (c *client) rush() {
	s := c.scene()
	if s == nil {
		return
	}
	var others sync.WaitGroup
	for range 1 + c.random.IntN(3) {
		wanted := c.want(s)
		others.Add(1)
		c.beside(func(rival *client) {
			defer others.Done()
			rival.settle(s, wanted)
		})
	}
	c.settle(s, c.want(s))
	others.Wait()
}

// beside does something as another client, at the same time.
func (c *client) beside(do func(*client)) {
	c.twins++
	other := &client{crowd: c.crowd, number: 1000*(1+c.number) + c.twins, random: rand.New(rand.NewPCG(c.random.Uint64(), 0))}
	c.wait.Go(func() { do(other) })
}

func (c *client) settle(s *scene, wanted fsm.AcceptCommit) {
	called := c.history.clock.Add(1)
	outcome := c.decide(wanted)
	c.learn(s, wanted, called, outcome)
}

// commitOnce asks one node once, and takes "not proposed" at its word.
func (c *client) commitOnce(s *scene, wanted fsm.AcceptCommit) {
	l := c.somebody()
	if l == nil {
		return
	}
	called := c.history.clock.Add(1)
	outcome, err := c.ask(l, wanted)
	if errors.Is(err, fsm.ErrNotProposed) {
		c.history.deny(wanted.CommitHash, l.id)
		return
	}
	c.learn(s, wanted, called, outcome)
}

// learn takes an answer into the history and the room's next state into the scene.
func (c *client) learn(s *scene, wanted fsm.AcceptCommit, called int64, outcome fsm.Outcome) {
	switch o := outcome.(type) {
	case nil, fsm.Accepted, fsm.WrongEpoch:
		c.history.commit(c.number, wanted.Room, attempt{wanted.Reads.Epoch, wanted.CommitHash}, called, outcome)
		s.advance(wanted, o)
	case fsm.ReadSetChanged: // the settings are others now
		version := settingsVersion(c.somebody())
		s.mu.Lock()
		defer s.mu.Unlock()
		s.room.Settings = version
	default:
		c.world.violated("a Commit of %s got %T", wanted.Room, outcome)
	}
}

func (s *scene) advance(wanted fsm.AcceptCommit, outcome fsm.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, lost := outcome.(fsm.WrongEpoch); lost {
		if _, known := s.wanted[o.Winner]; !known {
			return
		}
		wanted = s.wanted[o.Winner]
	} else if outcome == nil {
		return
	}
	if wanted.Reads.Epoch == s.room.Epoch {
		s.room.Advance(wanted)
	}
}

// message sends an application message of a recent epoch.
func (c *client) message() {
	s := c.scene()
	if s == nil {
		return
	}
	s.mu.Lock()
	s.counter++
	epoch := s.room.Epoch - mls.Epoch(min(uint64(c.random.IntN(3)), uint64(s.room.Epoch)))
	text := fmt.Sprintf("%d of client %d %s", s.counter, c.number, strings.Repeat("x", c.random.IntN(4000)))
	m := s.room.Message(text, epoch, people[c.random.IntN(len(people))])
	s.mu.Unlock()
	switch outcome := c.decide(m).(type) {
	case fsm.Accepted:
		c.history.accept(m.Room, m.Hash)
	case nil, fsm.EpochTooOld, fsm.NotAllowed:
	default:
		c.world.violated("a message of %s got %T", m.Room, outcome)
	}
}

// claim uploads KeyPackages or claims one.
func (c *client) claim() {
	owner := people[c.random.IntN(len(people))]
	if c.random.IntN(3) == 0 {
		c.upload(owner)
		return
	}
	var key [32]byte
	c.fill(key[:])
	command := fsm.ClaimKeyPackages{
		User: owner, Requester: people[0], Provider: peer, Suites: []mls.CipherSuite{1}, ReplayKey: key,
		ReplayMillis: 24 * 60 * 60 * 1000, // longer than anybody asks again
	}
	called := c.history.clock.Add(1)
	outcome := c.decide(command)
	c.history.claimedFrom(c.number, owner, key, called, outcome)
	claimed, ok := outcome.(fsm.Claimed)
	if !ok {
		if outcome != nil {
			c.world.violated("a claim of %s got %T", owner, outcome)
		}
		return
	}
	for _, one := range claimed.Clients {
		if one.Code == mimi.KeyMaterialClientSuccess && !c.history.claimed(one.Ref, key) {
			c.world.violated("KeyPackage %x was given to two claims", one.Ref)
		}
	}
}

func (c *client) fill(b []byte) {
	for i := range b {
		b[i] = byte(c.random.Uint32())
	}
}

func (c *client) upload(owner mimi.UserURI) {
	name := strings.TrimPrefix(owner.String(), "mimi://a.example/u/")
	upload := fsm.UploadKeyPackages{
		User: owner, Client: must(mimi.ParseClientURI("mimi://a.example/d/" + name + "/1")),
	}
	now := uint64(time.Now().Unix())
	for range 1 + c.random.IntN(5) {
		ref := make([]byte, 32)
		c.fill(ref)
		upload.Packages = append(upload.Packages, fsm.KeyPackageFacts{
			Ref: mls.KeyPackageRef(ref), Suite: 1, NotBefore: now - 86400*3, NotAfter: now + 86400*60, Message: append([]byte("KeyPackage "), ref...),
		})
	}
	called := c.history.clock.Add(1)
	c.history.uploadedTo(c.number, owner, upload, called, c.decide(upload))
}

// lease asks for a room's GroupInfo.
func (c *client) lease() {
	s := c.scene()
	if s == nil {
		return
	}
	who := people[c.random.IntN(len(people))]
	number := c.random.IntN(2)
	device := fmt.Sprintf("device %d", number)
	w := wish{holder: who.String() + " " + device, duration: uint64(5000 + 10_000*number)}
	command := fsm.TakeLease{Room: s.room.URI, Requester: who, Client: device, DurationMillis: w.duration}
	called := c.history.clock.Add(1)
	outcome := c.decide(command)
	c.history.lent(c.number, s.room.URI, w, called, outcome)
	g, ok := outcome.(fsm.LeaseGranted)
	if !ok {
		return
	}
	mine := granted{to: w.holder, epoch: g.Epoch, from: g.UntilMillis - w.duration, until: g.UntilMillis}
	if other, overlaps := c.history.lease(s.room.URI, g.Token, mine); overlaps {
		c.world.violated("%s: lease %d for %+v beside %+v", s.room.URI, g.Token, mine, other)
	}
}

// look asks any node for a room that is known to exist.
func (c *client) look() {
	s := c.scene()
	l := c.somebody()
	if s == nil || l == nil {
		return
	}
	c.lookAt(l, s)
}

func (c *client) lookAt(l *life, s *scene) {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	outcome, err := l.node.Do(ctx, must(judge.NewDescribeRoom(s.room.URI)))
	if err != nil || l.dead.Load() {
		return
	}
	if _, described := outcome.(fsm.RoomDescribed); !described {
		c.world.violated("%s says of %s, which exists: %T", l.id, s.room.URI, outcome)
	}
}

// foundAndLook opens a room and asks every node for it at once: whoever says that there is none is behind and does not know it.
func (c *client) foundAndLook() {
	s := c.found(fmt.Sprintf("new%d", c.random.Uint64()))
	if s == nil {
		return
	}
	for i, l := range c.world.alive() {
		c.beside(func(one *client) { one.lookAt(l, s) })
		if i%2 == 1 {
			c.sleep(time.Duration(c.random.IntN(1000)) * time.Millisecond)
		}
	}
}

func hashOf(message mls.MLSMessage) [32]byte { return sha256.Sum256(message.Marshal()) }
