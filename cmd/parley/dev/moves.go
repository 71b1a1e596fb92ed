package dev

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"parley/mimi"
	"parley/mls"
	"parley/mls/mlstest"
)

// move is what a Commit is there for.
type move int

const (
	moveRenew  move = iota // the committer's keys
	moveBring              // a guest into the group, with a Welcome for its clients
	movePart               // a guest from it
	moveJoin               // a joiner from outside, with what it was lent
	moveRejoin             // likewise, in the place of the client that it has in the group
	moves                  // how many there are
)

func (m move) String() string {
	return [moves]string{"renew keys", "bring guests in", "take guests out", "join from outside", "rejoin from outside"}[m]
}

// attempt is a Commit that somebody wants in an epoch.
type attempt struct {
	epoch  mls.Epoch
	hash   [32]byte
	bundle []byte
	move   move
}

// invitation is a client that a Welcome is for.
type invitation struct {
	ref    mls.KeyPackageRef
	user   mimi.UserURI
	client mimi.ClientURI
}

// waitingProposal is one that a member has sent by itself, and that others may commit.
type waitingProposal struct {
	epoch mls.Epoch
	from  mls.LeafIndex
	ref   mls.ProposalRef
	body  []byte // of its update request
}

// want makes a Commit of the newest epoch that nobody else makes, with the Proposals of others that wait. It does nothing more than to
// renew keys, unless a guest is to change sides: then the guest's clients are taken out if they are in, and brought in if they are not
// and there are KeyPackages of theirs.
func (a *arena) want(leaf mls.LeafIndex, changing *guest) (attempt, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	plan := mlstest.Plan{Committer: leaf, Path: true}
	for _, p := range a.waiting {
		if p.from != leaf { // RFC 9420 §12.2: a committer's own Update is its path
			plan.References = append(plan.References, p.ref)
		}
	}
	if changing == nil {
		return a.carryOut(a.group, plan, moveRenew, nil)
	}
	if inside := a.leavesOf(changing.clients); len(inside) > 0 {
		for _, at := range inside {
			plan.Inline = append(plan.Inline, mls.Remove{Removed: at})
		}
		return a.carryOut(a.group, plan, movePart, nil)
	}
	if len(changing.held) == 0 {
		return a.carryOut(a.group, plan, moveRenew, nil)
	}
	for _, k := range changing.held {
		plan.Inline = append(plan.Inline, mls.Add{KeyPackage: k})
	}
	return a.carryOut(a.group, plan, moveBring, changing)
}

// leavesOf are the places of clients in the newest epoch. Such a client's credential is its URI; the lock is held.
func (a *arena) leavesOf(clients []mimi.ClientURI) (places []mls.LeafIndex) {
	for _, at := range a.group.Leaves() {
		identity, basic := a.group.Leaf(at).Credential.(mls.BasicCredential)
		if basic && slices.ContainsFunc(clients, func(c mimi.ClientURI) bool { return c.String() == string(identity.Identity) }) {
			places = append(places, at)
		}
	}
	return places
}

// carryOut makes the Commit of a plan in an epoch, which may be over. The lock is held.
func (a *arena) carryOut(group *mlstest.Group, plan mlstest.Plan, m move, brought *guest) (attempt, error) {
	step, err := group.Commit(plan)
	if err != nil {
		return attempt{}, err
	}
	commit := mls.MLSMessage{Body: step.Message}
	bundle := mimi.CommitBundle{
		Commit: commit, Welcome: step.Welcome,
		GroupInfo: mimi.FullGroupInfo{GroupInfo: step.GroupInfo}, Tree: mimi.FullTree{Encoded: step.After.Tree()},
	}
	made := attempt{epoch: group.Epoch(), hash: sha256.Sum256(commit.Marshal()), bundle: bundle.Marshal(), move: m}
	if made.epoch == a.group.Epoch() {
		a.wanted[made.hash] = wanted{step, m, len(plan.References)}
	}
	if step.Welcome != nil {
		if a.welcomes[made.hash], err = brought.invitations(); err != nil {
			return attempt{}, err
		}
	}
	return made, nil
}

// propose makes the Proposal by which a member renews its leaf in the newest epoch.
func (a *arena) propose(leaf mls.LeafIndex) (waitingProposal, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	update, err := a.group.Update(leaf)
	if err != nil {
		return waitingProposal{}, err
	}
	message, ref, err := a.group.Propose(mls.MemberSender{Leaf: leaf}, update)
	if err != nil {
		return waitingProposal{}, err
	}
	body := mimi.ProposalBundle{Proposals: []mls.MLSMessage{{Body: message}}}.Marshal()
	return waitingProposal{epoch: a.group.Epoch(), from: leaf, ref: ref, body: body}, nil
}

// proposed lets others commit a Proposal that the hub has taken, while its epoch lasts.
func (a *arena) proposed(p waitingProposal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p.epoch == a.group.Epoch() {
		a.waiting = append(a.waiting, p)
	}
}

// joinerName is how the simulation names a joiner, before its number.
const joinerName = "joiner"

// join makes the external Commit of a joiner for an epoch that is or was known here. Where the joiner has a client in it already, that is
// taken out.
func (a *arena) join(j *joiner, epoch mls.Epoch) (_ attempt, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	group, known := a.past[epoch]
	if !known {
		return attempt{}, fmt.Errorf("epoch %d is not known here, and was lent", epoch)
	}
	if j.client == nil {
		if j.client, err = group.Client(fmt.Sprint(joinerName, j.number)); err != nil {
			return attempt{}, err
		}
	}
	plan, m := mlstest.Plan{Joiner: j.client, Path: true}, moveJoin
	for _, at := range group.Leaves() {
		if group.Member(at) == j.client {
			plan.Inline, m = append(plan.Inline, mls.Remove{Removed: at}), moveRejoin
		}
	}
	return a.carryOut(group, plan, m, nil)
}

// done counts the epochs that moves of these kinds took.
func (a *arena) done(kinds ...move) (count int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range kinds {
		count += a.decisions[m]
	}
	return count
}

// referenced counts the Proposals of others that were committed.
func (a *arena) referenced() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.proposals
}
