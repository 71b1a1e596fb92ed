package inspect

import (
	"bytes"
	"errors"
	"fmt"

	"parley/mimi"
	"parley/mls"
)

// surroundings is what the files of one call say about each other.
type surroundings struct {
	atSeconds uint64
	trees     []givenTree
	groups    []givenGroup
	contexts  []mls.GroupContext // also of a GroupInfo that is wrong or has no tree
	packages  map[mls.KeyPackageRef]*mls.KeyPackage
	proposals []*mls.PublicMessage
}

type givenTree struct {
	file string
	tree *mls.RatchetTree
}

// givenGroup is an epoch of a group whose GroupInfo and tree are there and valid.
type givenGroup struct {
	file  string
	group *mls.PublicGroup
}

// collect finds what other files may need: trees and KeyPackages first, then the groups that they make with a GroupInfo.
func (s *surroundings) collect(files []File) {
	s.packages = make(map[mls.KeyPackageRef]*mls.KeyPackage)
	for _, f := range files {
		switch v := f.object.value.(type) {
		case *mls.RatchetTree:
			s.trees = append(s.trees, givenTree{f.Name, v})
		case *mls.KeyPackage:
			if ref, err := v.Ref(); err == nil {
				s.packages[ref] = v
			}
		case *mls.GroupContext:
			s.contexts = append(s.contexts, *v)
		case *mls.PublicMessage:
			if v.Content.Body.ContentType() == mls.ContentProposal {
				s.proposals = append(s.proposals, v)
			}
		}
	}
	for _, f := range files {
		info, ok := f.object.value.(*mls.GroupInfo)
		if !ok {
			continue
		}
		s.contexts = append(s.contexts, info.Context)
		if tree, _, err := s.treeOf(*info); err == nil && tree != nil {
			if group, err := mls.NewPublicGroup(*info, tree); err == nil {
				s.groups = append(s.groups, givenGroup{f.Name, group})
			}
		}
	}
}

// treeOf is the tree that goes with a GroupInfo, with where it is from: embedded, or among the files with the right hash; nil
// where there is none. The error is of an embedded tree that cannot be read.
func (s *surroundings) treeOf(info mls.GroupInfo) (*mls.RatchetTree, string, error) {
	if data, embedded := info.Extensions.Get(mls.ExtensionRatchetTree); embedded {
		tree, err := mls.ParseRatchetTree(data)
		return tree, "its ratchet_tree extension", err
	}
	tree, file := s.treeFor(info.Context)
	return tree, file, nil
}

// treeFor finds the tree that a context hashes among the files, and its file; nil for none. The tree is one's own to hash under
// the context's suite.
func (s *surroundings) treeFor(context mls.GroupContext) (*mls.RatchetTree, string) {
	suite, err := context.Suite.Suite()
	if err != nil {
		return nil, ""
	}
	for _, given := range s.trees {
		if bytes.Equal(given.tree.TreeHash(suite), context.TreeHash) {
			return given.tree, given.file
		}
	}
	return nil, ""
}

// contextFor finds a context whose tree a tree is.
func (s *surroundings) contextFor(tree *mls.RatchetTree) (mls.GroupContext, bool) {
	for _, c := range s.contexts {
		suite, err := c.Suite.Suite()
		if err == nil && bytes.Equal(tree.TreeHash(suite), c.TreeHash) {
			return c, true
		}
	}
	return mls.GroupContext{}, false
}

// groupFor finds the epoch that a message was sent in; why says what is missing where there is none.
func (s *surroundings) groupFor(c mls.FramedContent) (group *mls.PublicGroup, why string) {
	why = "give the GroupInfo and ratchet_tree of its epoch beside it"
	for _, given := range s.groups {
		switch g := given.group; {
		case g.GroupID() != c.GroupID:
		case g.Epoch() == c.Epoch:
			return g, ""
		default:
			why = fmt.Sprintf("it is of epoch %d, and %s of epoch %d", c.Epoch, given.file, g.Epoch())
		}
	}
	return nil, why
}

// judge holds a handshake to the group that it was sent in, as the hub would. err is its refusal; missing are Proposals that
// the Commit refers to and that are not among the files.
func (s *surroundings) judge(group *mls.PublicGroup, m *mls.PublicMessage) (staged *mls.Staged, missing []mls.ProposalRef, err error) {
	if m.Content.Body.ContentType() != mls.ContentCommit {
		_, err = group.VerifyProposal(m, s.atSeconds)
		return nil, nil, err
	}
	pending := make(map[mls.ProposalRef]*mls.PublicMessage)
	for _, p := range s.proposals {
		if ref, err := group.VerifyProposal(p, s.atSeconds); err == nil {
			pending[ref] = p
		}
	}
	staged, err = group.Stage(m, mls.CommitInput{
		AtSeconds:  s.atSeconds,
		Components: mimi.ComponentAppliers(),
		Proposals: func(ref mls.ProposalRef) (*mls.PublicMessage, bool) {
			p, known := pending[ref]
			return p, known
		},
	})
	var unknown *mls.UnknownProposalsError
	if errors.As(err, &unknown) {
		return nil, unknown.Refs, nil
	}
	return staged, nil, err
}
