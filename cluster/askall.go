package cluster

import (
	"context"
	"sync"
	"time"

	"parley/cluster/transport"
)

// askAll asks every active node, this one too, and returns the answers and what went wrong, by node. One that does not answer within
// statusTimeout has failed.
func askAll[T any](ctx context.Context, n *Node, method string, request []byte, here transport.Handler, read func([]byte) (T, error)) (
	answers map[string]T, failed map[string]error,
) {
	return askAllWithin(ctx, statusTimeout, n, method, request, here, read)
}

// askAllWithin is askAll with another limit for each node.
func askAllWithin[T any](
	ctx context.Context, limit time.Duration, n *Node, method string, request []byte, here transport.Handler, read func([]byte) (T, error),
) (answers map[string]T, failed map[string]error) {
	answers, failed = make(map[string]T), make(map[string]error)
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, id := range activeNodes(n.Map()) {
		wait.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			var raw []byte
			var err error
			if id == n.id {
				raw, err = here(ctx, id, request)
			} else {
				raw, _, err = n.call(ctx, id, method, request)
			}
			var answer T
			if err == nil {
				answer, err = read(raw)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed[id] = err
				return
			}
			answers[id] = answer
		})
	}
	wait.Wait()
	return answers, failed
}
