package fsm

import (
	"bytes"

	"parley/mls"
)

// The proof that apply asks for is cheap and does not depend on policy: that the new epoch follows from the state and the
// Commit by the transcript (RFC 9420 §8.2). It keeps a fault of the checks before the log from forking a group.

// proveContext says what is wrong with facts as those of an epoch of a group, or nothing.
func proveContext(f RoomFacts, group mls.GroupID, suite mls.CipherSuite) (reason string) {
	_, reason = parseContext(f, group, suite)
	return reason
}

func parseContext(f RoomFacts, group mls.GroupID, suite mls.CipherSuite) (context mls.GroupContext, reason string) {
	context, err := mls.ParseGroupContext(f.GroupContext)
	switch {
	case err != nil:
		return context, "the GroupContext cannot be read"
	case context.GroupID != group || context.Suite != suite:
		return context, "the GroupContext is of another group"
	case context.Epoch != f.Epoch:
		return context, "the GroupContext is of another epoch"
	}
	return context, proveTree(f)
}

// proveCommit says why the facts do not follow from the head and the Commit, or nothing.
func proveCommit(head roomHead, c AcceptCommit) (reason string) {
	if c.Facts.Epoch != head.epoch+1 {
		return "the Commit does not lead to the next epoch"
	}
	context, reason := parseContext(c.Facts, head.groupID, head.suite)
	if reason != "" {
		return reason
	}
	message, err := mls.ParseMLSMessage(c.Commit)
	if err != nil {
		return "the Commit cannot be read"
	}
	public, ok := message.Body.(*mls.PublicMessage)
	if !ok {
		return "the Commit is not a PublicMessage"
	}
	content := public.Content
	if content.Body.ContentType() != mls.ContentCommit || content.GroupID != head.groupID || content.Epoch != head.epoch {
		return "the Commit is of another group or epoch"
	}
	suite, err := head.suite.Suite()
	if err != nil {
		return "the group's cipher suite is not supported"
	}
	confirmed := suite.ConfirmedTranscriptHash(head.interimHash, public.Authenticated())
	interim := suite.InterimTranscriptHash(confirmed, public.Auth.ConfirmationTag)
	if !bytes.Equal(confirmed, context.ConfirmedTranscriptHash) || !bytes.Equal(interim, c.Facts.InterimTranscriptHash) {
		return "the transcript does not follow from the Commit"
	}
	return ""
}

// welcomedRefs lists the KeyPackages that Welcomes are for; false where one is not a Welcome.
func welcomedRefs(deliveries []WelcomeDelivery) (refs []mls.KeyPackageRef, ok bool) {
	for _, d := range deliveries {
		message, err := mls.ParseMLSMessage(d.Welcome)
		if err != nil {
			return nil, false
		}
		welcome, ok := message.Body.(*mls.Welcome)
		if !ok {
			return nil, false
		}
		refs = append(refs, welcome.Refs()...)
	}
	return refs, true
}
