package mls_test

import (
	"parley/mls"
	"parley/mls/mlstest"
)

// pathed is a plan of an empty Commit whose message is changed before it is signed.
func pathed(change func(*mls.PublicMessage)) mlstest.Plan {
	return mlstest.Plan{Path: true, ChangeMessage: change}
}

func (r room) framingChecks() {
	r = r.under("Framing (§6, §12.4.2)")
	stranger := part(r.Client("stranger"))
	first := mls.MemberSender{Leaf: 1}
	r.commit("RFC 9420 §12.4.2", "a Commit for another group", "of another group", pathed(func(m *mls.PublicMessage) { m.Content.GroupID = "another" }))
	r.commit("RFC 9420 §12.4.2", "a Commit of a later epoch", "of epoch 6", pathed(func(m *mls.PublicMessage) { m.Content.Epoch++ }))
	r.commit("RFC 9420 §6.2", "a membership tag that is too short", "membership tag", pathed(func(m *mls.PublicMessage) { m.MembershipTag = m.MembershipTag[1:] }))
	r.commit("RFC 9420 §6.1", "a confirmation tag that is too short", "confirmation tag",
		pathed(func(m *mls.PublicMessage) { m.Auth.ConfirmationTag = m.Auth.ConfirmationTag[1:] }))
	r.commit("RFC 9420 §6.1", "a Commit that another member has signed", "signature of the message", mlstest.Plan{Path: true, Signer: r.Member(3).Key})
	r.commit("RFC 9420 §6.1", "a Commit from a blank leaf", "not a member", pathed(func(m *mls.PublicMessage) { m.Content.Sender = mls.MemberSender{Leaf: 7} })).
		also("there is no key to verify with")
	r.commit("RFC 9420 §12.1.8", "a Commit from an external sender", "may not send this",
		pathed(func(m *mls.PublicMessage) { m.Content.Sender = mls.ExternalSenderIndex(0) })).also("the signature of the message")
	r.commit("RFC 9420 §6.1", "a Commit as new_member_proposal", "its own Add alone",
		pathed(func(m *mls.PublicMessage) { m.Content.Sender = mls.NewMemberProposal{} })).also("the signature of the message")
	r.commit("RFC 9420 §12.4", "a Proposal as a Commit", "not a Commit", pathed(func(m *mls.PublicMessage) { m.Content.Body = mls.Remove{Removed: 1} })).also("§6.1, the tags")
	r.proposal("RFC 9420 §12.1", "application data in a PublicMessage", "not a Proposal", first, mls.ApplicationData("hello"))
	r.proposal("RFC 9420 §12.1.8", "an ExternalInit from an external sender", "may not send this", mls.ExternalSenderIndex(0), r.ExternalInit())
	r.proposal("RFC 9420 §12.1.8", "a SelfRemove from an external sender", "may not send this", mls.ExternalSenderIndex(0), mls.SelfRemove{}).also("mls-extensions SelfRemove")
	r.add("RFC 9420 §12.1.8.1", "a Proposal from an external sender that is not listed", "1 external senders", func() error {
		_, _, err := r.Propose(mls.ExternalSenderIndex(0), mls.Remove{Removed: 1}, func(m *mls.PublicMessage) { m.Content.Sender = mls.ExternalSenderIndex(1) })
		if err != nil {
			return err
		}
		m, _, err := r.Propose(mls.ExternalSenderIndex(0), mls.Remove{Removed: 1})
		if err != nil {
			return err
		}
		m.Content.Sender = mls.ExternalSenderIndex(1)
		_, err = r.hub.VerifyProposal(m, mlstest.Now)
		return err
	}).also("there is no key to verify with")
	r.add("RFC 9420 §6.1", "a Remove from a client that is no member", "its own Add alone", func() error {
		m, _, err := r.Propose(first, mls.Remove{Removed: 2}, func(m *mls.PublicMessage) { m.Content.Sender = mls.NewMemberProposal{} })
		if err != nil {
			return err
		}
		_, err = r.hub.VerifyProposal(m, mlstest.Now)
		return err
	}).also("the signature of the message")
	r.add("RFC 9420 §6.1", "an Add as new_member_commit", "something else than a Commit", func() error {
		m, _, err := r.Propose(mls.NewMemberProposal{}, part(r.Add("hasty")), func(m *mls.PublicMessage) { m.Content.Sender = mls.NewMemberCommit{} })
		if err != nil {
			return err
		}
		_, err = r.hub.VerifyProposal(m, mlstest.Now)
		return err
	}).also("§12.4.3.2, the path")
	r.proposal("RFC 9420 §6.1", "another client's Add as new_member_proposal", "signature of the message", mls.NewMemberProposal{},
		part(r.Add("absent")), func(m *mls.PublicMessage) { m.Content.AuthenticatedData = []byte("signed by another") }).judge = func() error {
		m, _, err := r.Propose(mls.NewMemberProposal{}, part(r.Add("absent")))
		if err != nil {
			return err
		}
		if err := m.Sign(stranger.Key, nil); err != nil {
			return err
		}
		_, err = r.hub.VerifyProposal(m, mlstest.Now)
		return err
	}
	r.add("RFC 9420 §12.4.2", "a Commit after a ReInit", "ReInit has ended", func() error {
		ended := r
		step, err := r.Commit(mlstest.Plan{Inline: []mls.Proposal{mls.ReInit{GroupID: "next", Version: mls.MLS10, Suite: 1}}})
		if err != nil {
			return err
		}
		staged, err := step.Check(r.hub, r.Input())
		if err != nil {
			return err
		}
		ended.Group, ended.hub = step.After, staged.After
		return ended.judge(ended.Input(), mlstest.Plan{Path: true})
	})
	r.add("RFC 9420 §8.1", "a Commit in the last epoch that there is", "no epoch after", func() error {
		last := newRoom(panicking{}, r.list, mlstest.Config{Suite: 1, Seed: 3, Members: 2, Epoch: 1<<64 - 1})
		return last.judge(last.Input(), mlstest.Plan{Path: true})
	})
}
