package cluster

// jobKinds are the jobs that this program can carry out, by the names of their kinds. A name is never given to another kind.
func (n *Node) jobKinds() map[string]jobKind {
	return map[string]jobKind{}
}
