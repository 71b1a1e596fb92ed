// Package storage keeps a node's durable things: the state of its replicas, the Raft logs, the votes, the snapshot
// manifests, and the directory that holds them all.
//
// It knows the interfaces of hashicorp/raft and none of our meanings: a group is a number, a key and a value are bytes.
//
// Two engines stand side by side. The log engine is synced: what StoreLogs answered is on the disk. The state engine is
// not synced per write, because the Raft log is its journal: after a crash it may be behind, but never torn, since the
// applied index rides in the same batch as the data that it covers. Both are shared by every group of the node, so that
// one fsync serves many groups.
//
// Failure is of the node, not of a group (hashicorp/raft issues 503 and 614): the first engine error is given to OnFatal,
// and from then on the engine answers ErrFailed to everything.
package storage
