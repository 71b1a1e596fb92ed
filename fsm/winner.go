package fsm

import (
	"parley/mimi"
	"parley/mls"
)

// winnersKept is for how many past epochs a room knows which Commit ended them, and what became of their Proposals. A retry of
// an accepted Commit gets its success that long; then it is told the current epoch.
const winnersKept = 64

// Winner is the Commit that ended an epoch.
//
//	struct {
//	    opaque commit_hash[32];
//	    uint64 millis;
//	} Winner;
type Winner struct {
	CommitHash [32]byte // SHA-256 of its MLSMessage
	Millis     uint64   // hub time of its acceptance
}

func (v Winner) appendTo(w *mls.Writer) {
	w.Fixed(v.CommitHash[:])
	w.Uint64(v.Millis)
}

func readWinner(r *mls.Reader) Winner {
	return Winner{CommitHash: readHash(r, "commit_hash"), Millis: r.Uint64("millis")}
}

// ReadWinner returns the Commit that ended an epoch; false where the epoch has not ended or is no longer known.
func ReadWinner(r Reader, room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch) (Winner, bool, error) {
	return readRecord(r, epochKey(keyWinner, room, group, epoch), "winner", readWinner)
}

func (t *tx) winner(room mimi.RoomURI, group mls.GroupID, epoch mls.Epoch) (Winner, bool) {
	return get(t, func(r Reader) (Winner, bool, error) { return ReadWinner(r, room, group, epoch) })
}

// wrongEpoch tells what became of the epoch that was wanted.
func (t *tx) wrongEpoch(head roomHead, wanted mls.Epoch) Outcome {
	winner, _ := t.winner(head.room, head.groupID, wanted)
	return WrongEpoch{Current: head.epoch, Winner: winner.CommitHash}
}

// forgetEpochs drops the records of epochs before oldest.
func (t *tx) forgetEpochs(kind keyKind, head roomHead, oldest mls.Epoch) {
	t.deleteRange(epochKey(kind, head.room, head.groupID, 0), epochKey(kind, head.room, head.groupID, oldest))
}

// since is the epoch that lies n before another, or 0.
func since(epoch mls.Epoch, n uint64) mls.Epoch {
	if uint64(epoch) < n {
		return 0
	}
	return epoch - mls.Epoch(n)
}
