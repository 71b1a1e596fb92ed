package cluster

// View is what this node knows of itself, without asking others.
func (n *Node) View() NodeView { return n.view() }
