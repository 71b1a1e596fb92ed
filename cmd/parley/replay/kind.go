package replay

import (
	"fmt"
	"strings"

	"parley/cmd/parley/inspect"
	"parley/mls"
)

// The kinds of step that mean something by themselves. All others are known by what they send.
const (
	kindCreateGroup = "create_group"
	kindKeyPackage  = "key_package"
	kindApplication = "application"
)

// encryptedHandshake reports whether a kind is that of a Commit or Proposal sent as PrivateMessage, which the hub must refuse.
func encryptedHandshake(kind string) bool {
	return strings.Contains(kind, "private") && (strings.Contains(kind, "commit") || strings.Contains(kind, "proposal"))
}

// wants says what a step of this kind must send where that is not what it sends; empty where it is.
func (s step) wants(body mls.Body) string {
	private, isPrivate := body.(*mls.PrivateMessage)
	_, isKeyPackage := body.(*mls.KeyPackage)
	switch {
	case s.Kind == kindKeyPackage && !isKeyPackage:
		return "a KeyPackage"
	case s.Kind == kindApplication && (!isPrivate || private.ContentType != mls.ContentApplication):
		return "application data in a PrivateMessage"
	case encryptedHandshake(s.Kind) && (!isPrivate || private.ContentType == mls.ContentApplication):
		return "a handshake in a PrivateMessage, for the hub to refuse"
	default:
		return ""
	}
}

// kindOf says what a message is.
func kindOf(body mls.Body) string {
	switch m := body.(type) {
	case *mls.PublicMessage:
		return inspect.ContentName(m.Content.Body.ContentType()) + " in a PublicMessage"
	case *mls.PrivateMessage:
		return inspect.ContentName(m.ContentType) + " in a PrivateMessage"
	case *mls.Welcome:
		return "a Welcome"
	case *mls.GroupInfo:
		return "a GroupInfo"
	case *mls.KeyPackage:
		return "a KeyPackage"
	default:
		panic(fmt.Sprintf("replay: %T is no body of an MLSMessage", body))
	}
}

// unreadable says why a file is not what it should be, and what it is, if it is anything.
func unreadable(f *file, err error) string {
	if what := inspect.WhatIs(f.content); what != "" {
		return fmt.Sprintf("%s is a %s", f.name, what)
	}
	return fmt.Sprintf("%s cannot be read: %v", f.name, err)
}

// sent is the name of the file with what a step sends.
func (s step) sent() string {
	for _, f := range []*file{s.Commit, s.File, s.Welcome, s.GroupInfo} {
		if f != nil {
			return f.name
		}
	}
	return ""
}

// beginsEpoch reports whether the transcript says what holds after the step: then the clients have accepted what it sends.
func (s step) beginsEpoch() bool {
	return s.Epoch.given || s.TreeHash.given || s.Confirmed.given || s.ConfirmationTag.given ||
		s.Context != nil || s.Tree != nil || s.GroupInfo != nil
}

// tellsEpoch reports whether the step says something that is another in each epoch. A tree may outlive one.
func (s step) tellsEpoch() bool {
	return s.Epoch.given || s.Confirmed.given || s.ConfirmationTag.given || s.Context != nil || s.GroupInfo != nil
}
