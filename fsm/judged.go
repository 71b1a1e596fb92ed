package fsm

import "parley/mls"

// Bind returns the command under the settings that it was judged with, so that apply decides on it only while these are in force. A
// Commit has them in its read set already. What is not exclusive, or is no request, is returned as it is: it would gain nothing from
// being judged again.
func Bind(c Command, settings uint64) Command {
	if !bindable(c.kind()) {
		return c
	}
	return Judged{Settings: settings, Command: c}
}

// bindable lists the kinds that a Judged may hold.
func bindable(kind CommandKind) bool {
	switch kind {
	case KindCreateRoom, KindSubmitProposals, KindTakeLease, KindUploadKeyPackages, KindClaimKeyPackages,
		KindRecordDeparture, KindDestroyRoom, KindContinueRoom, KindForgoMembers,
		KindCreateJoiningCode, KindRevokeJoiningCode:
		return true
	case KindFastForwardRoom:
		return true
	case KindSetConsents, KindSetConsentPolicy, KindDeleteKeyPackages:
		return true
	default:
		return false
	}
}

// judged decides on a command if the settings that it was judged with are still in force. Others may have revoked what the verdict
// rests on, so the request is judged again; if it was accepted before, its own record answers it then.
func (t *tx) judged(c Judged) Outcome {
	if c.Settings != t.settingsVersion {
		return ReadSetChanged{Index: t.index}
	}
	return t.apply(c.Command)
}

//	struct {
//	    uint64 settings;
//	    opaque command<V>; // as of EncodeCommand
//	} Judged;
func (c Judged) appendTo(w *mls.Writer) {
	w.Uint64(c.Settings)
	w.Opaque(EncodeCommand(c.Command))
}

func readJudged(r *mls.Reader) Judged {
	c := Judged{Settings: r.Uint64("settings")}
	encoded := r.Opaque("command")
	// The kind first: what is not judged could hold another, and so on.
	head := mls.NewReader("Command", encoded)
	head.Uint8("version")
	if kind := CommandKind(head.Uint16("kind")); !bindable(kind) && !r.Failed() {
		r.Fail("command", "it is not of a kind that is judged")
	}
	if r.Failed() {
		return c
	}
	inner, err := DecodeCommand(encoded)
	if err != nil {
		r.Fail("command", err.Error())
	}
	c.Command = inner
	return c
}
