package interop

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"parley/mls"
)

func (h *history) input() mls.CommitInput {
	return mls.CommitInput{AtSeconds: atSeconds, Components: components, Proposals: func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
		m, known := h.pending[ref]
		return m, known
	}}
}

// judge does with a Commit and what came with it all that a hub does: the Commit must pass, damaged it must not; so must the
// Welcome, and the GroupInfo as the hub rebuilds it from its extensions and signature.
func (h *history) judge(made *committed) (*mls.Staged, error) {
	m, err := read[*mls.PublicMessage](made.commit)
	if err != nil {
		return nil, fmt.Errorf("the hub cannot read it: %w", err)
	}
	err = h.refuses("Commit", made.commit, signedBytes(made.commit, m), func(raw []byte) error {
		damaged, err := read[*mls.PublicMessage](raw)
		if err != nil {
			return err
		}
		_, err = h.group.Stage(damaged, h.input())
		return err
	})
	if err != nil {
		return nil, err
	}
	staged, err := h.group.Stage(m, h.input())
	if err != nil {
		return nil, fmt.Errorf("the hub refuses a legal Commit: %w", err)
	}
	if commit, ok := m.Content.Body.(mls.Commit); ok && commit.Path == nil {
		h.tally["Commits without a path"]++
	}
	if err := h.missesProposals(m, staged); err != nil {
		return nil, err
	}
	if err := h.judgeWelcome(staged, made.welcome); err != nil {
		return nil, err
	}
	if err := h.judgeInfo(staged, made.info); err != nil {
		return nil, err
	}
	return staged, h.judgeTree(staged)
}

// missesProposals expects a Commit to be refused as long as a Proposal is not known that it names.
func (h *history) missesProposals(m *mls.PublicMessage, staged *mls.Staged) error {
	refs := staged.References()
	if len(refs) == 0 {
		return nil
	}
	missing := refs[h.damage.IntN(len(refs))]
	in := h.input()
	in.Proposals = func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
		m, known := h.pending[ref]
		return m, known && ref != missing
	}
	var unknown *mls.UnknownProposalsError
	if _, err := h.group.Stage(m, in); !errors.As(err, &unknown) || !slices.Equal(unknown.Refs, []mls.ProposalRef{missing}) {
		return fmt.Errorf("a Proposal is missing, and the hub says: %v", err)
	}
	return nil
}

func (h *history) judgeWelcome(staged *mls.Staged, raw []byte) error {
	if len(raw) == 0 {
		if err := staged.CheckWelcome(nil); err != nil {
			return fmt.Errorf("the hub misses a Welcome: %w", err)
		}
		return nil
	}
	welcome, err := read[*mls.Welcome](raw)
	if err != nil {
		return fmt.Errorf("the hub cannot read the Welcome: %w", err)
	}
	if staged.CheckWelcome(nil) == nil {
		return errors.New("the hub does not miss a Welcome")
	}
	other := *welcome
	other.Secrets = append([]mls.EncryptedGroupSecrets(nil), welcome.Secrets...)
	other.Secrets[0].NewMember = "another"
	if staged.CheckWelcome(&other) == nil {
		return errors.New("the hub takes a Welcome for another")
	}
	if err := staged.CheckWelcome(welcome); err != nil {
		return fmt.Errorf("the hub refuses a legal Welcome: %w", err)
	}
	return nil
}

func (h *history) judgeInfo(staged *mls.Staged, raw []byte) error {
	published, err := readInfo(raw)
	if err != nil {
		return fmt.Errorf("the hub cannot read the GroupInfo: %w", err)
	}
	info := staged.GroupInfo(published.Extensions, published.Signature)
	if rebuilt := (mls.MLSMessage{Body: &info}).Marshal(); !bytes.Equal(rebuilt, raw) {
		return fmt.Errorf("the committer's GroupInfo is\n%x, the one that the hub rebuilds\n%x", raw, rebuilt)
	}
	check := func(raw []byte) error {
		info, err := readInfo(raw)
		if err != nil {
			return err
		}
		return staged.After.CheckGroupInfo(info)
	}
	if err := h.refuses("GroupInfo", raw, len(raw), check); err != nil {
		return err
	}
	if err := check(raw); err != nil {
		return fmt.Errorf("the hub refuses a legal GroupInfo: %w", err)
	}
	h.info = info
	return nil
}

// judgeTree holds the new tree, which was made by changing the old one, against itself: taken up from scratch with the
// GroupInfo, compressed, as a patch, and restored from its nodes.
func (h *history) judgeTree(staged *mls.Staged) error {
	after := staged.After
	tree := after.Tree().Marshal()
	err := h.refuses("tree", tree, len(tree), func(raw []byte) error {
		damaged, err := mls.ParseRatchetTree(raw)
		if err != nil {
			return err
		}
		return after.CheckTree(damaged)
	})
	if err != nil {
		return err
	}
	parsed, err := mls.ParseRatchetTree(tree)
	if err != nil {
		return fmt.Errorf("the hub's own tree: %w", err)
	}
	scratch, err := mls.NewPublicGroup(h.info, parsed)
	if err != nil {
		return fmt.Errorf("the hub's own tree, from scratch: %w", err)
	}
	packed, err := after.Tree().Compressed()
	if err != nil {
		return err
	}
	unpacked, err := mls.ParseCompressedTree(packed)
	if err != nil {
		return fmt.Errorf("the compressed tree: %w", err)
	}
	patched, err := after.Tree().PatchFrom(h.suite, staged.Before.Tree()).Apply(staged.Before.Tree())
	if err != nil {
		return fmt.Errorf("the patched tree: %w", err)
	}
	nodes, err := mls.NewRatchetTree(after.Tree().Nodes())
	if err != nil {
		return fmt.Errorf("the tree from its nodes: %w", err)
	}
	restored, err := mls.RestorePublicGroup(after.ContextBytes(), nodes, after.InterimTranscriptHash())
	if err != nil {
		return fmt.Errorf("the restored group: %w", err)
	}
	for what, other := range map[string]*mls.RatchetTree{
		"from scratch": scratch.Tree(), "compressed": unpacked, "patched": patched, "restored": restored.Tree(),
	} {
		if !bytes.Equal(other.Marshal(), tree) {
			return fmt.Errorf("the tree is another one %s", what)
		}
	}
	if !bytes.Equal(scratch.ContextBytes(), after.ContextBytes()) || !bytes.Equal(scratch.InterimTranscriptHash(), after.InterimTranscriptHash()) {
		return errors.New("the group is another one from scratch")
	}
	return nil
}
