package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"parley/storage"
)

// hashicorp/raft #695: a heartbeat must not be answered beside raft's main loop. A NetworkTransport with a handler answers it
// there; ours hands it to Consumer like any RPC, whatever raft registers.
func TestHeartbeatsGoThroughTheConsumer(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	g1, g2 := c.group(c.port("n1"), 1, 1, GroupOptions{}), c.group(c.port("n2"), 1, 1, GroupOptions{})
	g2.SetHeartbeatHandler(func(raft.RPC) { t.Error("the heartbeat handler was called") })
	answered := make(chan error, 1)
	go func() {
		// What raft itself sends as a heartbeat: a term and a leader, and nothing else.
		req := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, ID: []byte("n1"), Addr: []byte("n1")}, Term: 3}
		var resp raft.AppendEntriesResponse
		answered <- g1.AppendEntries("n2", "n2", req, &resp)
	}()
	select {
	case rpc := <-g2.Consumer():
		if req, ok := rpc.Command.(*raft.AppendEntriesRequest); !ok || req.Term != 3 {
			t.Errorf("the consumer got %+v", rpc.Command)
		}
		rpc.Respond(&raft.AppendEntriesResponse{Term: 3, Success: true}, nil)
	case err := <-answered:
		t.Fatalf("answered without the consumer: %v", err)
	case <-time.After(patience):
		t.Fatal("no heartbeat")
	}
	if err := <-answered; err != nil {
		t.Fatal(err)
	}
}

// offer sends an InstallSnapshot and returns a channel with its outcome.
func offer(g *GroupTransport, to string, term uint64, manifest string) <-chan error {
	outcome := make(chan error, 1)
	go func() {
		req := &raft.InstallSnapshotRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}, SnapshotVersion: 1, Term: term, LastLogIndex: 9, Size: int64(len(manifest))}
		var resp raft.InstallSnapshotResponse
		err := g.InstallSnapshot(raft.ServerID(to), raft.ServerAddress(to), req, &resp, strings.NewReader(manifest))
		if err == nil && !resp.Success {
			err = errors.New("not successful")
		}
		outcome <- err
	}()
	return outcome
}

func TestSnapshotIsHeldBackUntilStaged(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	staging, goOn := make(chan string), make(chan error)
	stage := func(ctx context.Context, req *raft.InstallSnapshotRequest, manifest []byte) error {
		staging <- string(manifest)
		return <-goOn
	}
	g1 := c.group(c.port("n1"), 1, 1, GroupOptions{})
	g2 := c.group(c.port("n2"), 1, 1, GroupOptions{Stage: stage})

	outcome := offer(g1, "n2", 4, "the manifest")
	if got := <-staging; got != "the manifest" {
		t.Errorf("staged %q", got)
	}
	// Other RPCs pass while it is being staged.
	vote := make(chan error, 1)
	go func() { vote <- askVote(g1, "n2") }()
	rpc := <-g2.Consumer()
	if _, ok := rpc.Command.(*raft.RequestVoteRequest); !ok {
		t.Fatalf("raft got %T before the snapshot was staged", rpc.Command)
	}
	rpc.Respond(&raft.RequestVoteResponse{}, nil)
	if err := <-vote; err != nil {
		t.Fatal(err)
	}
	goOn <- nil
	rpc = <-g2.Consumer()
	manifest, err := io.ReadAll(rpc.Reader)
	if err != nil || string(manifest) != "the manifest" {
		t.Errorf("raft reads %q, %v", manifest, err)
	}
	rpc.Respond(&raft.InstallSnapshotResponse{Term: 4, Success: true}, nil)
	if err := <-outcome; err != nil {
		t.Error(err)
	}

	outcome = offer(g1, "n2", 4, "another")
	<-staging
	goOn <- errors.New("the source is gone")
	if err := <-outcome; err == nil || !strings.Contains(err.Error(), "the source is gone") {
		t.Errorf("a staging that failed: %v", err)
	}
	if err := <-offer(g1, "n2", 4, strings.Repeat("x", ManifestBytesMax+1)); err == nil {
		t.Error("a manifest over the limit is taken")
	}
}

func TestNewerSnapshotSupersedes(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	staging := make(chan string, 1)
	finish := make(chan struct{})
	stage := func(ctx context.Context, req *raft.InstallSnapshotRequest, manifest []byte) error {
		staging <- string(manifest)
		if string(manifest) == "second" {
			<-finish
			return nil
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
	g1, g3 := c.group(c.port("n1"), 1, 1, GroupOptions{}), c.group(c.port("n3"), 1, 1, GroupOptions{})
	g2 := c.group(c.port("n2"), 1, 1, GroupOptions{Stage: stage})
	first := offer(g1, "n2", 4, "first")
	<-staging
	second := offer(g3, "n2", 5, "second")
	if err := <-first; err == nil || !strings.Contains(err.Error(), errSuperseded.Error()) {
		t.Errorf("the first: %v", err)
	}
	<-staging
	if err := <-offer(g1, "n2", 4, "late"); err == nil || !strings.Contains(err.Error(), errStaleTerm.Error()) {
		t.Errorf("an offer of an earlier term: %v", err)
	}
	close(finish)
	rpc := <-g2.Consumer()
	rpc.Respond(&raft.InstallSnapshotResponse{Success: true}, nil)
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	staging := make(chan struct{}, 1)
	stage := func(ctx context.Context, req *raft.InstallSnapshotRequest, manifest []byte) error {
		staging <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	p1 := c.port("n1")
	g1, g2 := c.group(p1, 1, 1, GroupOptions{}), c.group(c.port("n2"), 1, 1, GroupOptions{Stage: stage})
	snapshot := offer(g1, "n2", 1, "m")
	<-staging
	vote := make(chan error, 1)
	go func() { vote <- askVote(g1, "n2") }() // nobody consumes it
	eventually(t, "the vote is on its way", func() bool {
		g2.stream.mu.Lock()
		defer g2.stream.mu.Unlock()
		return g2.stream.in["n1"] == 2
	})
	if err := g2.Close(); err != nil {
		t.Fatal(err)
	}
	for what, outcome := range map[string]<-chan error{"the snapshot": snapshot, "the vote": vote} {
		if err := <-outcome; err == nil {
			t.Errorf("%s succeeded", what)
		}
	}
	if err := askVote(g1, "n2"); !errors.Is(err, ErrRefused) {
		t.Errorf("a closed group: %v", err)
	}
	if _, err := p1.Group(1, 2, c, GroupOptions{}); err == nil {
		t.Error("a group is open twice")
	}
	if err := errors.Join(g1.Close(), g1.Close()); err != nil {
		t.Error(err)
	}
	if g, err := p1.Group(1, 2, c, GroupOptions{}); err != nil {
		t.Error(err)
	} else if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// recorder is a raft.FSM that keeps what was applied.
type recorder struct {
	mu      sync.Mutex
	applied []string
}

func (r *recorder) Apply(l *raft.Log) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = append(r.applied, string(l.Data))
	return nil
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.applied, " ")
}

func (r *recorder) Snapshot() (raft.FSMSnapshot, error) {
	return manifestSnapshot(r.String()), nil
}

func (r *recorder) Restore(rc io.ReadCloser) error {
	b, err := io.ReadAll(rc)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = strings.Fields(string(b))
	return errors.Join(err, rc.Close())
}

type manifestSnapshot string

func (m manifestSnapshot) Persist(sink raft.SnapshotSink) error {
	if _, err := io.WriteString(sink, string(m)); err != nil {
		return errors.Join(err, sink.Cancel())
	}
	return sink.Close()
}

func (manifestSnapshot) Release() {}

// member is one raft on the transport.
type member struct {
	id    string
	raft  *raft.Raft
	state *recorder
	group *GroupTransport
	snaps *raft.InmemSnapshotStore
}

func startMember(t *testing.T, c *cluster, id string, voters []string, opts GroupOptions) *member {
	t.Helper()
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(id)
	config.HeartbeatTimeout, config.ElectionTimeout = time.Second, time.Second
	config.LeaderLeaseTimeout, config.CommitTimeout = time.Second, 20*time.Millisecond
	config.TrailingLogs, config.NoLegacyTelemetry = 1, true
	config.Logger = storage.RaftLogger(slog.New(slog.DiscardHandler))
	m := &member{id: id, state: new(recorder), snaps: raft.NewInmemSnapshotStore()}
	m.group = c.group(c.port(id), 1, 1, opts)
	store := raft.NewInmemStore()
	if len(voters) > 0 {
		var servers []raft.Server
		for _, v := range voters {
			servers = append(servers, raft.Server{ID: raft.ServerID(v), Address: raft.ServerAddress(v)})
		}
		if err := raft.BootstrapCluster(config, store, store, m.snaps, m.group, raft.Configuration{Servers: servers}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if m.raft, err = raft.NewRaft(config, m.state, store, store, m.snaps, m.group); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		future := m.raft.Shutdown()
		if err := errors.Join(m.group.Close(), future.Error()); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Whoever leads may change on the way, so entries may be in the log twice, and each member makes its own snapshot.
func TestThreeRaftsElectReplicateAndInstall(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	voters := []string{"n1", "n2", "n3"}
	var members []*member
	for _, id := range voters {
		members = append(members, startMember(t, c, id, voters, GroupOptions{}))
	}
	apply(t, members, "a", "b", "c")
	for _, m := range members {
		eventually(t, m.id+" has applied", func() bool { return withoutRepetition(m.state.String()) == "a b c" })
	}
	eventually(t, "the leader is known by its ID", func() bool {
		leader := awaitLeader(t, members)
		addr, id := leader.raft.LeaderWithID()
		return string(addr) == leader.id && string(id) == leader.id
	})

	// A new node can only catch up by a snapshot, which its Stage sees first.
	for _, m := range members {
		if err := m.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
	}
	staged := make(chan string, 8)
	late := startMember(t, c, "n4", nil, GroupOptions{Stage: func(_ context.Context, _ *raft.InstallSnapshotRequest, manifest []byte) error {
		select {
		case staged <- string(bytes.Clone(manifest)):
		default: // the first ones are enough
		}
		return nil
	}})
	eventually(t, "the new node is taken in", func() bool {
		return awaitLeader(t, members).raft.AddNonvoter("n4", "n4", 0, patience).Error() == nil
	})
	apply(t, members, "d")
	eventually(t, "the new node has caught up", func() bool { return withoutRepetition(late.state.String()) == "a b c d" })
	if got := withoutRepetition(<-staged); got != "a b c" {
		t.Errorf("staged %q", got)
	}
}

func awaitLeader(t *testing.T, members []*member) *member {
	t.Helper()
	var leader *member
	eventually(t, "there is a leader", func() bool {
		for _, m := range members {
			if m.raft.State() == raft.Leader {
				leader = m
			}
		}
		return leader != nil
	})
	return leader
}

// apply brings entries into the log in their order, each of them again where it is not known what became of it.
func apply(t *testing.T, members []*member, entries ...string) {
	t.Helper()
	for _, entry := range entries {
		eventually(t, "the entry "+entry+" is decided", func() bool {
			return awaitLeader(t, members).raft.Apply([]byte(entry), patience).Error() == nil
		})
	}
}

// withoutRepetition is what was applied, each entry once however often it came in a row.
func withoutRepetition(applied string) string {
	return strings.Join(slices.Compact(strings.Fields(applied)), " ")
}
