package dev

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"

	"parley/mimi"
	"parley/mls"
)

// inboxItem is what this program reads of an item of the inbox. Body is there where the raw form was asked for, and Events where not.
type inboxItem struct {
	ID         string       `json:"id"`
	Room       mimi.RoomURI `json:"room"`
	Body       []byte       `json:"body"`
	Events     []inboxEvent `json:"events"`
	WelcomeFor []welcomed   `json:"welcomeFor"`
}

// welcomed is to whom a Welcome goes.
type welcomed struct {
	KeyPackageRef []byte         `json:"keyPackageRef"`
	User          mimi.UserURI   `json:"user"`
	Client        mimi.ClientURI `json:"client"`
}

type inboxEvent struct {
	Kind           string    `json:"kind"`
	Epoch          mls.Epoch `json:"epoch"`
	Message        []byte    `json:"message"`
	KeyPackageRefs [][]byte  `json:"keyPackageRefs"`
}

// inboxReader is a provider's backend that takes what comes for its users: it reads in bulk, enters it in an account, and only then
// acknowledges.
type inboxReader struct {
	backend      *backend
	form         string // raw or events
	enter        func(provider string, item inboxItem) error
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
	reply, err := r.backend.send(ctx, call{method: http.MethodGet, path: "/v1/inbox?form=" + r.form + "&waitSeconds=1&max=500"})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if reply.status != http.StatusOK {
		return fmt.Errorf("the inbox of %s answered %d: %s", r.backend.provider.domain, reply.status, reply.body)
	}
	var batch struct{ Items []inboxItem }
	if err := json.Unmarshal(reply.body, &batch); err != nil {
		return err
	}
	var ids []string
	for _, item := range batch.Items {
		if err := r.enter(r.backend.provider.domain, item); err != nil {
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
