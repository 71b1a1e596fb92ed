package replay

import (
	"errors"
	"fmt"

	"parley/cmd/parley/inspect"
	"parley/mls"
)

// createGroup takes the group up, at whatever epoch.
func (p *player) createGroup(r *Result, s step) {
	group, info, err := takenUp(s)
	if err != nil {
		r.differs("group_info", "a GroupInfo and tree that the hub can take a group up from", err.Error())
		p.group, p.lostAt = nil, r.Step
		return
	}
	p.enter(group, nil, info.ConfirmationTag)
	r.Found = fmt.Sprintf("epoch %d, %s, suite %s", group.Epoch(), members(group), inspect.SuiteName(group.Suite().ID))
	compareEpoch(r, s, group, info.ConfirmationTag)
}

// takenUp is the group of a step's GroupInfo, with its ratchet_tree or the one that is embedded.
func takenUp(s step) (*mls.PublicGroup, mls.GroupInfo, error) {
	if s.GroupInfo == nil {
		return nil, mls.GroupInfo{}, errors.New("the step names no group_info")
	}
	info, err := parseGroupInfo(s.GroupInfo)
	if err != nil {
		return nil, info, err
	}
	tree, err := treeOf(s, info)
	if err != nil {
		return nil, info, err
	}
	group, err := mls.NewPublicGroup(info, tree)
	if err != nil {
		return nil, info, fmt.Errorf("refused: %w", err)
	}
	return group, info, nil
}

// parseGroupInfo reads a GroupInfo, which is an MLSMessage or bare.
func parseGroupInfo(f *file) (mls.GroupInfo, error) {
	if m, err := mls.ParseMLSMessage(f.content); err == nil {
		if info, ok := m.Body.(*mls.GroupInfo); ok {
			return *info, nil
		}
	}
	info, err := mls.ParseGroupInfo(f.content)
	if err != nil {
		return info, errors.New(unreadable(f, err))
	}
	return info, nil
}

// treeOf is the tree beside a GroupInfo, or else the one in it. Where there are both, compareGroupInfo compares them.
func treeOf(s step, info mls.GroupInfo) (*mls.RatchetTree, error) {
	content := func() []byte {
		if s.Tree != nil {
			return s.Tree.content
		}
		data, _ := info.Extensions.Get(mls.ExtensionRatchetTree)
		return data
	}()
	if content == nil {
		return nil, errors.New("the step names no ratchet_tree, and the GroupInfo embeds none")
	}
	tree, err := mls.ParseRatchetTree(content)
	switch {
	case err != nil && s.Tree != nil:
		return nil, errors.New(unreadable(s.Tree, err))
	case err != nil:
		return nil, fmt.Errorf("the ratchet_tree in the GroupInfo cannot be read: %w", err)
	}
	return tree, nil
}

// members says how many there are.
func members(g *mls.PublicGroup) string {
	n := g.Tree().MemberCount()
	if n == 1 {
		return "1 member"
	}
	return fmt.Sprintf("%d members", n)
}
