package interop

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"parley/mls"
)

// propose has a member, the hub or a client that wants to join send a Proposal, which the hub accepts and all members take.
func (h *history) propose(e *epoch) error {
	client, ok := h.pick(e.untouched)
	if !ok {
		return nil
	}
	sender := any(client)
	var made *proposal
	var raw []byte
	var err error
	switch {
	case h.population.does("hub_remove") && h.chance(25):
		sender = nil
		if made, err = h.draw(e, fromHub, 0); made != nil && err == nil {
			raw, err = h.hubMessage(made.value)
		}
	case h.population.does("propose_join") && !h.safe && !e.addsNone && len(h.leaves)+len(e.adding) < h.membersMax && h.chance(12):
		sender = nil
		made, raw, err = h.proposeJoin(e)
	default:
		if made, err = h.draw(e, fromMember, h.leaves[client]); made != nil && err == nil {
			raw, err = h.ask(frame{"do": "propose", "client": client, "proposal": made.frame, "aad": h.aad()})
		}
	}
	if err != nil || made == nil {
		return err
	}
	if err := h.acceptProposal(raw, made.kind); err != nil {
		return err
	}
	if made.kind == "self_remove" {
		e.selfRemoves = append(e.selfRemoves, raw)
	}
	h.tally["Proposals by themselves"]++
	_, err = h.population.do(frame{"do": "deliver", "message": raw, "sender": sender})
	return err
}

// ask is a frame whose answer is one message.
func (h *history) ask(f frame) ([]byte, error) {
	a, err := h.population.do(f)
	if err != nil {
		return nil, err
	}
	return a.Message, nil
}

// hubMessage signs a Proposal as the hub, in the place that the group's external_senders give it.
func (h *history) hubMessage(p mls.Proposal) ([]byte, error) {
	senders, err := h.group.ExternalSenders()
	if err != nil {
		return nil, err
	}
	for i, s := range senders {
		if !bytes.Equal(s.SignatureKey, h.hub.Public()) {
			continue
		}
		m := &mls.PublicMessage{Content: mls.FramedContent{
			GroupID: h.group.GroupID(), Epoch: h.group.Epoch(), Sender: mls.ExternalSenderIndex(i), Body: p,
		}}
		if h.safe {
			m.Content.AuthenticatedData = mls.SafeAAD{{Component: componentReplaced, Data: []byte("hub")}}.Marshal()
		}
		if err := m.Sign(h.hub, h.group.ContextBytes()); err != nil {
			return nil, err
		}
		return mls.MLSMessage{Body: m}.Marshal(), nil
	}
	return nil, errors.New("the hub is not among the external senders")
}

func (h *history) proposeJoin(e *epoch) (*proposal, []byte, error) {
	client := h.outsider(e)
	e.adding[client] = true
	kp, _, err := h.keyPackage(client)
	if err != nil {
		return nil, nil, err
	}
	raw, err := h.ask(frame{
		"do": "propose_join", "client": client, "key_package": kp, "group_id": []byte(h.group.GroupID()), "epoch": h.group.Epoch(),
	})
	return &proposal{kind: "propose_join"}, raw, err
}

// acceptProposal judges a Proposal as the hub does, and keeps it for the Commit.
func (h *history) acceptProposal(raw []byte, kind string) error {
	verify := func(raw []byte) error {
		m, err := read[*mls.PublicMessage](raw)
		if err != nil {
			return err
		}
		_, err = h.group.VerifyProposal(m, atSeconds)
		return err
	}
	m, err := read[*mls.PublicMessage](raw)
	if err != nil {
		return fmt.Errorf("the hub cannot read the %s: %w", kind, err)
	}
	if err := h.refuses(kind, raw, signedBytes(raw, m), verify); err != nil {
		return err
	}
	ref, err := h.group.VerifyProposal(m, atSeconds)
	if err != nil {
		return fmt.Errorf("the hub refuses a legal %s: %w", kind, err)
	}
	h.pending[ref] = m
	return nil
}

// committed is what a committer sent.
type committed struct {
	client  int
	what    string
	commit  []byte
	welcome []byte
	info    []byte
}

// commit has a member commit, or two at once, of which the hub takes one.
func (h *history) commit(e *epoch) error {
	made, err := h.makeCommit(e.fork())
	if err != nil {
		return err
	}
	if !h.chance(15) {
		return h.take(made)
	}
	late, err := h.makeCommit(e.fork())
	switch {
	case err != nil:
		return err
	case late.client == made.client:
		return h.take(late) // a member's second Commit takes the place of its first
	}
	if err := h.take(made); err != nil {
		return err
	}
	h.tally["Commits that came second"]++
	return h.refusesLate(late)
}

// refusesLate expects the hub to refuse a Commit, good in itself, for its epoch, which is over.
func (h *history) refusesLate(late *committed) error {
	m, err := read[*mls.PublicMessage](late.commit)
	if err != nil {
		return err
	}
	var wrong *mls.WrongEpochError
	if _, err := h.group.Stage(m, h.input()); !errors.As(err, &wrong) {
		return fmt.Errorf("a Commit for an epoch that is over is not refused for that: %v", err)
	}
	return nil
}

// makeCommit has a member make a Commit of the pending Proposals and of some of its own.
func (h *history) makeCommit(e *epoch) (*committed, error) {
	client, ok := h.pick(e.untouched)
	if !ok {
		return nil, errors.New("nobody is left to commit")
	}
	self := h.leaves[client]
	proposals, own := []frame{}, []string{}
	for range h.random.IntN(5) {
		made, err := h.draw(e, fromCommitter, self)
		if err != nil {
			return nil, err
		}
		if made != nil {
			proposals, own = append(proposals, made.frame), append(own, made.kind)
		}
	}
	f := frame{"do": "commit", "client": client, "proposals": proposals, "path": h.chance(50), "rotate": h.population.does("rotate") && h.chance(10)}
	f["aad"] = h.aad()
	if h.chance(15) {
		f["codes"] = h.codes()
	}
	made, err := h.population.do(f)
	if err != nil {
		return nil, fmt.Errorf("%w (client %d, with %v)", err, client, own)
	}
	return &committed{client: client, what: "Commit", commit: made.Message, welcome: made.Welcome, info: made.GroupInfo}, nil
}

// enter has a client join by an external Commit, made from the GroupInfo and the tree that the hub gives out.
func (h *history) enter(e *epoch, client int, what string) error {
	proposals := []frame{}
	for range h.random.IntN(3) {
		made, err := h.draw(e, fromEntrant, 0)
		if err != nil {
			return err
		}
		if made != nil {
			proposals = append(proposals, made.frame)
		}
	}
	removes := e.selfRemoves
	if removes == nil {
		removes = [][]byte{}
	}
	made, err := h.population.do(frame{
		"do": "external", "client": client, "proposals": proposals, "self_removes": removes, "codes": h.codes(), "aad": h.aad(),
		"group_info": mls.MLSMessage{Body: &h.info}.Marshal(), "ratchet_tree": h.group.Tree().Marshal(),
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return h.take(&committed{client: client, what: what, commit: made.Message, welcome: made.Welcome, info: made.GroupInfo})
}

// take has the hub accept a Commit, and all members after it; those whom it adds join from the hub's tree.
func (h *history) take(made *committed) error {
	staged, err := h.judge(made)
	if err != nil {
		return fmt.Errorf("%s of client %d: %w", made.what, made.client, err)
	}
	h.count(made, staged)
	h.group = staged.After
	if err := h.refusesLate(made); err != nil {
		return err
	}
	joined := h.follow(staged, made.client)
	settled, err := h.population.do(frame{"do": "settle", "client": made.client, "commit": made.commit})
	if err != nil {
		return err
	}
	members := settled.Members
	for _, client := range joined {
		a, err := h.population.do(frame{"do": "join", "client": client, "welcome": made.welcome, "ratchet_tree": h.group.Tree().Marshal()})
		if err != nil {
			return err
		}
		members = append(members, a.Members...)
	}
	h.tally["joins from the hub's tree"] += len(joined)
	if len(members) != len(h.leaves) {
		return fmt.Errorf("%d clients are in the group, for the hub %d", len(members), len(h.leaves))
	}
	return h.compare(members)
}

// count counts a Commit and its Proposals, by who sent them.
func (h *history) count(made *committed, staged *mls.Staged) {
	h.tally[made.what+"s"]++
	if len(staged.Proposals) == 0 {
		h.tally["empty Commits"]++
	}
	for _, p := range staged.Proposals {
		sender := "the committer"
		switch p.From.(type) {
		case mls.MemberSender:
			if p.Ref != "" {
				sender = "a member"
			}
		case mls.ExternalSenderIndex:
			sender = "the hub"
		case mls.NewMemberProposal:
			sender = "one who wants to join"
		case mls.NewMemberCommit:
			sender = "an entrant"
		}
		kind, _ := strings.CutPrefix(fmt.Sprintf("%T", p.Proposal), "mls.")
		h.tally[fmt.Sprintf("committed: %s by %s", kind, sender)]++
	}
}

// follow keeps who is where, and lists the clients that are to join by the Welcome.
func (h *history) follow(staged *mls.Staged, committer int) []int {
	for _, gone := range staged.Removed {
		for client, leaf := range h.leaves {
			if leaf == gone.Leaf {
				delete(h.leaves, client)
				delete(h.since, client)
			}
		}
	}
	var joined []int
	for _, added := range staged.Added {
		client := h.packages[added.Ref]
		h.leaves[client], h.since[client] = added.Leaf, staged.Epoch()
		joined = append(joined, client)
	}
	if staged.External {
		h.leaves[committer], h.since[committer] = staged.Committer, staged.Epoch()
	}
	return joined
}
