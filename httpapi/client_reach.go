package httpapi

import (
	"context"
	"errors"
	"fmt"

	"parley/mimi"
)

// Reach fetches a peer's directory anew, from one of its URLs at least: nil, or why it cannot be had.
func (c *Client) Reach(ctx context.Context, to mimi.Provider) error {
	peer, known := c.peers.Peer(to)
	if !known {
		return errNoPeer
	}
	l, err := c.link(to, peer)
	if err != nil {
		return err
	}
	var failures []error
	for _, i := range l.order() {
		_, err := l.fetch(ctx, l.addresses[i])
		if err == nil {
			return nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", l.addresses[i], err))
	}
	return errors.Join(failures...)
}
