package interop

import (
	"fmt"
	"slices"

	"parley/mls"
)

// origin is how a Proposal comes into the group.
type origin int

const (
	fromMember    origin = iota // by itself
	fromCommitter               // in the Commit
	fromEntrant                 // in an external Commit
	fromHub                     // by itself, from an external sender
)

// kinds are what can come from each origin, some more often than others.
var kinds = map[origin][]string{
	fromMember: {"add", "add", "add", "remove", "update", "update", "update", "self_remove", "group_context_extensions", "psk",
		"component_update", "component_update", "component_remove"},
	fromCommitter: {"add", "add", "add", "add", "remove", "remove", "group_context_extensions", "psk", "resumption_psk",
		"component_update", "component_update", "component_remove", "app_ephemeral"},
	fromEntrant: {"psk", "component_update", "component_remove"},
	fromHub:     {"remove", "remove", "add", "group_context_extensions", "psk", "component_update"},
}

// proposal is one that was drawn: as a population makes it, and as the hub would.
type proposal struct {
	kind  string
	frame frame
	value mls.Proposal
}

// draw makes up a Proposal that is legal beside those of the epoch; nil where it finds none. Who sends or commits it is at
// leaf self, where it is a member.
func (h *history) draw(e *epoch, from origin, self mls.LeafIndex) (*proposal, error) {
	for range 10 {
		kind := kinds[from][h.random.IntN(len(kinds[from]))]
		if !h.population.does(kind) || from == fromHub && !h.population.does("hub_"+kind) || from == fromEntrant && !h.population.does("entrant_"+kind) {
			continue
		}
		made, err := h.make(e, from, kind, self)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		if made != nil {
			made.kind = kind
			made.frame["kind"] = kind
			return made, nil
		}
	}
	return nil, nil
}

// make makes a Proposal of a kind; nil where none would be legal now.
func (h *history) make(e *epoch, from origin, kind string, self mls.LeafIndex) (*proposal, error) {
	switch kind {
	case "add":
		return h.makeAdd(e, from)
	case "remove":
		return h.makeRemove(e, from, self), nil
	case "update", "self_remove":
		if !h.mayTouch(e, self) {
			return nil, nil
		}
		e.touched[self] = true
		f := frame{"rotate": false}
		if kind == "update" && h.population.does("rotate") {
			f["rotate"] = h.chance(30)
		}
		if kind == "update" && h.chance(30) {
			f["codes"] = h.codes()
		}
		return &proposal{frame: f}, nil
	case "group_context_extensions":
		if e.context || len(e.components) > 0 && !h.population.does("context_after_components") {
			return nil, nil
		}
		e.context = true
		extensions := h.extensions(h.group.Context().Extensions)
		return &proposal{frame: frame{"extensions": extensions.Marshal()}, value: mls.GroupContextExtensions{Extensions: extensions}}, nil
	case "psk", "resumption_psk":
		if from == fromCommitter && e.psks && !h.population.does("psks_of_both_kinds") {
			return nil, nil
		}
		e.psks = e.psks || from != fromCommitter
		return h.makePSK(e, kind)
	case "component_update", "component_remove":
		return h.makeComponent(e, kind), nil
	default: // app_ephemeral
		return &proposal{frame: frame{"component": componentReplaced, "data": h.bytes(h.random.IntN(20))}}, nil
	}
}

// mayTouch reports whether a leaf can still be updated or removed: once in an epoch, and somebody must be left to commit.
func (h *history) mayTouch(e *epoch, i mls.LeafIndex) bool {
	return !e.touched[i] && len(h.leaves)-len(e.touched) > 2
}

func (h *history) makeAdd(e *epoch, from origin) (*proposal, error) {
	if e.addsNone || len(h.leaves)+len(e.adding) >= h.membersMax {
		return nil, nil
	}
	client := h.outsider(e)
	if n := len(e.swappable); n > 0 && from == fromCommitter && h.population.does("swap") && h.chance(50) {
		client, e.swappable = e.swappable[n-1], nil
		h.tally["clients removed and added at once"]++
	}
	raw, kp, err := h.keyPackage(client)
	if err != nil {
		return nil, err
	}
	e.adding[client] = true
	return &proposal{frame: frame{"key_package": raw}, value: mls.Add{KeyPackage: *kp}}, nil
}

// keyPackage has a client make one, and verifies it as a hub does that stores it.
func (h *history) keyPackage(client int) ([]byte, *mls.KeyPackage, error) {
	made, err := h.population.do(frame{"do": "key_package", "client": client, "codes": h.codes()})
	if err != nil {
		return nil, nil, err
	}
	verify := func(raw []byte) (*mls.KeyPackage, error) {
		kp, err := read[*mls.KeyPackage](raw)
		if err != nil {
			return nil, err
		}
		return kp, kp.Verify(atSeconds)
	}
	if err := h.refuses("KeyPackage", made.Message, len(made.Message), func(raw []byte) error { _, err := verify(raw); return err }); err != nil {
		return nil, nil, err
	}
	kp, err := verify(made.Message)
	if err != nil {
		return nil, nil, fmt.Errorf("the hub refuses a KeyPackage: %w", err)
	}
	ref, err := kp.Ref()
	if err != nil {
		return nil, nil, err
	}
	h.packages[ref] = client
	h.tally["KeyPackages"]++
	return made.Message, kp, nil
}

func (h *history) makeRemove(e *epoch, from origin, self mls.LeafIndex) *proposal {
	client, ok := h.pick(func(i mls.LeafIndex) bool { return h.mayTouch(e, i) && (from != fromCommitter || i != self) })
	if !ok {
		return nil
	}
	leaf := h.leaves[client]
	e.touched[leaf] = true
	if from == fromCommitter {
		e.swappable = append(e.swappable, client)
	}
	return &proposal{frame: frame{"leaf": leaf}, value: mls.Remove{Removed: leaf}}
}

// makePSK refers to a secret that all have: one from outside, or that of an epoch in which all were members, which nobody
// can know who is just being added.
func (h *history) makePSK(e *epoch, kind string) (*proposal, error) {
	nonce := h.bytes(h.suite.HashBytes())
	if kind == "resumption_psk" {
		var first mls.Epoch
		for _, since := range h.since {
			first = max(first, since)
		}
		if len(e.adding) > 0 || first == h.group.Epoch() || h.group.Epoch()-first > 4 {
			return nil, nil
		}
		e.addsNone = true
		return &proposal{frame: frame{"epoch": first, "nonce": nonce}}, nil
	}
	id := fmt.Appendf(nil, "secret %d", h.random.IntN(3))
	if !slices.Contains(h.psks, string(id)) {
		h.psks = append(h.psks, string(id))
		if _, err := h.population.do(frame{"do": "psk", "id": id, "secret": h.bytes(32)}); err != nil {
			return nil, err
		}
	}
	return &proposal{
		frame: frame{"id": id, "nonce": nonce},
		value: mls.PreSharedKey{PSK: mls.PreSharedKeyID{Source: mls.ExternalPSK{ID: id}, Nonce: nonce}},
	}, nil
}
