package mls

import "bytes"

// VerifyTree checks a tree beside the GroupContext that goes with it, without a GroupInfo: it is the one that the context
// hashes, sound in itself, and every member supports what the context demands (RFC 9420 §12.4.3.1). The errors are
// *InvalidError. Like TreeHash it must not run beside another method of the tree until it has run once.
func (c GroupContext) VerifyTree(tree *RatchetTree) error {
	s, err := c.Suite.Suite()
	if err != nil {
		return err
	}
	if !bytes.Equal(tree.TreeHash(s), c.TreeHash) {
		return invalid("12.4.3.1", "the tree is not the one that the GroupContext hashes")
	}
	if err := tree.verify(s, c.GroupID); err != nil {
		return err
	}
	return tree.checkSupport(s, c.Extensions, nil, nil)
}

// VerifyAlone checks a tree of which nothing else is known but its suite, as far as that goes: all of RFC 9420 §12.4.3.1 but the
// signatures of the leaves that came from an Update or a Commit, which cover the group_id. It returns those leaves, of which
// nobody knows yet whether they were signed. The errors are *InvalidError. It may run beside others as TreeHash may.
func (t *RatchetTree) VerifyAlone(s *Suite) (unverified []LeafIndex, err error) {
	t.TreeHash(s)
	err = t.verifyWith(s, func(i LeafIndex, n *LeafNode) bool {
		if _, packaged := n.Source.(Lifetime); !packaged {
			unverified = append(unverified, i)
			return true
		}
		return n.Verify(s, LeafPlace{})
	})
	if err != nil {
		return nil, err
	}
	return unverified, t.checkSupport(s, nil, nil, nil)
}
