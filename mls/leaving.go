package mls

// CheckWaiting holds a Proposal to the SelfRemoves that wait beside it (mls-extensions, SelfRemove): a Remove of a member that is
// leaving is invalid, and so is its second SelfRemove of the epoch. leaving reports whether a SelfRemove of that member waits. A
// Proposal that was taken before the SelfRemove came is refused when it is committed, by CommitInput's Leaving. The error is an
// *InvalidError.
func CheckWaiting(p Proposal, from Sender, leaving func(LeafIndex) bool) error {
	switch p := p.(type) {
	case Remove:
		if leaving(p.Removed) {
			return invalidRemove(p)
		}
	case SelfRemove:
		if member, ok := from.(MemberSender); ok && leaving(member.Leaf) {
			return invalidExtension("SelfRemove", "a SelfRemove of leaf %d waits already", member.Leaf)
		}
	default:
	}
	return nil
}

func invalidRemove(p Remove) error {
	return invalidExtension("SelfRemove", "a Remove of leaf %d is invalid while a SelfRemove of it waits", p.Removed)
}

func (in CommitInput) leaving(i LeafIndex) bool { return in.Leaving != nil && in.Leaving(i) }
