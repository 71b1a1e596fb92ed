package transport

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
)

// A cluster that lost a part of its history for good goes on in a new generation (fsm/generation.go), and a node that still has what it was before
// must take no part in it. So every call says in which generation its node is, as every Raft stream does: the two must be the same. A node that
// has no history yet says so, and may ask to be let in. What comes without a word is of the first generation, of a program that knows no other.

// headerGeneration is the caller's in a call, and the other's where it refuses one for that.
const headerGeneration = "Parley-Generation"

// CodeGeneration: the call was not handled, since the two nodes are of different generations of the cluster.
const CodeGeneration = "generation"

const (
	noGeneration    uint64 = 0 // of a node without a history
	firstGeneration uint64 = 1
)

// generations is what a port says of its node's generation, and whom it tells of a later one.
type generations struct {
	own   func() uint64                        // nil says none
	later func(node string, generation uint64) // nil tells nobody
	open  []string                             // methods for who has none
}

func (g generations) current() uint64 {
	if g.own == nil {
		return noGeneration
	}
	return g.own()
}

// sign says in a header which generation it is of.
func (g generations) sign(h http.Header) {
	if own := g.current(); own != firstGeneration {
		h.Set(headerGeneration, strconv.FormatUint(own, 10))
	}
}

// generationIn reads what sign wrote.
func generationIn(h http.Header) (uint64, error) {
	text := h.Get(headerGeneration)
	if text == "" {
		return firstGeneration, nil
	}
	return strconv.ParseUint(text, 10, 64)
}

// meets refuses a node of another generation. Where that is a later one, what this node has is over.
func (g generations) meets(node string, theirs uint64) error {
	own := g.current()
	if own == theirs || own == noGeneration || theirs == noGeneration {
		return nil
	}
	if theirs > own && g.later != nil {
		g.later(node, theirs)
	}
	return fmt.Errorf("the caller is of generation %d of the cluster, and this node of %d", theirs, own)
}

// admits is meets for who calls a method. Who has no history may only ask to be let in.
func (g generations) admits(node, method string, h http.Header) error {
	theirs, err := generationIn(h)
	if err == nil {
		err = g.meets(node, theirs)
	}
	if err == nil && theirs == noGeneration && g.current() != noGeneration && g.own != nil && !slices.Contains(g.open, method) {
		err = errors.New("the caller is not in the cluster yet")
	}
	if err != nil {
		return &RemoteError{CodeGeneration, err.Error()}
	}
	return nil
}

// refused heeds the answer to a call that was refused for its generation.
func (g generations) refused(node string, h http.Header, err error) {
	remote := (*RemoteError)(nil)
	if !errors.As(err, &remote) || remote.Code != CodeGeneration || node == "" {
		return
	}
	if theirs, err := generationIn(h); err == nil && theirs > g.current() && g.current() != noGeneration && g.later != nil {
		g.later(node, theirs)
	}
}
