package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
)

// inboxReader is a provider's backend that takes what comes for its users: it reads in bulk, enters it in the ledger, and only then
// acknowledges.
type inboxReader struct {
	backend      *backend
	ledger       *ledger
	acknowledged sync.Map // by item: that its acknowledgement was accepted
}

// run reads until the context ends. Only an item that cannot be read is an error: nodes may come and go.
func (r *inboxReader) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := r.turn(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *inboxReader) turn(ctx context.Context) error {
	reply, err := r.backend.send(ctx, call{method: http.MethodGet, path: "/v1/inbox?form=raw&waitSeconds=1&max=500"})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if reply.status != http.StatusOK {
		return fmt.Errorf("the inbox of %s answered %d: %s", r.backend.provider.domain, reply.status, reply.body)
	}
	var batch struct {
		Items []struct {
			ID   string `json:"id"`
			Body []byte `json:"body"`
		} `json:"items"`
	}
	if err := json.Unmarshal(reply.body, &batch); err != nil {
		return err
	}
	var ids []string
	for _, item := range batch.Items {
		if len(item.Body) == 0 { // what the provider is told of its own users; nothing that anybody sent
			ids = append(ids, item.ID)
			continue
		}
		if err := r.ledger.receive(r.backend.provider.domain, item.ID, item.Body); err != nil {
			return err
		}
		ids = append(ids, item.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	err = r.backend.json(ctx, http.MethodPost, "/v1/inbox/acknowledge", map[string][]string{"ids": ids}, nil)
	if err == nil {
		for _, id := range ids {
			r.acknowledged.Store(id, true)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// items counts what has been acknowledged. An item that was read again before its acknowledgement was in counts once.
func (r *inboxReader) items() (n int) {
	r.acknowledged.Range(func(any, any) bool { n++; return true })
	return n
}
