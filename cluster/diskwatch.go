package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"parley/fsm"
	"parley/storage"
)

// An engine that meets a full disk fails for good, in the middle of whatever it was doing, and with it every group of the node. So a
// node keeps a reserve. When it is touched, the node takes nothing new for the logs that it leads, only what makes room, and hands
// leadership over to replicas on nodes with room; what others decide it still stores. When a quarter is left, it stops while its
// stores are whole, and does not start again before there is room.

const (
	defaultDiskReserve = 1 << 30
	diskCheckInterval  = 5 * time.Second
)

// errDiskFull ends a node that would meet a full disk next.
var errDiskFull = errors.New("the disk is almost full")

// diskWatch knows whether the node's disk has room. Safe for concurrent use.
type diskWatch struct {
	low atomic.Bool
}

// diskReserve is what the node keeps free.
func (c Config) diskReserve() uint64 {
	if c.DiskReserve == 0 {
		return defaultDiskReserve
	}
	return c.DiskReserve
}

// checkFloor refuses a disk on which the node could not even stop in good order.
func checkFloor(dir *storage.Dir, reserve uint64) (free uint64, err error) {
	free, err = dir.FreeBytes()
	if err == nil && free < reserve/4 {
		err = fmt.Errorf("%w: %d MiB are free in %s, and the node needs %d; make room, or lower the reserve",
			errDiskFull, free>>20, dir.Path(), reserve>>22)
	}
	return free, err
}

// watchDisk looks at the disk until the node closes.
func (n *Node) watchDisk() {
	ticker := time.NewTicker(diskCheckInterval)
	defer ticker.Stop()
	for {
		if known := n.checkDisk(); !known {
			return
		}
		select {
		case <-n.life.Done():
			return
		case <-ticker.C:
		}
	}
}

// checkDisk is one look; false where the file system does not tell.
func (n *Node) checkDisk() (known bool) {
	reserve := n.config.diskReserve()
	free, err := checkFloor(n.stores.dir, reserve)
	switch {
	case errors.Is(err, vfs.ErrUnsupported):
		return false
	case errors.Is(err, errDiskFull):
		n.fatal(err)
	case err != nil:
		n.log.Error("the free space of the disk is not known", "error", err)
	case free < reserve:
		if n.disk.low.CompareAndSwap(false, true) {
			n.log.Error("the disk's reserve is touched: this node takes nothing new for what it leads", "free_mib", free>>20, "reserve_mib", reserve>>20)
		}
		n.yieldLeads()
	case free >= reserve+reserve/8 && n.disk.low.CompareAndSwap(true, false):
		n.log.Info("the disk has room again", "free_mib", free>>20)
	}
	return true
}

// yieldLeads hands each shard that this node leads to a replica on a node with room.
func (n *Node) yieldLeads() {
	for _, r := range n.led() {
		place, known := n.Map().Shard(r.shard)
		if !known {
			continue
		}
		if to := n.withRoom(place.Replicas); to != "" {
			if err := r.handOver(to); err != nil {
				n.log.Info("leadership could not be handed to a node with room", "shard", r.shard, "to", to, "error", err)
			}
		}
	}
}

// withRoom is a node other than this one that answers, and whose disk has room; or none.
func (n *Node) withRoom(nodes []string) string {
	ctx, cancel := context.WithTimeout(n.life, probeTimeout)
	defer cancel()
	for _, id := range nodes {
		if id == n.id {
			continue
		}
		if view, err := n.statusOf(ctx, id); err == nil && !view.DiskLow {
			return id
		}
	}
	return ""
}

// makesRoom reports whether a command is taken although the disk's reserve is touched: what removes more than it writes, and fences, by
// which a no is given.
func makesRoom(command fsm.Command) bool {
	switch command.(type) {
	case fsm.Fence, fsm.Sweep, fsm.Acknowledge, fsm.DropInternal, fsm.SettleSubmissions:
		return true
	default:
		return false
	}
}
