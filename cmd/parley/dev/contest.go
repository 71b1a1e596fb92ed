package dev

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley/fsm"
	"parley/mls"
)

// scenarioExclusive is the contest for what can be had once.
const scenarioExclusive = "exclusive"

// Exclusive says how large the scenario exclusive is.
type Exclusive struct {
	Rooms       int           // in which Commits race; half as many more, at least one, have joiners alone
	Racers      int           // over all these rooms
	Joiners     int           // over all rooms
	Claimers    int           // at once
	Users       int           // whose inventories are drained
	KeyPackages int           // of each of a user's two clients
	Epochs      int           // that each room goes through at least
	AtMost      time.Duration // for the contest, without start and account
}

// ExclusiveDefault is the long form.
func ExclusiveDefault() Exclusive {
	return Exclusive{
		Rooms: 8, Racers: 64, Joiners: 32, Claimers: 64, Users: 200, KeyPackages: 10, Epochs: 40, AtMost: 10 * time.Minute,
	}
}

// Validate says what is wrong.
func (e Exclusive) Validate() error {
	switch {
	case e.Rooms < 1 || e.Racers < e.Rooms || e.Claimers < 1 || e.Joiners < 1:
		return errors.New("there must be a room, a racer for each, a claimer and a joiner")
	case e.Users < 1 || e.KeyPackages < 1 || e.KeyPackages > 200:
		return errors.New("there must be a user, with 1 to 200 KeyPackages a client")
	case e.Epochs < 1 || e.AtMost <= 0:
		return errors.New("there must be an epoch, and time")
	}
	return nil
}

// clientsPerUser is how many KeyPackages a claim takes.
const clientsPerUser = 2

// contest is the scenario exclusive: clients contend for epochs, KeyPackages and leases while leaders are killed. It ends when every
// inventory is drained, every room has had its epochs, somebody was brought in, was taken out and has joined, and every kill is done.
type contest struct {
	size     Exclusive
	kills    int
	hub      *backend
	nodes    *operator // used by the killer alone while the contest runs
	show     *show
	answers  *answers
	beside   []work // that others do meanwhile
	inbox    *delivered
	arenas   []*arena
	stock    *stock
	killed   atomic.Int64
	lasts    <-chan struct{} // the contest is over when it is closed; nil: when everybody has had enough
	finished chan struct{}   // closed when nobody has anything left to want

	hubKey []byte // with which the hub signs what it lends
}

// work is one contender's; it returns nil when the contest is finished.
type work func(context.Context) error

// run contends, and returns when all is done: the error says what kept the contest from its end, not what it found.
func (c *contest) run(ctx context.Context) error {
	c.show.heading("%d clients race for epochs in %d rooms, %d claim KeyPackages of %d users, %d want to join; %d leaders are killed",
		c.size.Racers, c.size.Rooms, c.size.Claimers, c.size.Users, c.size.Joiners, c.kills)
	began := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, c.size.AtMost, fmt.Errorf("the contest was not over after %s", c.size.AtMost))
	defer cancel()
	limited, fail := context.WithCancelCause(limited)
	defer fail(nil)
	var all sync.WaitGroup
	for _, do := range slices.Concat(c.contenders(), c.beside, []work{c.kill, c.referee}) {
		all.Go(func() {
			if err := do(limited); err != nil {
				fail(err)
			}
		})
	}
	all.Wait()
	if err := context.Cause(limited); err != nil {
		return err
	}
	c.show.done(time.Since(began), "the contest is over", c.standing())
	return nil
}

// contenders are all who want something.
func (c *contest) contenders() (all []work) {
	for i, a := range c.arenas {
		for leaf := range a.members {
			if i < c.size.Rooms {
				all = append(all, (&racer{contest: c, arena: a, leaf: mls.LeafIndex(leaf), guest: &guest{stockedUser: a.guests[leaf]}}).run)
			}
		}
		for number, user := range a.joiners {
			// Where nobody commits, leases have to end by time.
			all = append(all, (&joiner{contest: c, arena: a, user: user, number: number, commits: i < c.size.Rooms}).run)
		}
	}
	for _, user := range usersNamed("claimer", c.size.Claimers) {
		all = append(all, (&claimer{contest: c, user: user}).run)
	}
	return all
}

// over reports whether the contest is finished or was given up.
func (c *contest) over(ctx context.Context) bool {
	select {
	case <-c.finished:
		return true
	default:
		return ctx.Err() != nil
	}
}

// pause waits, for no longer than the contest goes on.
func (c *contest) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-c.finished:
	case <-ctx.Done():
	}
}

// referee ends the contest when everything is done, and tells how far it is meanwhile.
func (c *contest) referee(ctx context.Context) error {
	const look, tell = 100 * time.Millisecond, 3 * time.Second
	told := time.Now()
	for !c.over(ctx) {
		if c.done() {
			close(c.finished)
			return nil
		}
		if time.Since(told) >= tell {
			c.show.note("%s", c.standing())
			told = time.Now()
		}
		c.pause(ctx, look)
	}
	return nil
}

func (c *contest) done() bool {
	if c.lasts != nil {
		select {
		case <-c.lasts:
			return true
		default:
			return false
		}
	}
	for _, a := range c.arenas[:c.size.Rooms] {
		if int(a.epoch()) < c.size.Epochs {
			return false
		}
	}
	joined, brought, parted := c.epochsOf(moveJoin, moveRejoin), c.epochsOf(moveBring), c.epochsOf(movePart)
	return c.stock.drained() && int(c.killed.Load()) == c.kills && c.answers.leases() > 0 && joined > 0 && brought > 0 && parted > 0
}

// epochsOf counts the epochs of all rooms that such Commits took.
func (c *contest) epochsOf(kinds ...move) (count int) {
	for _, a := range c.arenas {
		count += a.done(kinds...)
	}
	return count
}

func (c *contest) standing() string {
	epochs := 0
	for _, a := range c.arenas {
		epochs += int(a.epoch())
	}
	return fmt.Sprintf("epochs %d (guests in %d, out %d, from outside %d), KeyPackages %d of %d, leases answered %d, retries %d, leaders killed %d of %d",
		epochs, c.epochsOf(moveBring), c.epochsOf(movePart), c.epochsOf(moveJoin, moveRejoin), c.stock.taken(), c.stock.total, c.answers.leases(), c.answers.retries(), c.killed.Load(), c.kills)
}

// kill ends leaders, one in the middle of each part of the claims, and brings each back before the next.
func (c *contest) kill(ctx context.Context) error {
	for k := range c.kills {
		for half := c.stock.share(2*k+1, 2*c.kills); c.stock.taken() < half; {
			if c.over(ctx) {
				return nil
			}
			c.pause(ctx, 10*time.Millisecond)
		}
		slot := fsm.SlotOfUser(c.stock.any().user)
		if k%2 == 0 {
			slot = fsm.SlotOfRoom(c.arenas[rand.IntN(len(c.arenas))].room)
		}
		if err := c.killLeader(ctx, slot); err != nil {
			return err
		}
		c.killed.Add(1)
		c.stock.open(c.stock.share(k+2, c.kills))
	}
	return nil
}

// undelivered says what the provider's inbox still lacks; nil where it is all there.
func (c *contest) undelivered() error {
	c.answers.mu.Lock()
	defer c.answers.mu.Unlock()
	return c.inbox.lacks(c.answers.commits)
}

func (c *contest) killLeader(ctx context.Context, slot fsm.SlotID) error {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	leader, shard, err := c.nodes.killLeader(ctx, slot)
	if err != nil {
		return err
	}
	c.show.note("kill -9 %s, the leader of shard %d", leader.ID, shard)
	return c.nodes.startAll(ctx)
}

const (
	// askMax is how long anything may take to be decided. That much is only needed where the machine is too busy for elections.
	askMax = 3 * time.Minute
	// crowdedMax is how long an attempt may take: 160 clients ask at once, and whoever gives up early asks twice.
	crowdedMax = 10 * time.Second
)

// ask sends a request of the drafts until some node decides it.
func (c *contest) ask(ctx context.Context, q call) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	return c.hub.send(ctx, q)
}

// newContest makes rooms, KeyPackages and what the clients sign with, and brings the first two to the hub.
func newContest(ctx context.Context, size Exclusive, kills int, hub *backend, nodes *operator, s *show) (*contest, error) {
	c := &contest{
		size: size, kills: kills, hub: hub, nodes: nodes, show: s, answers: newAnswers(), inbox: newDelivered(), finished: make(chan struct{}),
	}
	s.heading("Preparing")
	began := time.Now()
	sender, err := hub.hubKey(ctx, arenaSuite)
	if err != nil {
		return nil, err
	}
	c.hubKey = sender.SignatureKey
	quiet := max(size.Rooms/2, 1)
	for i := range size.Rooms + quiet {
		members, joiners := 1, share(size.Joiners, size.Rooms+quiet, i)
		if i < size.Rooms {
			members = share(size.Racers, size.Rooms, i)
		}
		a, err := newArena(i, members, joiners, sender)
		if err != nil {
			return nil, err
		}
		if err := hub.createRoom(ctx, a.room, a.members[0], a.group.GroupInfo().Marshal(), a.group.Tree()); err != nil {
			return nil, err
		}
		c.arenas = append(c.arenas, a)
	}
	s.done(time.Since(began), fmt.Sprintf("%d rooms, in %d of which nobody commits", len(c.arenas), quiet))
	began = time.Now()
	c.stock = newStock(size.Users, size.KeyPackages)
	if kills > 0 {
		c.stock.open(c.stock.share(1, kills))
	}
	users := slices.Clone(c.stock.users)
	for _, a := range c.arenas[:size.Rooms] {
		users = append(users, a.guests...)
	}
	if err := uploadAll(ctx, hub, users); err != nil {
		return nil, err
	}
	s.done(time.Since(began), fmt.Sprintf("%d KeyPackages of %d users with %d clients each, and %d of guests of the rooms",
		c.stock.total, size.Users, clientsPerUser, (len(users)-size.Users)*clientsPerUser*guestKeyPackages))
	return c, nil
}

// share is the i-th of n parts of a whole that differ by 1 at most.
func share(whole, n, i int) int { return whole*(i+1)/n - whole*i/n }
