package mlstest

import "parley/mls"

// Plan says what a Commit is to be. The zero value with Path is the empty Commit of leaf 0. The functions, where they are set,
// spoil the Commit on its way, each before what comes after it is computed.
type Plan struct {
	Committer mls.LeafIndex
	// Joiner makes it an external Commit by this client instead. An ExternalInit is put before Inline, unless there is one among
	// them; a Remove among them makes it a resync.
	Joiner     *Client
	Inline     []mls.Proposal
	References []mls.ProposalRef // of Proposals that Propose made in this epoch; they stand before Inline
	Path       bool

	// AuthenticatedData is what the message carries beside the Commit.
	AuthenticatedData []byte

	// ChangePath sees the path before the parent hashes are computed over it.
	ChangePath func(*mls.UpdatePath)
	// ChangeLeaf sees the path's leaf before it is signed, with its parent hash. It is signed by the client whose key it has.
	ChangeLeaf func(*mls.LeafNode)
	// ChangeSignedLeaf sees the path's leaf before it enters the tree.
	ChangeSignedLeaf func(*mls.LeafNode)
	// ChangeMessage sees the message before it is signed.
	ChangeMessage func(*mls.PublicMessage)
	// ChangeSigned sees the message at last.
	ChangeSigned func(*mls.PublicMessage)
	// ChangeInfo sees the GroupInfo before it is signed.
	ChangeInfo func(*mls.GroupInfo)
	// ChangeWelcome sees the Welcome.
	ChangeWelcome func(*mls.Welcome)
	// Signer signs the message in the committer's place.
	Signer *mls.SigningKey
}

// Step is a Commit with all that its committer hands to the hub.
type Step struct {
	Message   *mls.PublicMessage
	Welcome   *mls.Welcome // nil where nobody is added
	GroupInfo mls.GroupInfo
	After     *Group
}

// Check holds a hub's group to a step: it stages the Commit, and takes the GroupInfo and the Welcome that came with it.
func (s *Step) Check(hub *mls.PublicGroup, in mls.CommitInput) (*mls.Staged, error) {
	staged, err := hub.Stage(s.Message, in)
	if err != nil {
		return nil, err
	}
	if err := staged.After.CheckGroupInfo(s.GroupInfo); err != nil {
		return nil, err
	}
	return staged, staged.CheckWelcome(s.Welcome)
}
