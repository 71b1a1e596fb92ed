package clustertest

import (
	"math"
	"slices"

	"github.com/anishathalye/porcupine"

	"parley/fsm"
	"parley/mimi"
)

// upload is what a client brings into an inventory, in order.
type upload struct{ refs []string }

// claim asks for the next KeyPackage of an inventory. A retry has the same key.
type claim struct{ key [32]byte }

// uploaded and given answer them; a nil output: no answer ever came.
type uploaded struct{ refused []string }

type given struct{ ref string } // empty: exhausted

// uploadedTo notes an upload with its answer.
func (h *history) uploadedTo(client int, user mimi.UserURI, c fsm.UploadKeyPackages, called int64, outcome fsm.Outcome) {
	var in upload
	for _, p := range c.Packages {
		in.refs = append(in.refs, string(p.Ref))
	}
	var out any
	if o, yes := outcome.(fsm.Uploaded); yes {
		var told uploaded
		for _, ref := range o.Refused {
			told.refused = append(told.refused, string(ref))
		}
		out = told
	}
	h.inventoryOperation(client, user, in, called, out)
}

// claimedFrom notes a claim with its answer. Each user has one client.
func (h *history) claimedFrom(client int, user mimi.UserURI, key [32]byte, called int64, outcome fsm.Outcome) {
	var out any
	if o, yes := outcome.(fsm.Claimed); yes {
		var told given
		for _, one := range o.Clients {
			told.ref = string(one.Ref)
		}
		out = told
	}
	h.inventoryOperation(client, user, claim{key}, called, out)
}

func (h *history) inventoryOperation(client int, user mimi.UserURI, in any, called int64, out any) {
	returned := h.clock.Add(1)
	if out == nil {
		returned = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inventories[user] = append(h.inventories[user], porcupine.Operation{
		ClientId: client, Input: in, Call: called, Output: out, Return: returned,
	})
}

// stock is the state of the model: what lies there, in the order in which it goes out. It is never changed in place.
type stock []string

// inventory is what a user's KeyPackages must look like from outside: one queue, from which each claim takes the first.
var inventory = porcupine.Model{
	Init:  func() any { return stock(nil) },
	Equal: func(a, b any) bool { return slices.Equal(a.(stock), b.(stock)) },
	Step: func(state, input, output any) (bool, any) {
		s := state.(stock)
		switch in := input.(type) {
		case upload:
			return true, stock(slices.Concat(s, takenIn(in, output)))
		case claim:
			return s.claimed(output)
		default:
			return false, s
		}
	},
}

func takenIn(in upload, output any) stock {
	told, _ := output.(uploaded)
	var refs stock
	for _, ref := range in.refs {
		if !slices.Contains(told.refused, ref) {
			refs = append(refs, ref)
		}
	}
	return refs
}

func (s stock) claimed(output any) (bool, any) {
	told, answered := output.(given)
	switch {
	case len(s) == 0:
		return !answered || told.ref == "", s
	case answered && told.ref != s[0]:
		return false, s
	default:
		return true, s[1:]
	}
}
