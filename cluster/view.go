package cluster

import (
	"parley/fsm"
	"parley/mimi"
)

// View is what this node knows of itself, without asking others.
func (n *Node) View() NodeView { return n.view() }

// Backlog is what waits for one destination.
type Backlog struct {
	Destination mimi.Provider
	Items       uint64
}

// Backlog counts the items that wait for each peer on the shards that this node leads.
func (n *Node) Backlog() ([]Backlog, error) {
	var backlog []Backlog
	for _, destination := range n.Waiting() {
		total := Backlog{Destination: destination}
		for _, r := range n.led() {
			items, err := r.backlog(destination)
			if err != nil {
				return nil, err
			}
			total.Items += items
		}
		backlog = append(backlog, total)
	}
	return backlog, nil
}
