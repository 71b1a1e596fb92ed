package transport

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// raft stops reading a pipeline's answers at the first refusal and may be in the middle of one more send. That send has to fail:
// if it waits, the follower never gets another entry and the leader cannot be shut down.
func TestPipelineEndsWithARefusal(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	leader, follower := c.group(c.port("n1"), 1, 1, GroupOptions{}), c.group(c.port("n2"), 1, 1, GroupOptions{})
	go func() {
		for {
			select {
			case rpc := <-follower.Consumer():
				rpc.Respond(&raft.AppendEntriesResponse{Term: 1, Success: false}, nil)
			case <-follower.life.Done():
				return
			}
		}
	}()
	p, err := leader.AppendEntriesPipeline("n2", "n2")
	if err != nil {
		t.Fatal(err)
	}
	sends := make(chan error)
	go func() {
		for range 4 {
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: 1}, new(raft.AppendEntriesResponse)); err != nil {
				sends <- err
				return
			}
		}
		sends <- nil
	}()
	select {
	case <-p.Consumer(): // the refusal; nobody reads any more
	case <-time.After(patience):
		t.Fatal("no answer")
	}
	select {
	case err := <-sends:
		if err == nil {
			t.Error("sends behind a refusal were taken")
		}
	case <-time.After(patience):
		t.Error("a send behind a refusal waits for ever")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
