package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// A node's directory has the generation of the cluster in which its history is. It stands in every handshake: of Raft's streams and of calls. So
// who comes back with what it was before a recovery neither votes nor answers, and learns that it is over.

const (
	// supersededName says in a node's directory that its cluster goes on without what is in it.
	supersededName = "SUPERSEDED"
	// recoveringName is of a recovery that has begun on the directory and not ended (recover.go).
	recoveringName = "RECOVERING"
)

// SupersededError ends a node whose cluster has begun a later generation without it. What its directory holds is of a history that counts no more.
type SupersededError struct{ Text string }

func (e *SupersededError) Error() string {
	return e.Text + ": move the directory away and let the node join anew, under another ID"
}

// takeGeneration reads which generation the node is of, once it is in a cluster. A directory that is over opens no more.
func (n *Node) takeGeneration() error {
	switch text, err := n.stores.dir.ReadFile(removedName); {
	case err == nil:
		return readRemoval(text)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	switch text, err := n.stores.dir.ReadFile(supersededName); {
	case err == nil:
		return &SupersededError{strings.TrimSpace(string(text))}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	switch _, err := n.stores.dir.ReadFile(recoveringName); {
	case err == nil:
		return errors.New("a recovery of this directory was begun and has not ended: run 'parley recover' on it again")
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	how, err := n.stores.dir.Admission()
	if err != nil || how == "" {
		return err
	}
	generation, err := n.stores.dir.Generation()
	if err == nil {
		n.generation.Store(generation)
	}
	return err
}

// comeInto records that the node was let into a cluster of a generation.
func (n *Node) comeInto(generation uint64) error {
	how, err := n.stores.dir.Admission()
	if err != nil {
		return err
	}
	if how == "" {
		if err := n.stores.dir.SetGeneration(generation); err != nil {
			return err
		}
	}
	if err := n.stores.dir.Admit(admittedByJoin); err != nil {
		return err
	}
	return n.takeGeneration()
}

// superseded ends the node: another one is of a later generation of the cluster. What it has must not begin anything again by itself, so its
// directory says so first.
func (n *Node) superseded(by string, generation uint64) {
	text := fmt.Sprintf("node %s is of generation %d of the cluster, and this directory's history ended in generation %d", by, generation, n.generation.Load())
	err := n.stores.dir.WriteFile(supersededName, []byte(text+"\n"))
	n.fatal(errors.Join(&SupersededError{text}, err))
}
