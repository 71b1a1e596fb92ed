package mls

import (
	"errors"
	"strings"
	"testing"
)

// wantCheck sees a refusal by one check.
func wantCheck(t *testing.T, err error, section, reason string) {
	t.Helper()
	var refused *InvalidError
	if !errors.As(err, &refused) || refused.Section != section || !strings.Contains(refused.Reason, reason) {
		t.Errorf("error is %v, want %q of %s", err, reason, section)
	}
}

// TestUnsupportedProposals commits Proposals of which one member has never heard, and then removes it by the same Commit.
func TestUnsupportedProposals(t *testing.T) {
	w, founder := newWorld(t, 1)
	old := w.client("old")
	kp := w.changedPackage(old, func(k *KeyPackage) { k.Leaf.Capabilities.Proposals = nil })
	w.accept(w.message(founder, MemberSender{}, Commit{Proposals: inline(Add{kp})}), w.input())
	in := w.input()
	in.Components = map[ComponentID]ComponentApplier{7: appendUpdates}
	_, err := w.group.Stage(w.message(founder, MemberSender{}, Commit{Proposals: inline(update(7, "x"))}), in)
	wantCheck(t, err, "RFC 9420 §12.2", "type 0x0008")
	_, err = w.group.VerifyProposal(w.message(founder, MemberSender{}, SelfRemove{}), testNow)
	wantCheck(t, err, "mls-extensions SelfRemove", "does not support")
	tree := w.group.Tree().clone()
	tree.remove(1)
	w.accept(w.message(founder, MemberSender{}, Commit{Path: w.path(founder, tree), Proposals: inline(AppEphemeral{7, nil}, Remove{1})}), in)
}
