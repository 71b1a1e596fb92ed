package mlstest

import (
	"fmt"
	"slices"

	"parley/mls"
)

// Legal draws a Plan that a hub has to accept, with up to some ten Proposals of every kind but ReInit, by value and by reference;
// the latter wait in the group afterwards, and Waiting has them. About every fifth Plan is an external Commit, and some of these
// are a resync. Where many Plans follow each other a group grows to some thirty members and stays there.
func (g *Group) Legal() (Plan, error) {
	d := draw{Group: g, free: g.Leaves()}
	if g.chance(5) {
		d.join()
	} else {
		d.plan.Committer = d.take()
		d.byReference()
		d.byValue()
		d.plan.Path = d.needsPath || len(d.plan.Inline)+len(d.plan.References) == 0 || g.chance(2)
	}
	return d.plan, d.err
}

// Waiting lists the Proposals of this epoch that wait, by reference.
func (g *Group) Waiting() map[mls.ProposalRef]*mls.PublicMessage { return g.pending }

// chance is true once in n times.
func (g *Group) chance(n int) bool { return g.below(n) == 0 }

// below is a number from 0 to n-1.
func (g *Group) below(n int) int { return int(g.entropy.Uint64() % uint64(n)) }

// draw is a Plan in the making.
type draw struct {
	*Group
	plan      Plan
	free      []mls.LeafIndex // the members that no part of the plan has touched
	needsPath bool
	err       error
}

// take draws a member that is free.
func (d *draw) take() mls.LeafIndex {
	at := d.below(len(d.free))
	i := d.free[at]
	d.free = slices.Delete(d.free, at, at+1)
	return i
}

// more is true once in n times, while there is a member to take.
func (d *draw) more(n int) bool { return len(d.free) > 0 && d.chance(n) }

func (d *draw) inline(p mls.Proposal, err error) {
	d.err = firstOf(d.err, err)
	d.plan.Inline = append(d.plan.Inline, p)
}

func (d *draw) reference(from mls.Sender, p mls.Proposal, err error) {
	if d.err = firstOf(d.err, err); d.err != nil {
		return
	}
	_, ref, err := d.Propose(from, p)
	d.err = err
	if !slices.Contains(d.plan.References, ref) { // the same sender may have said the same before, which is the same message
		d.plan.References = append(d.plan.References, ref)
	}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// join makes the Plan an external Commit: of a new client, or of a member that has lost its state.
func (d *draw) join() {
	d.plan.Path = true
	if d.more(3) {
		gone := d.take()
		d.plan.Joiner = d.Member(gone)
		d.inline(mls.Remove{Removed: gone}, nil)
	} else {
		d.plan.Joiner, d.err = d.Client(d.name())
	}
	for d.more(4) {
		d.reference(mls.MemberSender{Leaf: d.take()}, mls.SelfRemove{}, nil)
	}
	if d.chance(3) {
		d.inline(d.ExternalPSK("key"), nil)
	}
	d.components(func(p mls.Proposal) { d.inline(p, nil) })
}

// name is of a client that nobody has met.
func (d *draw) name() string { return fmt.Sprintf("c%d", len(d.clients)) }

// byReference adds Proposals that others, or the committer itself, have sent.
func (d *draw) byReference() {
	committer := mls.MemberSender{Leaf: d.plan.Committer}
	for d.more(3) {
		i := d.take()
		update, err := d.Update(i)
		d.reference(mls.MemberSender{Leaf: i}, update, err)
		d.needsPath = true
	}
	for d.more(6) {
		d.reference(mls.MemberSender{Leaf: d.take()}, mls.SelfRemove{}, nil)
		d.needsPath = true
	}
	if d.chance(4) {
		add, err := d.Add(d.name())
		d.reference(d.anyone(mls.NewMemberProposal{}), add, err)
	}
	if d.more(8) {
		d.reference(d.anyone(committer), mls.Remove{Removed: d.take()}, nil)
		d.needsPath = true
	}
	if d.chance(6) {
		d.reference(d.anyone(committer), d.ResumptionPSK(mls.ResumptionApplication, "another", 7), nil)
	}
	if d.chance(4) {
		d.components(func(p mls.Proposal) { d.reference(d.anyone(committer), p, nil) })
	}
}

// anyone is a sender, or in its place an external one where the group has any.
func (d *draw) anyone(or mls.Sender) mls.Sender {
	if len(d.senders) > 0 && d.chance(2) {
		return mls.ExternalSenderIndex(d.below(len(d.senders)))
	}
	return or
}

// byValue adds Proposals of the committer's.
func (d *draw) byValue() {
	for range d.below(4) {
		if len(d.Leaves()) < 32 || d.chance(4) {
			add, err := d.Add(d.name())
			d.inline(add, err)
		}
	}
	for d.more(4) {
		d.inline(mls.Remove{Removed: d.take()}, nil)
		d.needsPath = true
	}
	if d.chance(5) {
		d.inline(d.ExternalPSK("key"), nil)
	}
	if d.chance(5) {
		required := mls.RequiredCapabilities{Credentials: []mls.CredentialType{mls.CredentialBasic}}
		if d.chance(2) {
			required.Proposals = []mls.ProposalType{mls.ProposalAppDataUpdate, mls.ProposalSelfRemove}
		}
		d.inline(mls.GroupContextExtensions{Extensions: d.context.Extensions.With(mls.ExtensionRequiredCapabilities, required.Marshal())}, nil)
		d.needsPath = true
	}
	if d.plan.References == nil {
		d.components(func(p mls.Proposal) { d.inline(p, nil) })
	}
}

// components draws what is done to the components, of which one may not be both updated and removed.
func (d *draw) components(send func(mls.Proposal)) {
	dictionary, err := d.context.Extensions.Dictionary()
	d.err = firstOf(d.err, err)
	for _, id := range []mls.ComponentID{ComponentText, ComponentLog} {
		_, present := dictionary.Get(id)
		switch {
		case present && d.chance(6):
			send(mls.AppDataUpdate{Component: id, Operation: mls.ComponentRemove{}})
		case d.chance(3):
			for range 1 + d.below(2) {
				send(mls.AppDataUpdate{Component: id, Operation: mls.ComponentUpdate{Update: d.Octets(d.below(20))}})
			}
		}
	}
	if d.chance(6) {
		send(mls.AppEphemeral{Component: ComponentText, Data: d.Octets(8)})
	}
}
