package transport

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"parley/storage"
)

// hashicorp/raft #695. A leader that is idle and has been deposed hears of it by a heartbeat alone. It must not write an entry
// under the term that it learned there: the new leader has another one at that place, of the same term, and no later check could
// tell the two apart.
func TestIdleDeposedLeaderWritesNothing(t *testing.T) {
	if wroteUnderForeignTerm(t) {
		t.Error("the deposed leader wrote an entry under its successor's term")
	}
}

// muffled is a node's transport that can leave a node with nothing but heartbeats.
type muffled struct {
	*GroupTransport
	from atomic.Pointer[raft.ServerAddress]
}

var errMuffled = errors.New("muffled")

func (m *muffled) muffles(target raft.ServerAddress) bool {
	from := m.from.Load()
	return from != nil && *from == target
}

func (m *muffled) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if m.muffles(target) {
		return errMuffled
	}
	return m.GroupTransport.RequestVote(id, target, args, resp)
}

func (m *muffled) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	heartbeat := len(args.Entries) == 0 && args.PrevLogEntry == 0 && args.LeaderCommitIndex == 0
	if m.muffles(target) && !heartbeat {
		return errMuffled
	}
	return m.GroupTransport.AppendEntries(id, target, args, resp)
}

func (m *muffled) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// wroteUnderForeignTerm plays it: n1 leads and is idle, n2 is elected by n3, n1 gets n2's heartbeats only, and somebody proposes
// at n1. Timers are so long that nothing else happens.
func wroteUnderForeignTerm(t *testing.T) bool {
	t.Helper()
	noLeaks(t)
	c := newCluster(t, "c1")
	ids := []string{"n1", "n2", "n3"}
	rafts, stores, groups := map[string]*raft.Raft{}, map[string]*raft.InmemStore{}, map[string]*muffled{}
	for _, id := range ids {
		groups[id] = &muffled{GroupTransport: c.group(c.port(id), 1, 1, GroupOptions{})}
	}
	for _, id := range ids {
		stores[id] = raft.NewInmemStore()
		rafts[id] = longTimed(t, id, ids, stores[id], groups[id])
	}
	elect := func(id string) {
		var asked time.Time
		eventually(t, id+" leads", func() bool {
			if rafts[id].State() == raft.Leader {
				return true
			}
			if time.Since(asked) > time.Second { // a heartbeat of the leader before may have put an end to the candidacy
				asked = time.Now()
				request := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}}
				_ = groups["n3"].TimeoutNow(raft.ServerID(id), raft.ServerAddress(id), request, new(raft.TimeoutNowResponse)) // it is asked again
			}
			return false
		})
	}
	eventually(t, "n1 has the first entry decided", func() bool {
		elect("n1")
		return rafts["n1"].Apply([]byte("first"), patience).Error() == nil
	})
	deaf := raft.ServerAddress("n1")
	groups["n2"].from.Store(&deaf)
	term := rafts["n1"].CurrentTerm()
	elect("n2")
	successors := rafts["n2"].CurrentTerm()
	eventually(t, "n1 has had a heartbeat of n2", func() bool { return rafts["n1"].CurrentTerm() > term })
	committed := rafts["n1"].Apply([]byte("astray"), patience).Error() == nil
	last, err := stores["n1"].LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var entry raft.Log
	if err := stores["n1"].GetLog(last, &entry); err != nil {
		t.Fatal(err)
	}
	// In a later term it was elected again, as it may be on a slow machine.
	if committed && entry.Term <= successors {
		t.Error("a deposed leader had an entry committed")
	}
	return string(entry.Data) == "astray" && entry.Term == successors
}

func longTimed(t *testing.T, id string, voters []string, store *raft.InmemStore, tr raft.Transport) *raft.Raft {
	t.Helper()
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(id)
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = 5*time.Second, 5*time.Second, 5*time.Second
	config.CommitTimeout, config.NoLegacyTelemetry = time.Second, true
	config.Logger = storage.RaftLogger(slog.New(slog.DiscardHandler))
	var servers []raft.Server
	for _, v := range voters {
		servers = append(servers, raft.Server{ID: raft.ServerID(v), Address: raft.ServerAddress(v)})
	}
	snaps := raft.NewInmemSnapshotStore()
	if err := raft.BootstrapCluster(config, store, store, snaps, tr, raft.Configuration{Servers: servers}); err != nil {
		t.Fatal(err)
	}
	r, err := raft.NewRaft(config, new(recorder), store, store, snaps, tr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stopped := r.Shutdown()
		if err := errors.Join(tr.(*muffled).GroupTransport.Close(), stopped.Error()); err != nil {
			t.Error(err)
		}
	})
	return r
}
