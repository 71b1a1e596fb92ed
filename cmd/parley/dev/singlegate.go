package dev

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"parley/mimi"
)

// singleGate submits one message a request, at the listener for the provider's own users: those of a room in their order, rooms side by
// side.
type singleGate struct{ backend *backend }

// singlesAtOnce is how many requests of a batch are under way at the same time.
const singlesAtOnce = 16

// keptAt is the same way: nothing that is submitted by itself is held.
func (g singleGate) keptAt(*node) gate { return g }

func (g singleGate) submit(ctx context.Context, batch []submission) ([]receipt, error) {
	told := make([]receipt, len(batch))
	rooms := make(map[*forum][]int)
	for i, s := range batch {
		rooms[s.forum] = append(rooms[s.forum], i)
	}
	turns := make(chan struct{}, singlesAtOnce)
	var all sync.WaitGroup
	for _, mine := range rooms {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			for _, i := range mine {
				var err error
				if told[i], err = g.one(ctx, batch[i]); err != nil {
					return // what comes behind it must not overtake it
				}
			}
		})
	}
	all.Wait()
	return told, nil
}

func (g singleGate) one(ctx context.Context, s submission) (receipt, error) {
	node := g.backend.next()
	reply, err := g.backend.once(ctx, node, call{
		method: http.MethodPost, path: "/v1/rooms/" + mimi.PathSegment(s.forum.room) + "/submitMessage", body: s.body, media: mediaOctets,
	})
	if err != nil {
		return receipt{}, err
	}
	if reply.status != http.StatusOK {
		return receipt{}, fmt.Errorf("%s answered %d: %s", node.ID, reply.status, reply.body)
	}
	response, err := mimi.ParseSubmitMessageResponse(reply.body)
	if err != nil {
		return receipt{}, err
	}
	switch r := response.(type) {
	case mimi.SubmitAccepted:
		return receipt{state: receiptAccepted}, nil
	case mimi.SubmitEpochTooOld:
		return receipt{state: receiptRejected, verdict: mimi.VerdictEpochTooOld, current: r.Current}, nil
	default:
		return receipt{state: receiptRejected, verdict: mimi.VerdictNotAllowed}, nil
	}
}
