package transport

import "github.com/hashicorp/raft"

// Committed is a place in a group's log that its leader knows to be committed.
type Committed struct {
	Term      uint64 // in which the teller leads
	Index     uint64
	IndexTerm uint64 // of the entry there
}

// TellCommitted tells a peer how far the log is committed, as an append without entries. raft's own tells it with the next entries, or
// where there are none after RaftSettings.Commit; this is for a follower that is to act on it at once. The caller led in the term and had
// applied the entry: then what it says is true for ever, and whoever hears it late, or in a later term, can only refuse it or know it
// already. A failure is not raft's to know of.
func (g *GroupTransport) TellCommitted(self, peer string, c Committed) error {
	addr := g.EncodePeer(raft.ServerID(self), g.LocalAddr())
	request := &raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(self), Addr: addr},
		Term:      c.Term, PrevLogEntry: c.Index, PrevLogTerm: c.IndexTerm, LeaderCommitIndex: c.Index,
	}
	return g.networkTransport.AppendEntries(raft.ServerID(peer), raft.ServerAddress(peer), request, &raft.AppendEntriesResponse{})
}
