package transport

import (
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// raft v1.7.3 waits before it tries a follower again, longer after each failure in a row, 10 s in the end, and does not look meanwhile
// whether the follower is back. A follower that was away for a minute then gets heartbeats and no entries, and while it lacks log the
// group stands on the others alone. So the failures of a peer that is away are held back here: raft's call does not return before the
// peer has answered a heartbeat, which raft sends from a goroutine of its own at least twice in a heartbeat timeout, or raft has no use
// for the answer any more. However long the peer was away, raft then counts two failures and waits 10 ms. The error is the call's own.

// absenceCheck is how often it is asked whether a failure still has to be held back.
const absenceCheck = 500 * time.Millisecond

// absences are the peers of a group that have not answered since an RPC to them failed. The zero value is ready.
type absences struct {
	mu    sync.Mutex
	peers map[string]*absence
	spare map[string]time.Time // peers whose failures are not held back until then
}

// absence is one peer's.
type absence struct {
	held int           // failures that are held back
	back chan struct{} // closed when it is over
}

// answered ends a peer's absence.
func (a *absences) answered(peer string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end(peer)
}

// end is for who holds mu.
func (a *absences) end(peer string) {
	if absent := a.peers[peer]; absent != nil {
		close(absent.back)
		delete(a.peers, peer)
	}
}

// failed notes a failure and returns what to wait for; nil for the first one: a stream that broke is no absence, and the next may do.
// A call of release has to follow where there is something to wait for.
func (a *absences) failed(peer string) (absent *absence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Now().Before(a.spare[peer]) {
		return nil
	}
	if absent = a.peers[peer]; absent == nil {
		if a.peers == nil {
			a.peers = make(map[string]*absence)
		}
		a.peers[peer] = &absence{back: make(chan struct{})}
		return nil
	}
	absent.held++
	return absent
}

func (a *absences) release(absent *absence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	absent.held--
}

// Away reports whether failures of RPCs to a peer are held back. Nothing that waits for this node's replication to it should begin then.
func (g *GroupTransport) Away(peer string) bool {
	g.absences.mu.Lock()
	defer g.absences.mu.Unlock()
	absent := g.absences.peers[peer]
	return absent != nil && absent.held > 0
}

// LetGo holds no failure of a peer back for a while, so that raft's goroutine for it does what else it was asked for.
func (g *GroupTransport) LetGo(peer string, lasts time.Duration) {
	g.absences.mu.Lock()
	defer g.absences.mu.Unlock()
	if g.absences.spare == nil {
		g.absences.spare = make(map[string]time.Time)
	}
	g.absences.spare[peer] = time.Now().Add(lasts)
	g.absences.end(peer)
}

// AppendEntries implements raft.Transport. A failure may come late.
func (g *GroupTransport) AppendEntries(id raft.ServerID, target raft.ServerAddress, req *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	err := g.networkTransport.AppendEntries(id, target, req, resp)
	if isHeartbeat(req) && err != nil {
		return err // its goroutine is the one that finds out when the peer is back
	}
	return g.hold(string(id), req.Term, err)
}

// isHeartbeat goes by what raft leaves out of a heartbeat and never out of anything else that it sends to a follower: a leader has an
// entry of its own term, so where nothing stands before what it sends, that entry is in it.
func isHeartbeat(req *raft.AppendEntriesRequest) bool {
	return len(req.Entries) == 0 && req.PrevLogEntry == 0 && req.PrevLogTerm == 0 && req.LeaderCommitIndex == 0
}

// InstallSnapshot offers a snapshot's manifest to a follower and waits until that has fetched the data and installed it. A failure may
// come late.
func (g *GroupTransport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse, manifest io.Reader) error {
	return g.hold(string(id), req.Term, g.offer(id, target, req, resp, manifest))
}

func (g *GroupTransport) offer(id raft.ServerID, target raft.ServerAddress, req *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse, manifest io.Reader) error {
	if g.opts.Offering != nil {
		done, err := g.opts.Offering()
		if err != nil {
			return err
		}
		defer done()
	}
	return g.snapshots.InstallSnapshot(id, target, req, resp, manifest)
}

// hold returns an RPC's result: at once, or where it is one failure of many when the peer is back, the group closes, or this node leads
// no more or has no such peer.
func (g *GroupTransport) hold(peer string, term uint64, err error) error {
	if err == nil {
		g.absences.answered(peer)
		return nil
	}
	if g.opts.Leads == nil {
		return err
	}
	absent := g.absences.failed(peer)
	if absent == nil {
		return err
	}
	defer g.absences.release(absent)
	ticker := time.NewTicker(absenceCheck)
	defer ticker.Stop()
	for g.opts.Leads(term, peer) {
		select {
		case <-absent.back:
			return err
		case <-g.life.Done():
			return err
		case <-ticker.C:
		}
	}
	return err
}
