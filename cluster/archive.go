package cluster

import (
	"context"
	"errors"
	"fmt"

	"parley/fsm/meta"
	"parley/mls"
)

// Archive makes backups of the cluster and brings them back, at this node and for as long as it is asked how far it is. The program's
// composition makes it of package ops/backup. Its methods may be called by many goroutines. An error that wraps ErrArchive is final; after
// any other, the same again goes on at what is there.
type Archive interface {
	// Backup tells how far a backup is, and begins it where it does not go on already. It waits a second at most for news.
	Backup(ctx context.Context, spec BackupSpec) (ArchiveProgress, error)
	// Restore likewise brings the slots of the backup that the cluster was made of into their shards.
	Restore(ctx context.Context, restore meta.Restore) (ArchiveProgress, error)
	// Stop ends what goes on of a backup. What is in the store stays there.
	Stop(backup string)
	// Close ends all that goes on, and waits for it.
	Close()
}

// ErrArchive: what was asked of an archive can never be done.
var ErrArchive = errors.New("the archive refuses it")

// ArchiveProgress is how far a backup or a restore is.
type ArchiveProgress struct {
	Done                                 bool
	Text                                 string // for people
	Units, UnitsTotal, Bytes, BytesTotal uint64
}

// BackupSpec says which backup is wanted.
type BackupSpec struct {
	ID       string
	Location string // of the store
	// Node is the only one that can open the location, where that is a directory; empty: any can, and the leader of the meta group does.
	Node           string
	BytesPerSecond uint64 // of what is read of the cluster; 0: as fast as it goes
}

const backupSpecVersion = 1

// Encode is the spec as a job keeps it:
//
//	struct {
//	    uint8 version = 1;
//	    opaque id<V>;
//	    opaque location<V>;
//	    opaque node<V>;
//	    uint64 bytes_per_second;
//	} BackupSpec;
func (s BackupSpec) Encode() []byte {
	var w mls.Writer
	w.Uint8(backupSpecVersion)
	w.Opaque([]byte(s.ID))
	w.Opaque([]byte(s.Location))
	w.Opaque([]byte(s.Node))
	w.Uint64(s.BytesPerSecond)
	return w.Bytes()
}

// DecodeBackupSpec reads what Encode wrote.
func DecodeBackupSpec(raw []byte) (BackupSpec, error) {
	r := mls.NewReader("BackupSpec", raw)
	if version := r.Uint8("version"); version != backupSpecVersion {
		r.Fail("version", "is not known")
	}
	s := BackupSpec{
		ID: string(r.Opaque("id")), Location: string(r.Opaque("location")), Node: string(r.Opaque("node")),
		BytesPerSecond: r.Uint64("bytes_per_second"),
	}
	return s, r.Close()
}

// KeepArchive gives the node its archive, once. The node closes it. Without one it makes no backups.
func (n *Node) KeepArchive(a Archive) { n.archive.Store(&a) }

// The archive's verbs, as they stand in requests. Numbers are append-only.
const (
	archiveBackup  = 1
	archiveRestore = 2
	archiveStop    = 3

	archiveVersion = 1
)

// askArchive asks a node's archive:
//
//	struct { uint8 version = 1; uint8 verb; opaque spec<V>; } ArchiveRequest; // BackupSpec
//
//	struct {
//	    uint8 version = 1;
//	    opaque refusal<V>; // why it can never be done; empty otherwise
//	    uint8 done;
//	    opaque text<V>;
//	    uint64 units; uint64 units_total; uint64 bytes; uint64 bytes_total;
//	} ArchiveAnswer;
func (n *Node) askArchive(ctx context.Context, at string, verb uint8, spec BackupSpec) (ArchiveProgress, error) {
	var w mls.Writer
	w.Uint8(archiveVersion)
	w.Uint8(verb)
	w.Opaque(spec.Encode())
	var raw []byte
	var err error
	if at == "" || at == n.id {
		raw, err = n.serveArchive(ctx, n.id, w.Bytes())
	} else {
		raw, _, err = n.call(ctx, at, methodArchive, w.Bytes())
	}
	if err != nil {
		return ArchiveProgress{}, fmt.Errorf("the archive of node %s: %w", at, err)
	}
	r := mls.NewReader("ArchiveAnswer", raw)
	if version := r.Uint8("version"); version != archiveVersion {
		r.Fail("version", "is not known")
	}
	refusal := string(r.Opaque("refusal"))
	p := ArchiveProgress{
		Done: r.Bool("done"), Text: string(r.Opaque("text")),
		Units: r.Uint64("units"), UnitsTotal: r.Uint64("units_total"), Bytes: r.Uint64("bytes"), BytesTotal: r.Uint64("bytes_total"),
	}
	if err := r.Close(); err != nil {
		return ArchiveProgress{}, err
	}
	if refusal != "" {
		return p, fmt.Errorf("%w: %s", ErrArchive, refusal)
	}
	return p, nil
}

func (n *Node) serveArchive(ctx context.Context, _ string, payload []byte) ([]byte, error) {
	r := mls.NewReader("ArchiveRequest", payload)
	if version := r.Uint8("version"); version != archiveVersion {
		r.Fail("version", "is not known")
	}
	verb := r.Uint8("verb")
	spec, err := DecodeBackupSpec(r.Opaque("spec"))
	if err := errors.Join(r.Close(), err); err != nil {
		return nil, err
	}
	p, err := n.useArchive(ctx, verb, spec)
	refusal := ""
	if errors.Is(err, ErrArchive) {
		refusal, err = err.Error(), nil
	}
	if err != nil {
		return nil, err
	}
	var w mls.Writer
	w.Uint8(archiveVersion)
	w.Opaque([]byte(refusal))
	w.Bool(p.Done)
	w.Opaque([]byte(p.Text))
	for _, number := range []uint64{p.Units, p.UnitsTotal, p.Bytes, p.BytesTotal} {
		w.Uint64(number)
	}
	return w.Bytes(), nil
}

func (n *Node) useArchive(ctx context.Context, verb uint8, spec BackupSpec) (ArchiveProgress, error) {
	kept := n.archive.Load()
	if kept == nil {
		return ArchiveProgress{}, fmt.Errorf("node %s keeps no archive", n.id)
	}
	switch verb {
	case archiveBackup:
		return (*kept).Backup(ctx, spec)
	case archiveRestore:
		restore, made := n.Map().Restore()
		if !made || restore.Backup != spec.ID {
			return ArchiveProgress{}, fmt.Errorf("node %s does not know yet that the cluster is made of backup %s", n.id, spec.ID)
		}
		return (*kept).Restore(ctx, restore)
	case archiveStop:
		(*kept).Stop(spec.ID)
		return ArchiveProgress{Done: true}, nil
	default:
		return ArchiveProgress{}, fmt.Errorf("%w: verb %d is not known to this program", ErrArchive, verb)
	}
}

// closeArchive ends what the archive does, while the node can still be asked by it.
func (n *Node) closeArchive() {
	if kept := n.archive.Load(); kept != nil {
		(*kept).Close()
	}
}
