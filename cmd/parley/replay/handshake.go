package replay

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"parley/cmd/parley/inspect"
	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// keyPackage is a KeyPackage that a client uploads.
func (p *player) keyPackage(r *Result, s step, k *mls.KeyPackage) {
	r.Found = inspect.Identity(k.Leaf.Credential)
	r.Notes = append(r.Notes, inspect.KeyPackageNotes(*k)...)
	for _, problem := range inspect.KeyPackage(*k, p.atSeconds) {
		r.differs("file", "a valid KeyPackage", "refused: "+problem.String())
	}
	ref, err := k.Ref()
	if err == nil && s.Ref.given { // without its suite there is no reference, and the KeyPackage has been refused
		compareOctets(r, "ref", s.Ref.value, []byte(ref))
	}
}

// proposal is a Proposal that was sent by itself.
func (p *player) proposal(r *Result, s step, field string, m *mls.PublicMessage) {
	body := m.Content.Body.(mls.Proposal)
	r.Found = fmt.Sprintf("%s by %s", inspect.ProposalName(body.ProposalType()), inspect.SenderName(m.Content.Sender))
	ref, err := p.group.VerifyProposal(m, p.atSeconds)
	if err != nil {
		r.differs(field, "accepted", "refused: "+err.Error())
		p.refused[p.group.Suite().ProposalRef(m.Authenticated())] = r.Step
		return
	}
	p.pending[ref] = m
	if s.Ref.given {
		compareOctets(r, "ref", s.Ref.value, []byte(ref))
	}
	if from, member := m.Content.Sender.(mls.MemberSender); member && s.From.given && uint64(from.Leaf) != s.From.value {
		r.differs("from", fmt.Sprintf("leaf %d", s.From.value), fmt.Sprintf("leaf %d", from.Leaf))
	}
	if _, own := m.Content.Sender.(mls.NewMemberProposal); !own && s.Kind == "new_member_proposal" {
		r.differs(field, "a Proposal by sender new_member_proposal", "by "+inspect.SenderName(m.Content.Sender))
	}
}

// commit is a Commit: the hub judges it, enters the epoch that it begins, and compares.
func (p *player) commit(r *Result, s step, field string, m *mls.PublicMessage) {
	compareUsed(r, s, p.group, p.tag)
	staged, err := p.group.Stage(m, mls.CommitInput{
		AtSeconds:  p.atSeconds,
		Components: mimi.ComponentAppliers(),
		Proposals: func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
			pending, known := p.pending[ref]
			return pending, known
		},
	})
	if err != nil {
		p.explain(r, err)
		p.refuse(r, s, field, err.Error())
		return
	}
	r.Found = describe(staged)
	compareCommitter(r, s, staged)
	checkWelcome(r, s, staged)
	compareEpoch(r, s, staged.After, staged.ConfirmationTag)
	p.enter(staged.After, staged, staged.ConfirmationTag)
	if len(r.Differences) > 0 {
		p.diverge(r, s)
	}
}

// acceptance is what the transcript expects of a handshake.
func (s step) acceptance() string {
	if s.Epoch.given {
		return fmt.Sprintf("accepted: it begins epoch %d", s.Epoch.value)
	}
	return "accepted"
}

// explain adds what a client's developer needs to know of a refusal beside its reason.
func (p *player) explain(r *Result, err error) {
	var unknown *mls.UnknownProposalsError
	if !errors.As(err, &unknown) {
		return
	}
	for _, ref := range unknown.Refs {
		if at, refused := p.refused[ref]; refused {
			r.note("unknown Proposal: reference %x: refused at step %d", string(ref), at)
			continue
		}
		r.note("unknown Proposal: reference %x", string(ref))
	}
	var known []string
	for ref := range p.pending {
		known = append(known, hex.EncodeToString([]byte(ref)))
	}
	slices.Sort(known)
	r.note("pending in epoch %d: %s", p.group.Epoch(), orNone(known))
	if p.encrypted > 0 {
		r.note("step %d sent a Proposal in a PrivateMessage, which a hub cannot read", p.encrypted)
	}
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// describe is a Commit in a line.
func describe(staged *mls.Staged) string {
	who := fmt.Sprintf("leaf %d", staged.Committer)
	if staged.External {
		who += ", from outside"
	}
	return fmt.Sprintf("epoch %d → %d by %s: %s; %s", staged.Before.Epoch(), staged.Epoch(), who, does(staged.Proposals), members(staged.After))
}

// does lists the Proposals of a Commit by type, those of one type in a row together.
func does(list []mls.CommittedProposal) string {
	type run struct {
		what  string
		times int
	}
	var runs []run
	for _, c := range list {
		what, _, _ := strings.Cut(inspect.ProposalName(c.Proposal.ProposalType()), " ")
		if c.Ref != "" {
			what += " by reference"
		}
		if n := len(runs); n > 0 && runs[n-1].what == what {
			runs[n-1].times++
			continue
		}
		runs = append(runs, run{what, 1})
	}
	if len(runs) == 0 {
		return "no Proposal"
	}
	words := make([]string, len(runs))
	for i, r := range runs {
		if words[i] = r.what; r.times > 1 {
			words[i] += fmt.Sprintf(" ×%d", r.times)
		}
	}
	return strings.Join(words, ", ")
}

// encryptedHandshake is a Commit or Proposal in a PrivateMessage. The hub refuses it, since it could not follow the group; that is
// as it should be unless the clients went on from there.
func (p *player) encryptedHandshake(r *Result, s step, field string, m *mls.PrivateMessage) {
	content := inspect.ContentName(m.ContentType)
	if m.ContentType == mls.ContentProposal {
		p.encrypted = r.Step
	}
	if s.beginsEpoch() || field == "commit" && !encryptedHandshake(s.Kind) {
		p.refuse(r, s, field, fmt.Sprintf("a %s in a PrivateMessage; a hub must read handshakes to follow the group, so they go as PublicMessage", content))
		return
	}
	r.Found = fmt.Sprintf("refused, as it must be: a %s in a PrivateMessage", content)
	p.checkPlace(r, m)
}

// application is an application message, of which a hub sees where it belongs and nothing more.
func (p *player) application(r *Result, m *mls.PrivateMessage) {
	r.Found = fmt.Sprintf("of epoch %d, %d bytes", m.Epoch, len(m.Ciphertext))
	if p.checkPlace(r, m); m.Epoch != p.group.Epoch() {
		return
	}
	if err := p.group.CheckAuthenticatedData(m.AuthenticatedData); err != nil {
		r.differs("authenticated_data", "accepted", "refused: "+err.Error())
	}
}

// checkPlace compares the group and epoch of an encrypted message with the hub's. A few older epochs are taken.
func (p *player) checkPlace(r *Result, m *mls.PrivateMessage) {
	epoch, window := p.group.Epoch(), mls.Epoch(fsm.DefaultSettings().EpochWindow)
	if m.GroupID != p.group.GroupID() {
		r.differs("group_id", fmt.Sprintf("%x", string(p.group.GroupID())), fmt.Sprintf("%x", string(m.GroupID)))
	}
	switch {
	case m.Epoch > epoch:
		r.differs("epoch", fmt.Sprintf("at most %d, the group's epoch", epoch), fmt.Sprint(m.Epoch))
	case epoch-m.Epoch > window:
		r.differs("epoch", fmt.Sprintf("at least %d, since the group is in epoch %d", epoch-window, epoch), fmt.Sprint(m.Epoch))
	case m.Epoch < epoch:
		r.note("the group is in epoch %d; this hub takes messages of %d older epochs", epoch, window)
	}
}

// welcome is a Welcome in a step of its own. It belongs to the last Commit.
func (p *player) welcome(r *Result, field string, w *mls.Welcome) {
	r.Found = fmt.Sprintf("for %d clients", len(w.Secrets))
	if p.last == nil {
		r.note("no Commit before it, so it was not compared with one")
		return
	}
	if err := p.last.CheckWelcome(w); err != nil {
		r.differs(field, "a Welcome for the clients that the last Commit adds", "refused: "+err.Error())
	}
}

// checkWelcome holds the Welcome that came with a Commit to its Adds.
func checkWelcome(r *Result, s step, staged *mls.Staged) {
	if s.Welcome == nil {
		if len(staged.Added) > 0 {
			r.note("the step names no Welcome, so none was checked; this hub wants one with a Commit that adds clients")
		}
		return
	}
	m, err := mls.ParseMLSMessage(s.Welcome.content)
	if err != nil {
		r.differs("welcome", "a Welcome", unreadable(s.Welcome, err))
		return
	}
	w, ok := m.Body.(*mls.Welcome)
	if !ok {
		r.differs("welcome", "a Welcome", kindOf(m.Body))
		return
	}
	if err := staged.CheckWelcome(w); err != nil {
		r.differs("welcome", "a Welcome for exactly the clients that the Commit adds", "refused: "+err.Error())
	}
}

// compareCommitter compares who committed, and whether they came from outside.
func compareCommitter(r *Result, s step, staged *mls.Staged) {
	said, field := s.Committer, "committer"
	if staged.External && s.Leaf.given {
		said, field = s.Leaf, "leaf"
	}
	if said.given && said.value != uint64(staged.Committer) {
		r.differs(field, fmt.Sprintf("leaf %d", said.value), fmt.Sprintf("leaf %d", staged.Committer))
	}
	if strings.HasPrefix(s.Kind, "external_") && !staged.External {
		r.differs("commit", "an external Commit, by sender new_member_commit", fmt.Sprintf("a Commit by member, leaf %d", staged.Committer))
	}
}
