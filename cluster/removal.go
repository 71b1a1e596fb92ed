package cluster

import (
	"context"
	"fmt"
	"strings"

	"parley/fsm/meta"
)

// A node that was taken out of the cluster for good is not one any more, whatever it thinks: the others refuse it, and nothing that it has
// counts. Mostly its own copy of the map does not say so, since the others close its connections as soon as theirs does; it asks then
// (standing.go). Once it knows, it takes nothing more, says why, and marks its directory, which does not open again. It is for whoever runs
// the process to let it rest, and to say the same to all who come.

// removedName says in a node's directory that the node was taken out of its cluster, and by whose word.
const removedName = "REMOVED"

// RemovedError is what becomes of all that is asked of a node that was taken out of its cluster. An ID is used once, and so is a directory.
type RemovedError struct{ Text string }

func (e *RemovedError) Error() string {
	return e.Text + ": ask another node; stop this one, and move its directory away"
}

// Removed is closed when the node knows that it was taken out of the cluster: it takes nothing more then.
func (n *Node) Removed() <-chan struct{} { return n.removed }

// Removal is by whose word the node is out of the cluster, or nil.
func (n *Node) Removal() *RemovedError {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removal
}

// readRemoval is nil, or what a directory's mark says.
func readRemoval(text []byte) error { return &RemovedError{strings.TrimSpace(string(text))} }

// part ends the node's part in the cluster. by says who says so. It is called once.
func (n *Node) part(by string) {
	text := fmt.Sprintf("node %s was removed from the cluster, %s", n.id, by)
	if left := n.held.status(); left.Items > 0 {
		text += fmt.Sprintf(", with %d submissions in its journal that have no verdict, which their submitters send again elsewhere", left.Items)
	}
	removal := &RemovedError{text}
	n.mu.Lock()
	n.removal = removal
	n.mu.Unlock()
	n.log.Error("this node does not belong to the cluster any more, and takes nothing", "reason", text)
	if err := n.stores.dir.WriteFile(removedName, []byte(text+"\n")); err != nil {
		n.log.Error("the directory could not be marked; the node will ask again when it is started", "error", err)
	}
	close(n.removed)
}

// removedByMap is how this node's own copy of the map says that it is out, or nothing.
func (n *Node) removedByMap(current *meta.Map) string {
	if self, known := current.Node(n.id); !known || self.State != meta.NodeRemoved {
		return ""
	}
	return fmt.Sprintf("by its own copy of the map, of version %d, in generation %d", current.Version(), current.Generation())
}

// Retire ends all that the node does, and leaves open what it has: what is read of it is still there, for whoever tells why it does nothing.
// Close is still to be called.
func (n *Node) Retire(ctx context.Context) error {
	stopped := make(chan error, 1)
	go func() { stopped <- n.rest() }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the node is still coming to rest: %w", ctx.Err())
	}
}
