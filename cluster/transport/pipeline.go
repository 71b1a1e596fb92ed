package transport

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline ends itself when raft stops to read from it. raft v1.7.3 stops at the first answer that is no success or of a later
// term, but may send once more before it notices. With two RPCs in flight nothing is buffered, so that the send waits for the
// answer before it to be read, for ever: the follower gets heartbeats and never another entry, and the leader cannot be shut down.
// Here such an answer closes the pipeline behind it, and the send fails.
type pipeline struct {
	raft.AppendPipeline
	group   *GroupTransport
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
	ended   chan struct{} // closed when forward has returned
}

// AppendEntriesPipeline implements raft.Transport.
func (g *GroupTransport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	inner, err := g.networkTransport.AppendEntriesPipeline(id, target)
	if err != nil || bugPipeline {
		return inner, err
	}
	p := &pipeline{
		AppendPipeline: inner, group: g,
		answers: make(chan raft.AppendFuture), closed: make(chan struct{}), ended: make(chan struct{}),
	}
	go p.forward() // until Close, which raft calls for each pipeline that it was given
	return p, nil
}

// Consumer gives the answers in the order of the requests.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close breaks the pipeline off. Calls of AppendEntries that wait return an error.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	err := p.AppendPipeline.Close()
	<-p.ended
	return err
}

func (p *pipeline) forward() {
	defer close(p.ended)
	defer p.AppendPipeline.Close() // it has no error to give; Close asks it again
	for {
		var answer raft.AppendFuture
		select {
		case answer = <-p.AppendPipeline.Consumer():
		case <-p.closed:
			return
		case <-p.group.life.Done():
			return
		}
		select {
		case p.answers <- answer:
		case <-p.closed:
			return
		case <-p.group.life.Done():
			return
		}
		if response := answer.Response(); !response.Success || response.Term > answer.Request().Term {
			return
		}
	}
}
