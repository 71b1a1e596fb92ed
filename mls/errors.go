package mls

import "fmt"

// InvalidError says which rule a well-formed message breaks. It is an answer for the sender: nothing secret is in it.
// A message that cannot even be read is a MalformedError instead.
type InvalidError struct {
	Section string // the rule's source, "RFC 9420 §12.2" or "mls-extensions SelfRemove"
	Reason  string
}

func (e *InvalidError) Error() string { return e.Reason + " (" + e.Section + ")" }

// UnknownProposalsError lists the references of a Commit for which the group has no Proposal of this epoch.
type UnknownProposalsError struct{ Refs []ProposalRef }

func (e *UnknownProposalsError) Error() string {
	return fmt.Sprintf("the Commit names %d unknown proposals (RFC 9420 §12.4.2)", len(e.Refs))
}

// invalid makes an *InvalidError of RFC 9420.
func invalid(section, format string, args ...any) error {
	return &InvalidError{Section: "RFC 9420 §" + section, Reason: fmt.Sprintf(format, args...)}
}

// invalidExtension makes an *InvalidError of draft-ietf-mls-extensions.
func invalidExtension(part, format string, args ...any) error {
	return &InvalidError{Section: "mls-extensions " + part, Reason: fmt.Sprintf(format, args...)}
}

// WrongEpochError says that a message is of another epoch than the group is in.
type WrongEpochError struct{ Message, Group Epoch }

func (e *WrongEpochError) Error() string {
	return fmt.Sprintf("the message is of epoch %d, the group in epoch %d (RFC 9420 §12.4.2)", e.Message, e.Group)
}
