package mimi

import (
	"parley/mls"
)

// The functions below put a FanoutMessage together from parts that were read once and kept encoded, so that who replays them
// need not read them again. The parts are the caller's responsibility; millis is hub time, in milliseconds since 1970.

// AppendFanoutApplication appends the FanoutMessage of an application message, an MLSMessage. A nil frank is none.
func AppendFanoutApplication(w *mls.Writer, millis uint64, message []byte, frank *Frank) {
	w.Uint64(millis)
	w.Fixed(message)
	appendOptionalFrank(w, frank)
}

// AppendFanoutWelcome appends the FanoutMessage of a Welcome, an MLSMessage, with its RatchetTreeOption.
func AppendFanoutWelcome(w *mls.Writer, millis uint64, welcome, treeOption []byte) {
	w.Uint64(millis)
	w.Fixed(welcome)
	w.Fixed(treeOption)
}

// AppendFanoutProposals appends the FanoutMessage of one bundle's Proposals, at least one, each an MLSMessage.
func AppendFanoutProposals(w *mls.Writer, millis uint64, proposals [][]byte) {
	w.Uint64(millis)
	w.Fixed(proposals[0])
	appendEncodedList(w, proposals[1:])
}

// AppendFanoutCommit appends the FanoutMessage of a Commit, an MLSMessage, with the Proposals stapled to it.
func AppendFanoutCommit(w *mls.Writer, millis uint64, commit []byte, externalProposals [][]byte) {
	w.Uint64(millis)
	w.Fixed(commit)
	appendEncodedList(w, externalProposals)
}

func appendEncodedList(w *mls.Writer, elements [][]byte) {
	w.Vector(func(w *mls.Writer) {
		for _, e := range elements {
			w.Fixed(e)
		}
	})
}
