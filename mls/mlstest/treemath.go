package mlstest

import (
	"math/bits"

	"parley/mls"
)

// The tree's arithmetic in its array form (RFC 9420 appendix C): leaves at even indices, parents at odd ones.

type index = mls.NodeIndex

// level is a node's height above the leaves: the number of ones at the end of its index.
func level(x index) int { return bits.TrailingZeros32(^uint32(x)) }

func leftOf(x index) index  { return x - 1<<(level(x)-1) }
func rightOf(x index) index { return x + 1<<(level(x)-1) }

// parentOf is the node above: the one a level higher of which x is a child.
func parentOf(x index) index {
	k := level(x)
	if x>>(k+1)&1 == 0 {
		return x + 1<<k
	}
	return x - 1<<k
}

func siblingOf(x index) index {
	p := parentOf(x)
	if x < p {
		return rightOf(p)
	}
	return leftOf(p)
}

// leafOf is the leaf that stands at an even index.
func leafOf(x index) mls.LeafIndex { return mls.LeafIndex(x / 2) }
