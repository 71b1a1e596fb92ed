// Package dev starts providers on this machine, as separate processes with real TCP, TLS and disks, and plays scenarios on them: a
// conversation that real MLS clients recorded, or a contest of simulated ones.
package dev

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"parley/cmd/parley/adminclient"
	"parley/fsm/meta"
	"parley/httpapi"
	"parley/mimi"
)

// startMax is how long the clusters may take to come up.
const startMax = 90 * time.Second

// Options say what to run.
type Options struct {
	Folder     string // made with mode 0700; emptied at the start if an earlier run made it
	Executable string // of parley itself
	Scenario   string // one of Scenarios
	Kills      int    // of leaders, in the scenario failover beyond the conversation's own, at least 1; and in the scenario exclusive
	Once       bool   // end after the scenario; exclusive, bulk, resize and verbs always do
	Exclusive  Exclusive
	Bulk       Bulk
	Resize     Resize
	Verbs      Verbs
	Out        io.Writer
	Summary    io.Writer // where the scenarios bulk, resize and verbs leave their figures as JSON; nil for nowhere
}

// scenarioFailover goes on after the conversation: its leader is killed Options.Kills times more.
const scenarioFailover = "failover"

// Scenarios are the names that Options.Scenario may have; the first is the default.
func Scenarios() []string {
	return []string{"conversation", scenarioFailover, scenarioExclusive, scenarioBulk, scenarioResize, scenarioVerbs}
}

// Validate says what of the options is wrong.
func (o Options) Validate() error {
	switch {
	case !slices.Contains(Scenarios(), o.Scenario):
		return fmt.Errorf("--scenario: there are %s", strings.Join(Scenarios(), ", "))
	case o.Scenario == scenarioExclusive && o.Kills < 0:
		return fmt.Errorf("--kills: %d", o.Kills)
	case o.Scenario == scenarioExclusive:
		return o.Exclusive.Validate()
	case o.Scenario == scenarioBulk:
		return o.Bulk.Validate()
	case o.Scenario == scenarioResize:
		return o.Resize.Validate()
	case o.Scenario == scenarioVerbs:
		return o.Verbs.Validate()
	case o.Kills < 1:
		return fmt.Errorf("--kills: at least 1, not %d", o.Kills)
	}
	return nil
}

// Run starts the providers, plays the scenario, and stays up until the context ends. The error says what differed from what
// was expected. When it returns, no process is left.
func Run(ctx context.Context, o Options) (err error) {
	if err := o.Validate(); err != nil {
		return err
	}
	o.Bulk = o.Bulk.compares()
	recording, err := loadRecording()
	if err != nil {
		return err
	}
	sizes := []providerSize{{domain: "a.example", nodes: 3}, {domain: "b.example", nodes: 1}}
	switch o.Scenario {
	case scenarioExclusive:
		sizes = sizes[:1]
	case scenarioVerbs:
		sizes, o.Bulk.Shards = sizes[:1], o.Verbs.Shards
	case scenarioBulk:
		sizes[1].nodes = 3
		sizes[0].delivery, sizes[1].delivery = o.Bulk.Delivery, o.Bulk.Delivery
	case scenarioResize:
		o.Bulk.Shards = o.Resize.Shards
	}
	l, err := newLayout(o.Folder, o.Executable, sizes...)
	if err != nil {
		return err
	}
	r := &run{layout: l, recording: recording, show: &show{out: o.Out}, out: o.Out, scenario: o.Scenario, kills: o.Kills, shards: o.Bulk.Shards}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.start(ctx); err != nil {
		return err
	}
	if o.Scenario == scenarioExclusive {
		return r.contend(ctx, o.Exclusive)
	}
	if o.Scenario == scenarioBulk {
		return r.exchange(ctx, o.Bulk, o.Summary)
	}
	if o.Scenario == scenarioResize {
		return r.resize(ctx, o.Resize, o.Summary)
	}
	if o.Scenario == scenarioVerbs {
		return r.tryVerbs(ctx, o.Verbs, o.Summary)
	}
	if err := r.converse(ctx); err != nil {
		return err
	}
	if o.Once {
		return nil
	}
	r.printHints()
	fmt.Fprintln(o.Out, "\nBoth providers stay up. Ctrl-C stops them.")
	<-ctx.Done()
	fmt.Fprintln(o.Out, "\nStopping.")
	return nil
}

// run is one run of a scenario.
type run struct {
	layout    *layout
	recording *recording
	show      *show
	out       io.Writer
	scenario  string
	kills     int
	shards    int // of each cluster; 0 means the default
}

func (r *run) hub() *provider      { return r.layout.providers[0] }
func (r *run) follower() *provider { return r.layout.providers[1] }

// start brings both providers up and makes them known to each other.
func (r *run) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startMax)
	defer cancel()
	began := time.Now()
	fmt.Fprintf(r.out, "Parley, in %s:\n", r.layout.folder)
	for _, p := range r.layout.providers {
		fmt.Fprintf(r.out, "  provider %s, nodes %d\n", p.domain, len(p.nodes))
	}
	r.show.heading("Starting")
	for _, p := range r.layout.providers {
		for _, n := range p.nodes {
			if err := n.process.start(); err != nil {
				return err
			}
		}
	}
	for _, p := range r.layout.providers {
		if err := r.form(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.domain, err)
		}
	}
	for _, p := range r.layout.providers {
		if err := r.acquaint(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.domain, err)
		}
	}
	r.show.done(time.Since(began), "every cluster is formed, and the providers know each other")
	return nil
}

// form makes a cluster of a provider's nodes.
func (r *run) form(ctx context.Context, p *provider) error {
	domain, err := mimi.ParseProvider(p.domain)
	if err != nil {
		return err
	}
	request := httpapi.InitRequest{
		Domains: []mimi.Provider{domain}, Replicas: len(p.nodes),
		KeyPackageLifetimeMaxDays: developmentLifetimeDays,
	}
	if r.scenario == scenarioBulk || r.scenario == scenarioResize || r.scenario == scenarioVerbs {
		request.ConsentDefault, request.Shards = "allow", r.shards
	} else if p == r.hub() {
		request.DevelopmentHubKeySeed = hex.EncodeToString(r.recording.HubKey.Seed)
	}
	first := p.nodes[0]
	err = until(ctx, "initialise the cluster", func(ctx context.Context) error {
		if err := first.process.alive(); err != nil {
			return err
		}
		_, err := adminclient.New(first.adminURL()).Init(ctx, request)
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range p.nodes[1:] {
		err := until(ctx, n.ID+" joins", func(ctx context.Context) error {
			_, err := adminclient.New(n.adminURL()).Join(ctx, httpapi.JoinRequest{Seeds: []string{first.Cluster}})
			return err
		})
		if err != nil {
			return err
		}
	}
	return (&operator{p}).ready(ctx)
}

// developmentLifetimeDays admits the recorded KeyPackages, which are made to last; a real provider keeps to 92 days.
const developmentLifetimeDays = 100 * 366

// acquaint puts the other provider on the allow-list and makes a token for the provider's backend.
func (r *run) acquaint(ctx context.Context, p *provider) error {
	admin := adminclient.New(p.nodes[0].adminURL())
	for _, other := range r.layout.providers {
		if other == p {
			continue
		}
		if err := introduce(ctx, admin, other, other.nodes, r.layout.caPEM); err != nil {
			return err
		}
	}
	token, err := admin.CreateToken(ctx, httpapi.TokenRequest{Name: "development backend", Scopes: backendScopes()})
	if err != nil {
		return err
	}
	p.token = token.Secret
	return os.WriteFile(filepath.Join(p.folder, "token"), []byte(token.Secret+"\n"), 0o600)
}

// introduce puts a provider on a cluster's allow-list, to be found at some of its nodes.
func introduce(ctx context.Context, admin *adminclient.Client, other *provider, at []*node, caPEM []byte) error {
	domain, err := mimi.ParseProvider(other.domain)
	if err != nil {
		return err
	}
	peer := httpapi.PeerEntry{Domain: domain, Domains: []mimi.Provider{domain}, TrustPEM: string(caPEM), AllowPrivateAddresses: true}
	for _, n := range at {
		peer.DirectoryURLs = append(peer.DirectoryURLs, n.directoryURL())
	}
	return admin.PutPeer(ctx, peer)
}

// converse plays the conversation while both providers' backends read their inboxes, and settles the account.
func (r *run) converse(ctx context.Context) error {
	hub, err := newBackend(r.hub(), r.layout.caPEM)
	if err != nil {
		return err
	}
	follower, err := newBackend(r.follower(), r.layout.caPEM)
	if err != nil {
		return err
	}
	door, err := newPeerDoor(r.follower(), r.layout.caPEM)
	if err != nil {
		return err
	}
	c := &conversation{
		recording: r.recording, hub: hub, follower: follower, door: door,
		ledger: newLedger(), show: r.show, hubNodes: &operator{r.hub()},
		kills: r.kills,
	}
	readers := startReaders(ctx,
		&inboxReader{backend: hub, form: "raw", enter: c.ledger.enter}, &inboxReader{backend: follower, form: "raw", enter: c.ledger.enter})
	played := c.play(ctx)
	if played == nil && r.scenario == scenarioFailover {
		played = c.endure(ctx)
	}
	if played == nil {
		played = c.settle(ctx)
	}
	if err := errors.Join(played, readers.stop()); err != nil {
		return err
	}
	return r.report(ctx, c, readers)
}

// contend holds the contest, and judges it by what everybody was told and by what lies on the disks of the nodes, which are stopped then.
// A contest that did not come to its end is judged as far as it went.
func (r *run) contend(ctx context.Context, size Exclusive) error {
	hub, err := newBackend(r.hub(), r.layout.caPEM)
	if err != nil {
		return err
	}
	hub.attemptMax = crowdedMax
	nodes := &operator{r.hub()}
	c, err := newContest(ctx, size, r.kills, hub, nodes, r.show)
	if err != nil {
		return err
	}
	reader := startReaders(ctx, &inboxReader{backend: hub, form: "events", enter: c.inbox.enter})
	held := c.run(ctx)
	if ctx.Err() != nil {
		return errors.Join(held, reader.stop())
	}
	r.show.heading("Settling the account")
	if held != nil {
		r.show.note("the contest did not come to its end: %v", held)
	}
	verdict, err := r.settleContest(ctx, c, nodes, reader)
	if err != nil {
		return errors.Join(held, err)
	}
	if err := errors.Join(held, verdict.print(r.out)); err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.out, "\nEverything that can be had once was had once, and everybody was told the same.")
	return err
}

// settleContest waits for what has to be delivered, compares the replicas, stops the nodes and reads what lies on their disks.
func (r *run) settleContest(ctx context.Context, c *contest, nodes *operator, reader *readers) (*verdict, error) {
	ctx, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	began := time.Now()
	err := nodes.startAll(ctx)
	if err == nil {
		err = until(ctx, "wait for deliveries", func(context.Context) error { return c.undelivered() })
	}
	if err := errors.Join(err, reader.stop()); err != nil {
		return nil, err
	}
	r.show.done(time.Since(began), "every Commit that anybody was told of is in the provider's inbox")
	began = time.Now()
	shards, err := nodes.compare(ctx)
	if err != nil {
		return nil, err
	}
	r.show.done(time.Since(began), fmt.Sprintf("%d shards, equal digests at equal indices", len(shards)))
	if err := nodes.stopAll(); err != nil {
		return nil, err
	}
	began = time.Now()
	log, err := readChronicle(r.hub().nodes, shards)
	if err != nil {
		return nil, fmt.Errorf("read what lies on the disks: %w", err)
	}
	r.show.done(time.Since(began), "the nodes are stopped; the log on each disk is read, compared and applied anew")
	return judgeContest(c.answers, log, c.arenas, c.inbox), nil
}

// stop ends every process, gently where it can.
func (r *run) stop() error {
	var wrong []error
	for _, p := range r.layout.providers {
		wrong = append(wrong, (&operator{p}).stopAll())
	}
	return errors.Join(wrong...)
}

// backendScopes are all that a provider's backend needs.
func backendScopes() []string {
	var names []string
	for _, scope := range meta.Scopes() {
		if scope != meta.ScopeAdmin {
			names = append(names, scope.String())
		}
	}
	return names
}
