package dev

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"

	"parley/mimi"
	"parley/mls"
)

// collector is a provider's backend that takes in bulk what comes for its users: it enters it in the book, and only then acknowledges. It
// reads on while acknowledgements are under way.
type collector struct {
	side   *side
	book   *book
	lose   int // letters that it is still to lose
	others func(item collected) bool
	cursor string
}

const (
	collectMax       = 500 // items that it reads at once
	acknowledgeAhead = 4   // pages that are being acknowledged while it reads on
)

// run reads until the context ends. Only an item that cannot be read is an error: nodes may come and go.
func (c *collector) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var acknowledging sync.WaitGroup
	defer acknowledging.Wait()
	turns := make(chan struct{}, acknowledgeAhead)
	for ctx.Err() == nil {
		ids, counts, err := c.read(ctx)
		if err != nil {
			fail(err)
			break
		}
		if len(ids) == 0 {
			continue
		}
		turns <- struct{}{}
		acknowledging.Go(func() {
			defer func() { <-turns }()
			err := c.side.backend.json(ctx, http.MethodPost, "/v1/inbox/acknowledge", map[string][]string{"ids": ids}, nil)
			if err != nil {
				fail(err)
				return
			}
			c.book.acknowledged(c.side, counts)
		})
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// read enters what the inbox gives, and returns the items' IDs and how many letters of either hub were new.
func (c *collector) read(ctx context.Context) (ids []string, counts [2]int, err error) {
	path := fmt.Sprintf("/v1/inbox?form=raw&waitSeconds=1&max=%d&after=%s", collectMax, url.QueryEscape(c.cursor))
	reply, err := c.side.backend.send(ctx, call{method: http.MethodGet, path: path})
	if err != nil {
		return nil, counts, err
	}
	if reply.status != http.StatusOK {
		return nil, counts, fmt.Errorf("the inbox of %s answered %d: %s", c.side.provider.domain, reply.status, reply.body)
	}
	var batch struct {
		Items  []collected `json:"items"`
		Cursor string      `json:"cursor"`
	}
	if err := json.Unmarshal(reply.body, &batch); err != nil {
		return nil, counts, err
	}
	c.cursor = batch.Cursor
	for _, item := range batch.Items {
		ids = append(ids, item.ID)
		if c.others != nil && c.others(item) {
			continue
		}
		body, err := item.open()
		if err != nil {
			return nil, counts, fmt.Errorf("inbox item %s of %s: %w", item.ID, c.side.provider.domain, err)
		}
		c.forget(&body)
		for hub, n := range c.book.receive(c.side, body) {
			counts[hub] += n
		}
	}
	return ids, counts, nil
}

// forget loses application messages, as a backend would that acknowledges before it has written.
func (c *collector) forget(body *inboxBody) {
	body.messages = slices.DeleteFunc(body.messages, func(m mimi.FanoutMessage) bool {
		_, letter := m.Event.(mimi.FanoutApplication)
		if !letter || c.lose == 0 {
			return false
		}
		c.lose--
		return true
	})
}

// collected is an item as the inbox has it.
type collected struct {
	ID         string       `json:"id"`
	Room       mimi.RoomURI `json:"room"`
	Body       []byte       `json:"body"`
	WelcomeFor []welcomed   `json:"welcomeFor"`
	Events     []struct {
		Kind         string    `json:"kind"`
		Receipt      string    `json:"receipt"`
		Verdict      string    `json:"verdict"`
		CurrentEpoch mls.Epoch `json:"currentEpoch"`
		ProposalRef  []byte    `json:"proposalRef"`
		Committed    bool      `json:"committed"`
	} `json:"events"`
}

func (c collected) open() (body inboxBody, err error) {
	body.id = c.ID
	if len(c.Body) > 0 {
		if body.messages, err = mimi.ParseFanout(c.Body); err != nil {
			return body, err
		}
	}
	for _, event := range c.Events {
		switch event.Kind {
		case "verdict":
			verdict := mimi.Verdict{Current: event.CurrentEpoch, Code: verdictNamed(event.Verdict)}
			if n, err := hex.Decode(verdict.Receipt[:], []byte(event.Receipt)); err != nil || n != len(verdict.Receipt) {
				return body, fmt.Errorf("the receipt %q", event.Receipt)
			}
			body.verdicts = append(body.verdicts, verdict)
		case "proposalFate":
			fate := mimi.ProposalFate{Ref: mls.ProposalRef(event.ProposalRef), End: mimi.ProposalDropped}
			if event.Committed {
				fate.End = mimi.ProposalCommitted
			}
			body.fates = append(body.fates, fate)
		}
	}
	return body, nil
}

// verdictNamed is the code that has a name; 0 where none has.
func verdictNamed(name string) mimi.VerdictCode {
	for code := mimi.VerdictAccepted; code <= mimi.VerdictExpired; code++ {
		if code.String() == name {
			return code
		}
	}
	return 0
}

// epochOf is the epoch of a handshake.
func epochOf(m mls.MLSMessage) mls.Epoch {
	if public, yes := m.Body.(*mls.PublicMessage); yes {
		return public.Content.Epoch
	}
	return 0
}
