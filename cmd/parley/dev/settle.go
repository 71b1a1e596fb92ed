package dev

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"text/tabwriter"
	"time"

	"parley/fsm"
	"parley/mimi"
)

// readers are the backends of all providers, reading their inboxes.
type readers struct {
	all    []*inboxReader
	cancel context.CancelFunc
	wait   sync.WaitGroup
	mu     sync.Mutex
	failed []error
}

func startReaders(ctx context.Context, all ...*inboxReader) *readers {
	ctx, cancel := context.WithCancel(ctx)
	rs := &readers{cancel: cancel}
	for _, reader := range all {
		rs.all = append(rs.all, reader)
		rs.wait.Go(func() {
			if err := reader.run(ctx); err != nil {
				rs.mu.Lock()
				rs.failed = append(rs.failed, err)
				rs.mu.Unlock()
			}
		})
	}
	return rs
}

// stop waits for the readers and returns what went wrong with them.
func (rs *readers) stop() error {
	rs.cancel()
	rs.wait.Wait()
	return errors.Join(rs.failed...)
}

// settle brings the killed node back, waits until everything accepted has arrived, and compares all replicas.
func (c *conversation) settle(ctx context.Context) error {
	c.show.heading("Settling the account")
	return c.inOrder(ctx,
		act{"the killed node starts again and catches up", c.revive},
		act{"everything that was accepted has arrived at both providers", func(ctx context.Context) ([]string, error) {
			return nil, until(ctx, "wait for deliveries", func(context.Context) error {
				for _, provider := range c.both() {
					if missing := c.ledger.missing(provider); len(missing) > 0 {
						return fmt.Errorf("%s still lacks %v", provider, missing)
					}
				}
				return nil
			})
		}},
		act{"all replicas have the same state", func(ctx context.Context) ([]string, error) {
			digests, err := c.hubNodes.digests(ctx)
			return []string{fmt.Sprintf("%d shards, equal digests at equal indices", len(digests))}, err
		}},
	)
}

func (c *conversation) revive(ctx context.Context) ([]string, error) {
	return nil, c.hubNodes.startAll(ctx)
}

// report prints the closing table and judges it.
func (r *run) report(ctx context.Context, c *conversation, rs *readers) error {
	view, err := c.hub.room(ctx, c.room())
	if err != nil {
		return err
	}
	leader, shard, err := c.hubNodes.leaderOf(ctx, fsm.SlotOfRoom(c.room()))
	if err != nil {
		return err
	}
	var wrong []error
	fmt.Fprintf(r.out, "\nRoom %s: epoch %d, shard %d, led by %s. A Commit was accepted %s after its leader was killed.\n\n",
		c.room(), view.Epoch, shard, leader.ID, c.failover.Round(time.Millisecond))
	table := tabwriter.NewWriter(r.out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "provider\taccepted for it\tof these messages\tdelivered\tacknowledged items\tlost\ttwice\t")
	for _, reader := range rs.all {
		provider := reader.backend.provider.domain
		t := c.ledger.tally(provider)
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t\n",
			provider, t.accepted, t.messages, t.delivered, reader.items(), t.accepted-t.delivered, t.twice)
		wrong = append(wrong, c.ledger.check(provider))
	}
	wrong = append(wrong, table.Flush())
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("the account does not balance: %w", err)
	}
	_, err = fmt.Fprintln(r.out, "\nNothing lost, nothing twice, every handshake in order.")
	return err
}

// printHints prints commands that work as they stand.
func (r *run) printHints() {
	a, b := r.hub(), r.follower()
	web := b.nodes[0].Folder
	room := mimi.PathSegment(r.recording.Room.URI)
	fmt.Fprintf(r.out, `
Try (in another terminal, from this folder):

  # the directory document of a.example, asked for as b.example
  curl --cacert %[1]s --cert %[2]s/web.pem --key %[2]s/web.key -H 'From: mimi@b.example' \
    %[3]s
  # the local API's description, and the room
  curl --cacert %[1]s %[4]s/openapi.json
  curl --cacert %[1]s -H "Authorization: Bearer $(cat %[5]s/token)" %[4]s/v1/rooms/%[6]s
  # the operator's view
  %[7]s cluster status --admin %[8]s
  curl %[8]s/readyz
`, r.layout.caFile(), web, a.nodes[0].directoryURL(), a.nodes[0].localURL(), a.folder, room, a.nodes[0].process.executable, a.nodes[0].adminURL())
}
