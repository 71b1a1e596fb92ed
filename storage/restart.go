package storage

import "fmt"

// RestartReason is why a group's replica must not start on what it finds on the disk: it must be quarantined and rebuilt
// from its peers. Numbers are append-only, for they are shown to operators and counted.
type RestartReason uint8

const (
	// RestoreCutOff: a restore did not end. Finish it from the staged data, else quarantine.
	RestoreCutOff RestartReason = iota + 1
	// StateBehindSnapshot: the state lacks entries that only the snapshot stands for. Finish the restore, else quarantine.
	StateBehindSnapshot
	// LogBehindSnapshot: the log begins past what the snapshot covers, so entries in between are lost.
	LogBehindSnapshot
	// StateAheadOfLog: the state contains entries that neither the log nor a snapshot knows, so the log lost its end.
	StateAheadOfLog
)

func (r RestartReason) String() string {
	switch r {
	case RestoreCutOff:
		return "a restore was cut off"
	case StateBehindSnapshot:
		return "the state is behind the snapshot"
	case LogBehindSnapshot:
		return "the log begins past the snapshot"
	case StateAheadOfLog:
		return "the state is ahead of log and snapshot"
	default:
		return fmt.Sprintf("RestartReason(%d)", uint8(r))
	}
}

// RestartError refuses to start a replica, with the indexes that were found.
type RestartError struct {
	Reason                             RestartReason
	Applied, RestoredThrough, Snapshot uint64
	First, Last                        uint64
}

func (e *RestartError) Error() string {
	return fmt.Sprintf("storage: %s (applied %d, restored through %d, snapshot %d, log [%d, %d])",
		e.Reason, e.Applied, e.RestoredThrough, e.Snapshot, e.First, e.Last)
}

// CheckRestart compares what a group left on the disk before raft starts on it: the state's applied index, the index its last
// restore brought, the newest snapshot's index and the log's first and last index, each 0 where there is none. It gives nil
// or a *RestartError. raft itself notices none of this: with NoSnapshotRestoreOnStart a crash between closing a snapshot and
// restoring it would lose the state between for ever.
//
// Where restoring is true the state cannot be read, and applied is ignored.
func CheckRestart(applied, restoredThrough, snapshot, first, last uint64, restoring bool) error {
	reason := RestartReason(0)
	switch {
	case restoring:
		reason = RestoreCutOff
	case applied < snapshot:
		reason = StateBehindSnapshot
	case last > 0 && first > snapshot+1:
		reason = LogBehindSnapshot
	case applied > max(last, snapshot, restoredThrough):
		reason = StateAheadOfLog
	default:
		return nil
	}
	return &RestartError{Reason: reason, Applied: applied, RestoredThrough: restoredThrough, Snapshot: snapshot, First: first, Last: last}
}
