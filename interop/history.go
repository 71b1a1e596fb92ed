package interop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"parley/mls"
)

const (
	notBefore = 946_684_800   // 2000-01-01
	notAfter  = 4_102_444_800 // 2100-01-01
	atSeconds = 1_800_000_000
)

// history is one group's life. Everything that happens in it follows from its seed; keys are the clients' own, and new each time.
type history struct {
	population *Population
	random     *rand.Rand // decides what happens
	damage     *rand.Rand // decides how messages are damaged
	suite      *mls.Suite
	hub        *mls.SigningKey
	other      *mls.SigningKey // of an external sender that never sends
	membersMax int

	group  *mls.PublicGroup
	info   mls.GroupInfo         // of the present epoch, as the hub rebuilt it
	safe   bool                  // the group uses Safe AAD
	leaves map[int]mls.LeafIndex // the members' leaves
	since  map[int]mls.Epoch     // when each member came
	known  int                   // clients 0 to known-1 have been named
	psks   []string              // the names of those that all clients share

	packages map[mls.KeyPackageRef]int // whose they are
	pending  map[mls.ProposalRef]*mls.PublicMessage
	tally    Tally
}

// Tally counts what happened, by kind.
type Tally map[string]int

// Add adds what happened elsewhere.
func (t Tally) Add(other Tally) {
	for kind, n := range other {
		t[kind] += n
	}
}

// Live has a population live through the history of a seed, for a number of epochs. The error says in which epoch hub and
// clients differed, or who refused what.
func Live(p *Population, seed uint64, epochs int) (Tally, error) {
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], seed)
	id := mls.CipherSuite(p.Suites[seed%uint64(len(p.Suites))])
	suite, err := id.Suite()
	if err != nil {
		return nil, err
	}
	h := &history{
		population: p, suite: suite, random: rand.New(rand.NewPCG(seed, 1)), damage: rand.New(rand.NewPCG(seed, 2)),
		leaves: make(map[int]mls.LeafIndex), since: make(map[int]mls.Epoch), tally: Tally{fmt.Sprintf("histories of suite %d", id): 1},
	}
	h.membersMax = p.members
	if seed%8 == 0 {
		h.membersMax *= 3 // and enough room for a tree of more levels
	}
	entropy := rand.NewChaCha8(key)
	for _, made := range []**mls.SigningKey{&h.hub, &h.other} {
		if *made, err = mls.GenerateSigningKey(suite.Scheme, entropy); err != nil {
			return nil, err
		}
	}
	if err := h.create(); err != nil {
		return h.tally, fmt.Errorf("create the group: %w", err)
	}
	if h.safe {
		h.tally["histories with Safe AAD"]++
	}
	for range epochs {
		if err := h.epoch(); err != nil {
			return h.tally, fmt.Errorf("in epoch %d, of %d members: %w", h.group.Epoch(), len(h.leaves), err)
		}
	}
	if p.does("reinit") {
		if err := h.end(); err != nil {
			return h.tally, fmt.Errorf("in epoch %d, the last: %w", h.group.Epoch(), err)
		}
	}
	return h.tally, nil
}

func (h *history) chance(percent int) bool { return h.random.IntN(100) < percent }

func (h *history) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(h.random.Uint32())
	}
	return b
}

// codes are code points that a leaf lists beside those that all list.
func (h *history) codes() []uint16 {
	list := []uint16{}
	for range h.random.IntN(3) {
		list = append(list, 0xf100+uint16(h.random.IntN(0x100)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (h *history) create() error {
	if _, err := h.population.do(frame{"do": "begin", "suite": h.suite.ID, "not_before": notBefore, "not_after": notAfter}); err != nil {
		return err
	}
	group := h.bytes(16)
	made, err := h.population.do(frame{
		"do": "create", "client": 0, "group_id": group, "codes": h.codes(), "extensions": h.extensions(nil).Marshal(),
	})
	if err != nil {
		return err
	}
	if len(made.Members) != 1 {
		return fmt.Errorf("%d members", len(made.Members))
	}
	h.known = 1
	info, err := readInfo(made.GroupInfo)
	if err != nil {
		return err
	}
	tree, err := mls.ParseRatchetTree(made.Members[0].Tree)
	if err != nil {
		return err
	}
	if h.group, err = mls.NewPublicGroup(info, tree); err != nil {
		return err
	}
	h.info = info
	h.leaves[0], h.since[0] = 0, 0
	return h.compare(made.Members)
}

// epoch has the group come to its next epoch.
func (h *history) epoch() error {
	h.packages = make(map[mls.KeyPackageRef]int)
	h.pending = make(map[mls.ProposalRef]*mls.PublicMessage)
	e := newEpoch()
	for range h.random.IntN(4) {
		if err := h.propose(e); err != nil {
			return err
		}
	}
	switch {
	case h.population.does("external") && len(h.leaves) < h.membersMax && h.chance(12):
		return h.enter(e, h.outsider(e), "external Commit")
	case h.population.does("resync") && len(h.leaves) > 1 && h.chance(8):
		if client, ok := h.pick(e.untouched); ok {
			return h.enter(e, client, "resync")
		}
	}
	return h.commit(e)
}

// end has a member end the group by a ReInit, after which the hub takes nothing more.
func (h *history) end() error {
	client, _ := h.pick(func(mls.LeafIndex) bool { return true })
	h.pending = make(map[mls.ProposalRef]*mls.PublicMessage)
	made, err := h.population.do(frame{
		"do": "commit", "client": client, "path": false, "rotate": false, "aad": h.aad(),
		"proposals": []frame{{"kind": "reinit", "group_id": h.bytes(16)}},
	})
	if err != nil {
		return err
	}
	if err := h.take(&committed{client: client, what: "Commit", commit: made.Message, info: made.GroupInfo}); err != nil {
		return err
	}
	raw, err := h.hubMessage(mls.Remove{Removed: h.leaves[client]})
	if err != nil {
		return err
	}
	late, err := read[*mls.PublicMessage](raw)
	if err != nil {
		return err
	}
	if _, err := h.group.VerifyProposal(late, atSeconds); err == nil {
		return errors.New("a Proposal is accepted after a ReInit has ended the group")
	}
	return nil
}

// members lists the members' clients in order, so that what is drawn from them follows from the seed.
func (h *history) members() []int { return slices.Sorted(maps.Keys(h.leaves)) }

// pick draws a member whose leaf satisfies a condition.
func (h *history) pick(where func(mls.LeafIndex) bool) (int, bool) {
	var fit []int
	for _, client := range h.members() {
		if where(h.leaves[client]) {
			fit = append(fit, client)
		}
	}
	if len(fit) == 0 {
		return 0, false
	}
	return fit[h.random.IntN(len(fit))], true
}

// outsider draws a client that is not in the group, often one that was, and whose Add is not under way.
func (h *history) outsider(e *epoch) int {
	var out []int
	for client := range h.known {
		if _, member := h.leaves[client]; !member && !e.adding[client] {
			out = append(out, client)
		}
	}
	if len(out) > 0 && h.chance(60) {
		return out[h.random.IntN(len(out))]
	}
	h.known++
	return h.known - 1
}

// compare holds the members against the hub: those that are named, or all that there are.
func (h *history) compare(members []member) error {
	for _, m := range members {
		leaf, known := h.leaves[m.Client]
		switch {
		case !known:
			return fmt.Errorf("client %d is in the group, for itself alone", m.Client)
		case mls.LeafIndex(m.Leaf) != leaf:
			return fmt.Errorf("client %d is at leaf %d, for the hub at %d", m.Client, m.Leaf, leaf)
		case mls.Epoch(m.Epoch) != h.group.Epoch():
			return fmt.Errorf("client %d is in epoch %d, the hub in %d", m.Client, m.Epoch, h.group.Epoch())
		case !bytes.Equal(m.Context, h.group.ContextBytes()):
			return fmt.Errorf("client %d has another GroupContext:\n%x, the hub\n%x", m.Client, m.Context, h.group.ContextBytes())
		case !bytes.Equal(m.Tree, h.group.Tree().Marshal()):
			return fmt.Errorf("client %d has another tree:\n%x, the hub\n%x", m.Client, m.Tree, h.group.Tree().Marshal())
		case !bytes.Equal(m.Authenticator, members[0].Authenticator) || len(m.Authenticator) != h.suite.HashBytes():
			return fmt.Errorf("clients %d and %d have different epoch authenticators", m.Client, members[0].Client)
		}
	}
	h.tally["states compared"] += len(members)
	return nil
}
