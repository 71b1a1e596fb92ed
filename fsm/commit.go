package fsm

import (
	"bytes"
	"slices"

	"parley/mimi"
	"parley/mls"
)

// acceptCommit moves a room to its next epoch, if all that the Commit was judged against still holds. The order of the checks
// is part of the protocol between nodes: a retry is recognised before anything can refuse it, and an epoch that is gone is
// told before any other difference, since it is the answer that holds for ever.
func (t *tx) acceptCommit(c AcceptCommit) Outcome {
	head, found := t.head(c.Room)
	if !found {
		return NoSuchRoom{}
	}
	if winner, ended := t.winner(c.Room, c.Reads.GroupID, c.Reads.Epoch); ended && winner.CommitHash == c.CommitHash {
		return Accepted{Millis: winner.Millis, Epoch: c.Reads.Epoch + 1}
	}
	if refusal := t.refuseEnded(head); refusal != nil {
		return refusal
	}
	if refusal := t.checkReads(head, c.Reads); refusal != nil {
		return refusal
	}
	if refusal := t.refuseDeparted(head, c.Sender); refusal != nil {
		return refusal
	}
	if refusal := t.checkLeaving(c); refusal != nil {
		return refusal
	}
	if reason := t.lifetimeFault(c); reason != "" {
		return NotAllowed{Reason: reason}
	}
	if refusal := t.checkJoin(c); refusal != nil {
		return refusal
	}
	if reason := proveCommit(head, c); reason != "" {
		return NotAllowed{Reason: reason}
	}
	welcomed, ok := welcomedRefs(c.Welcomes)
	if !ok {
		return NotAllowed{Reason: "a Welcome cannot be read"}
	}
	if !t.mapClients(c.Room, c.Ruling.Clients) {
		return NotAllowed{Reason: tooManyClients}
	}
	head.floor = t.endEpoch(head, c)
	if len(c.ReInit) > 0 {
		t.endGroup(&head, c.ReInit)
	}
	c.Renewed = t.renew(&head, c)
	before, turns := t.voicesBefore(c), t.memberTurnsOf(head, c)
	t.setFacts(head, c.Facts)
	t.noteDeparting(head)
	if c.Ruling.Made {
		t.setRoomRules(c.Room, c.Ruling.Rules)
		t.noteLeaves(c.Room, c.Ruling.Leaves, c.Renewed)
	}
	t.countJoin(c)
	t.sendCommit(c)
	t.turnMembers(turns, c)
	t.tellPolicy(c, before)
	t.useRoutes(c.Room, t.settings.Domains[0], welcomed)
	return Accepted{Millis: t.now, Epoch: c.Facts.Epoch}
}

// checkReads compares the read set with the state; nil where all of it holds.
func (t *tx) checkReads(head roomHead, reads ReadSet) Outcome {
	changed := ReadSetChanged{Index: t.index}
	if reads.Incarnation != head.incarnation || reads.GroupID != head.groupID {
		return changed
	}
	if reads.Epoch != head.epoch {
		return t.wrongEpoch(head, reads.Epoch)
	}
	if reads.GroupContextHash != head.contextHash || reads.Enforcement != t.settingsVersion || reads.Departures != head.departures {
		return changed
	}
	var missing []mls.ProposalRef
	for _, ref := range reads.Proposals {
		if !t.has(pendingKey(head.room, ref)) && !slices.Contains(missing, ref) {
			missing = append(missing, ref)
		}
	}
	if len(missing) > 0 {
		return InvalidProposal{Refs: missing, Reason: "a referenced Proposal is not pending"}
	}
	return nil
}

// lifetimeFault checks the KeyPackages that are added against hub time (RFC 9420 §7.3).
func (t *tx) lifetimeFault(c AcceptCommit) (reason string) {
	switch now := t.nowSeconds(); {
	case c.ValidFrom == 0 && c.ValidUntil == 0:
		return ""
	case now < c.ValidFrom:
		return "an added KeyPackage is not valid yet"
	case now > c.ValidUntil:
		return "an added KeyPackage has expired"
	default:
		return ""
	}
}

// endEpoch records the winner and what became of the epoch's Proposals, voids the lease, and drops what is now too old. It
// returns the oldest epoch whose messages are still known.
func (t *tx) endEpoch(head roomHead, c AcceptCommit) (floor mls.Epoch) {
	t.set(epochKey(keyWinner, head.room, head.groupID, head.epoch), record(Winner{c.CommitHash, t.now}.appendTo))
	t.settleProposals(head, c.Reads.Proposals)
	t.voidLease(head.room)
	next := head.epoch + 1
	t.forgetEpochs(keyWinner, head, since(next, winnersKept))
	t.forgetEpochs(keyFate, head, since(next, winnersKept))
	t.endLeaves(head.room)
	rules := c.Ruling.Rules
	if !c.Ruling.Made {
		rules = t.roomRules(head.room)
	}
	floor = max(head.floor, since(next, t.epochWindow(rules)))
	t.forgetEpochs(keyMessage, head, floor)
	return floor
}

// renew makes the hub's Proposals of the new epoch wait, and returns those that do.
func (t *tx) renew(head *roomHead, c AcceptCommit) []PendingProposal {
	next := *head
	next.epoch = c.Facts.Epoch
	if len(c.Renewed) == 0 || !t.addPending(&next, c.Renewed, mimi.Provider{}) {
		return nil
	}
	head.proposals = next.proposals
	return c.Renewed
}

// sendCommit appends the Commit to the outboxes, and the Welcomes after it. So a room's stream is in the order of its epochs:
// what stands before a Welcome the new client could not read, and what stands behind it is of the epoch that it joins. Both
// are of one entry and so in one body; the provider of a first member gets them together.
//
// A Welcome that is given for several domains of the local provider goes into its inbox once.
func (t *tx) sendCommit(c AcceptCommit) {
	t.sendAll(c.Room, c.Notified, t.fanoutCommit(c.Commit, c.Renewed))
	for i, w := range c.Welcomes {
		again := slices.ContainsFunc(c.Welcomes[:i], func(before WelcomeDelivery) bool {
			return t.destination(before.Destination) == t.destination(w.Destination) && bytes.Equal(before.Welcome, w.Welcome)
		})
		if !again {
			t.sendAll(c.Room, []mimi.Provider{w.Destination}, t.fanoutWelcome(w))
		}
	}
}
