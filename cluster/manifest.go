package cluster

import (
	"errors"
	"fmt"
	"io"

	"parley/mls"
	"parley/storage"
)

const (
	manifestVersion  = 1
	manifestBytesMax = 4096
)

// manifest is a snapshot as Raft sees it: it names the state and does not hold it. Who receives one has fetched the state from
// the source before Raft hears of the snapshot.
//
//	struct {
//	    uint8 version = 1;
//	    uint32 group;
//	    uint64 index;
//	    opaque source<V>; // node ID
//	} Manifest;
type manifest struct {
	group  uint32
	index  uint64 // the state holds at least what the log's entries up to here came to
	source string // the node that made it and can stream its state
}

func (m manifest) encode() []byte {
	var w mls.Writer
	w.Uint8(manifestVersion)
	w.Uint32(m.group)
	w.Uint64(m.index)
	w.Opaque([]byte(m.source))
	return w.Bytes()
}

func decodeManifest(raw []byte) (manifest, error) {
	r := mls.NewReader("Manifest", raw)
	if version := r.Uint8("version"); version != manifestVersion {
		r.Fail("version", fmt.Sprintf("is %d, not %d", version, manifestVersion))
	}
	m := manifest{group: r.Uint32("group"), index: r.Uint64("index"), source: string(r.Opaque("source"))}
	return m, r.Close()
}

// manifestOf reads a snapshot's manifest.
func manifestOf(kept *storage.Snapshots, id string) (m manifest, err error) {
	_, content, err := kept.Open(id)
	if err != nil {
		return m, err
	}
	raw, err := io.ReadAll(io.LimitReader(content, manifestBytesMax))
	if err := errors.Join(err, content.Close()); err != nil {
		return m, err
	}
	return decodeManifest(raw)
}
