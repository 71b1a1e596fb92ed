package mlstest

import "parley/mls"

// path makes the committer's UpdatePath and merges it (RFC 9420 §7.5, §7.6, §7.9).
func (g *Group) path(p Plan, i mls.LeafIndex, c *Client, added []newcomer) (*mls.UpdatePath, error) {
	isNew := make(map[index]bool, len(added))
	for _, a := range added {
		isNew[a.leaf.Node()] = true
	}
	path := &mls.UpdatePath{Leaf: g.leaf(c, mls.LeafCommit{})}
	nodes, copath := g.tree.filteredPath(i)
	for _, off := range copath {
		n := mls.UpdatePathNode{EncryptionKey: g.entropy.hpkeKey()}
		for _, x := range g.tree.resolution(off) {
			if !isNew[x] {
				n.Secrets = append(n.Secrets, g.entropy.sealed())
			}
		}
		path.Nodes = append(path.Nodes, n)
	}
	if p.ChangePath != nil {
		p.ChangePath(path)
	}
	g.tree.blankPath(i)
	var above []byte
	for k := min(len(nodes), len(path.Nodes)) - 1; k >= 0; k-- {
		parent := mls.ParentNode{EncryptionKey: path.Nodes[k].EncryptionKey, ParentHash: above}
		g.tree.set(nodes[k], newParent(parent))
		above = g.tree.parentHash(parent, copath[k])
	}
	path.Leaf.Source = mls.LeafCommit{ParentHash: above}
	if p.ChangeLeaf != nil {
		p.ChangeLeaf(&path.Leaf)
	}
	if err := path.Leaf.Sign(g.keyOf(&path.Leaf, c), mls.LeafPlace{GroupID: g.context.GroupID, Leaf: i}); err != nil {
		return nil, err
	}
	if p.ChangeSignedLeaf != nil {
		p.ChangeSignedLeaf(&path.Leaf)
	}
	g.tree.set(i.Node(), newLeaf(path.Leaf))
	return path, nil
}
