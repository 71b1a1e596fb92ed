package storage

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

var (
	// ErrCorrupt says that bytes read back are not the bytes written: a checksum, a length or a version is wrong, or a
	// record is missing from the middle of a log. The data of that group on this node must not be used again.
	ErrCorrupt = errors.New("storage: corrupt data")

	// ErrFailed says that the engine met an error before and refuses all further use. It wraps what happened first.
	ErrFailed = errors.New("storage: engine has failed")

	// ErrSlowWrite is the cause given to OnFatal when a synced write took longer than the limit.
	ErrSlowWrite = errors.New("storage: a synced write passed its time limit")

	// ErrClosed answers the use of an engine after Close.
	ErrClosed = errors.New("storage: engine is closed")

	// ErrRestoring refuses reads and writes of a group whose state is being replaced, or whose replacement did not end.
	ErrRestoring = errors.New("storage: the group's state is being restored")

	// ErrReplaced refuses a Batch or View that was begun before the group's state was restored or destroyed.
	ErrReplaced = errors.New("storage: the group's state was replaced since")

	// ErrOrder refuses a key that does not come after the one before it.
	ErrOrder = errors.New("storage: keys must come in ascending order, each once")

	// ErrGap refuses log entries that would leave a hole in a log.
	ErrGap = errors.New("storage: log entries must be contiguous")

	// ErrTombstoned refuses entries for a group that was removed from this node.
	ErrTombstoned = errors.New("storage: the group was removed from this node")

	// ErrLocked says that another process holds the node directory.
	ErrLocked = errors.New("storage: the directory is in use by another process")

	// ErrNoIdentity says that the node directory has not been given an identity yet.
	ErrNoIdentity = errors.New("storage: the directory has no identity")

	// ErrIdentity refuses to give a second identity to a node directory.
	ErrIdentity = errors.New("storage: the directory belongs to another node or cluster")
)

// wrap adds the operation to an engine's error, and ErrCorrupt where Pebble says that its files are damaged.
// Pebble marks a batch over 4 GiB as corruption too, but that is the writer's mistake and no damage.
func wrap(operation string, err error) error {
	if err == nil {
		return nil
	}
	if pebble.IsCorruptionError(err) && !errors.Is(err, pebble.ErrBatchTooLarge) {
		return fmt.Errorf("%s: %w: %w", operation, ErrCorrupt, err)
	}
	return fmt.Errorf("%s: %w", operation, err)
}
