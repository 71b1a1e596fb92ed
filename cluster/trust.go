package cluster

import (
	"context"
	"errors"
	"time"

	"parley/fsm/meta"
)

const tendTrustInterval = time.Second

// errBarred is what the cluster port says of a node that must not be talked to.
type errBarred struct{ reason string }

func (e errBarred) Error() string { return e.reason }

// barred asks this node's copy of the map. It may be behind; what it is told later closes the connection then.
func (n *Node) barred(node string, serial []byte) error {
	current := n.heeded.Load()
	if current == nil || node == n.id {
		return nil
	}
	if reason := current.Barred(node, serial); reason != "" {
		return errBarred{reason}
	}
	return nil
}

// heed makes the map's word on who belongs to the cluster good on this node: barred nodes are cut off, gossip has the keys.
func (n *Node) heed(current *meta.Map) {
	n.heeded.Store(current)
	n.port.Review()
	n.wakeOutbox() // a peer may go on that was paused
	n.setPace(current)
	if err := n.setGossipKeys(current); err != nil {
		n.log.Error("the gossip keys of the cluster cannot be used", "error", err)
	}
}

// heedMap heeds each map that comes. Nothing that waits for others belongs here: a revocation must not wait.
func (n *Node) heedMap() {
	for {
		current, changed := n.meta.watch()
		n.heed(current)
		select {
		case <-n.life.Done():
			return
		case <-changed:
		}
	}
}

// tendTrust does what takes more than this node alone: certificates, and the steps of a change of gossip keys.
func (n *Node) tendTrust() {
	ticker := time.NewTicker(tendTrustInterval)
	defer ticker.Stop()
	var rest time.Time // no certificate is tried before
	for {
		current := n.Map()
		if current.Initialised() {
			ctx, cancel := context.WithTimeout(n.life, membershipWait)
			if now := n.config.Clock.Wall(); !now.Before(rest) {
				if err := n.tendCertificate(ctx, current); err != nil && n.life.Err() == nil {
					n.log.Warn("certificates will be looked after again", "error", err)
					rest = now.Add(renewalPause(err))
				}
			}
			if err := n.tendKeyring(ctx, current); err != nil && n.life.Err() == nil {
				n.log.Info("the change of gossip keys waits", "error", err)
			}
			if err := n.tendServiceKeys(ctx, current); err != nil && n.life.Err() == nil {
				n.log.Info("the hub's keys for franking and for external receivers wait", "error", err)
			}
			cancel()
		}
		select {
		case <-n.life.Done():
			return
		case <-ticker.C:
		}
	}
}

// renewalPause is long after a refusal, which will be said again, and short while the cluster is not there.
func renewalPause(err error) time.Duration {
	var refused *RefusedError
	if errors.As(err, &refused) {
		return renewalRetry
	}
	return 5 * time.Second
}
