package cluster

import (
	"context"
	"sync"
)

// HandOverAll hands over what this node leads, the meta group too, to whichever replica is furthest: before a node stops, so that nobody has
// to wait for an election. A group that nobody else can lead keeps its leader, as does whatever the context does not leave time for. It
// does not keep the node from being elected again.
func (n *Node) HandOverAll(ctx context.Context) {
	ctx, done, err := n.begin(ctx)
	if err != nil {
		return // it is closing already, or has failed
	}
	var wait sync.WaitGroup
	for _, g := range n.groups() {
		if !g.leads() || len(g.voters()) < 2 {
			continue
		}
		wait.Go(func() {
			if err := g.handOver(""); err != nil {
				n.log.Info("a lead could not be handed over before the node stops", "group", g.id, "error", err)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		wait.Wait()
		done()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
