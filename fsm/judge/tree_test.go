package judge

import (
	"testing"

	"parley/mls"
)

// publicTree is a ratchet tree as its array of nodes, so that tests can make the paths that a client would (RFC 9420 appendix C).
// It is written apart from mls, and so checks it.
type publicTree struct {
	t     testing.TB
	suite *mls.Suite
	nodes [][]byte // encoded Node, nil where blank
}

func level(x int) (k int) {
	for x>>k&1 == 1 {
		k++
	}
	return k
}

func left(x int) int  { return x ^ 1<<(level(x)-1) }
func right(x int) int { return x ^ 3<<(level(x)-1) }

func (t *publicTree) root() int { return len(t.nodes) / 2 }

// above lists the nodes over x with the child of each that is off the way.
func (t *publicTree) above(x int) (steps [][2]int) {
	for at := t.root(); at != x; {
		on, off := left(at), right(at)
		if x > at {
			on, off = off, on
		}
		steps = append([][2]int{{at, off}}, steps...)
		at = on
	}
	return steps
}

func (t *publicTree) blankAbove(x int) {
	for _, step := range t.above(x) {
		t.nodes[step[0]] = nil
	}
}

func (t *publicTree) remove(leaf mls.LeafIndex) {
	x := int(leaf.Node())
	t.blankAbove(x)
	t.nodes[x] = nil
	for len(t.nodes) > 1 && len(t.resolution(right(t.root()))) == 0 {
		t.nodes = t.nodes[:t.root()]
	}
}

// place finds the leaf for a client that joins.
func (t *publicTree) place() mls.LeafIndex {
	for x := 0; x < len(t.nodes); x += 2 {
		if t.nodes[x] == nil {
			return mls.LeafIndex(x / 2)
		}
	}
	at := len(t.nodes) + 1
	t.nodes = append(t.nodes, make([][]byte, at)...)
	return mls.LeafIndex(at / 2)
}

func (t *publicTree) resolution(x int) []int {
	switch {
	case t.nodes[x] != nil && level(x) > 0:
		r := mls.NewReader("node", t.nodes[x][1:])
		nodes := []int{x}
		for _, leaf := range mls.ReadParentNode(r).UnmergedLeaves {
			nodes = append(nodes, int(leaf.Node()))
		}
		return nodes
	case t.nodes[x] != nil:
		return []int{x}
	case level(x) == 0:
		return nil
	default:
		return append(t.resolution(left(x)), t.resolution(right(x))...)
	}
}

// hash is the tree hash under a node (RFC 9420 §7.8).
func (t *publicTree) hash(x int) []byte {
	var w mls.Writer
	leaf := level(x) == 0
	if leaf {
		w.Uint8(1)
		w.Uint32(uint32(x / 2))
	} else {
		w.Uint8(2)
	}
	w.Bool(t.nodes[x] != nil)
	if t.nodes[x] != nil {
		w.Fixed(t.nodes[x][1:])
	}
	if !leaf {
		w.Opaque(t.hash(left(x)))
		w.Opaque(t.hash(right(x)))
	}
	return t.suite.Hash(w.Bytes())
}

// path makes the UpdatePath of a leaf (RFC 9420 §7.5, §7.9): keys and secrets are made up, the hashes are not.
func (t *publicTree) path(at mls.LeafIndex, random func(int) []byte, leaf mls.LeafNode, group mls.GroupID, key *mls.SigningKey) *mls.UpdatePath {
	t.t.Helper()
	path := &mls.UpdatePath{Leaf: leaf}
	var steps [][2]int
	for _, step := range t.above(int(at.Node())) {
		resolution := t.resolution(step[1])
		if len(resolution) == 0 {
			continue
		}
		steps = append(steps, step)
		node := mls.UpdatePathNode{EncryptionKey: random(32)}
		for range resolution {
			node.Secrets = append(node.Secrets, mls.HPKECiphertext{KEMOutput: random(32), Ciphertext: random(48)})
		}
		path.Nodes = append(path.Nodes, node)
	}
	t.blankAbove(int(at.Node()))
	var hash []byte
	for k := len(steps) - 1; k >= 0; k-- {
		var w mls.Writer
		w.Opaque(path.Nodes[k].EncryptionKey)
		w.Opaque(hash)
		w.Opaque(t.hash(steps[k][1]))
		hash = t.suite.Hash(w.Bytes())
	}
	path.Leaf.EncryptionKey = random(32)
	path.Leaf.Source = mls.LeafCommit{ParentHash: hash}
	if err := path.Leaf.Sign(key, mls.LeafPlace{GroupID: group, Leaf: at}); err != nil {
		t.t.Fatal(err)
	}
	return path
}
