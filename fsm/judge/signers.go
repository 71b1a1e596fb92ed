package judge

import (
	"fmt"

	"parley/fsm"
	"parley/mls"
)

// Signers are the hub's private keys. Signing is deterministic, so a request that is judged twice comes to the same bytes. Its methods are
// called by many goroutines.
type Signers interface {
	// SignerOf returns the hub's key with this public half, retired ones included; false where it is not the hub's, or cannot be used here.
	SignerOf(public []byte) (*mls.SigningKey, bool)
}

// signersOf are those beside a replica, or nothing.
func signersOf(replica fsm.Reader) Signers {
	if r, yes := replica.(Remembering); yes && r.Signers != nil {
		return r.Signers
	}
	return noSigners{}
}

// noSigners has no key.
type noSigners struct{}

func (noSigners) SignerOf([]byte) (*mls.SigningKey, bool) { return nil, false }

// hubVoice is how the hub speaks in one epoch of a group: as one of its external senders (RFC 9420 §12.1.8.1).
type hubVoice struct {
	group *mls.PublicGroup
	index mls.ExternalSenderIndex
	key   *mls.SigningKey
}

// voiceIn finds the first of a group's external senders whose key is the hub's and of the group's scheme; false where there is none.
func voiceIn(replica fsm.Reader, group *mls.PublicGroup) (hubVoice, bool, error) {
	senders, err := group.ExternalSenders()
	if err != nil {
		return hubVoice{}, false, fmt.Errorf("stored external_senders: %v", err)
	}
	for i, sender := range senders {
		key, known := signersOf(replica).SignerOf(sender.SignatureKey)
		if known && key.Scheme() == group.Suite().Scheme {
			return hubVoice{group: group, index: mls.ExternalSenderIndex(i), key: key}, true, nil
		}
	}
	return hubVoice{}, false, nil
}

// propose makes a Proposal of the hub. The same in the same epoch is always the same message.
func (v hubVoice) propose(p mls.Proposal) (fsm.PendingProposal, error) {
	content := mls.FramedContent{GroupID: v.group.GroupID(), Epoch: v.group.Epoch(), Sender: v.index, Body: p}
	if v.group.CheckAuthenticatedData(nil) != nil {
		content.AuthenticatedData = mls.SafeAAD{}.Marshal()
	}
	message := &mls.PublicMessage{Content: content}
	if err := message.Sign(v.key, v.group.ContextBytes()); err != nil {
		return fsm.PendingProposal{}, fmt.Errorf("a Proposal of the hub: %w", err)
	}
	return fsm.PendingProposal{
		Ref:     v.group.Suite().ProposalRef(message.Authenticated()),
		Message: mls.MLSMessage{Body: message}.Marshal(),
	}, nil
}
