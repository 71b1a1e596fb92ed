package cluster

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// raft v1.7.3 hands over from the goroutine that replicates to the node in question, and takes nothing else meanwhile. Where that
// goroutine is stuck, a second attempt waits for it without an end, and the leader refuses every entry for as long. So a group hands
// over to nobody who is known to be away, and in case that is not known yet, nothing holds the goroutine for a while after an attempt.

// letGoFor is longer than a call to a node that has just gone can take to fail.
const letGoFor = 15 * time.Second

// errAway: the node has stopped to answer.
var errAway = errors.New("it does not answer")

// handOver hands the lead to another voter, or to whichever is furthest where to is empty. It returns when that one has been told to
// stand for election, or with an error after an election timeout at most.
func (g *group) handOver(to string) error {
	if to != "" {
		return g.handOverTo(to)
	}
	others := slices.DeleteFunc(g.voters(), func(voter string) bool { return voter == g.machine.node })
	if !slices.ContainsFunc(others, g.transport.Away) {
		for _, voter := range others {
			g.transport.LetGo(voter, letGoFor)
		}
		return g.raft.LeadershipTransfer().Error()
	}
	var wrong error
	for _, voter := range others {
		err := g.handOverTo(voter)
		if err == nil {
			return nil
		}
		wrong = errors.Join(wrong, fmt.Errorf("to node %s: %w", voter, err))
	}
	return wrong
}

func (g *group) handOverTo(to string) error {
	if g.transport.Away(to) {
		return errAway
	}
	g.transport.LetGo(to, letGoFor)
	return g.raft.LeadershipTransferToServer(raft.ServerID(to), raft.ServerAddress(to)).Error()
}

// leadsTo implements transport.GroupOptions.Leads.
func (g *group) leadsTo(term uint64, peer string) bool {
	select {
	case <-g.ready:
	default:
		return false
	}
	if !g.leads() || g.raft.CurrentTerm() != term {
		return false
	}
	return slices.ContainsFunc(g.raft.GetConfiguration().Configuration().Servers, func(server raft.Server) bool {
		return string(server.ID) == peer
	})
}
