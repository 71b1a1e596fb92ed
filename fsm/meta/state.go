package meta

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"parley/fsm"
	"parley/mimi"
	"parley/mls"
)

// The meta group's keys stand where a shard keeps what concerns it as a whole: slot 0xffff ‖ kind(1) ‖ rest, so that digest and
// snapshot of package fsm serve both. Kinds are append-only and none of fsm's.
//
//	kind  rest          value
//	0x80  -             the map's version
//	0x81  -             clusterRecord
//	0x82  -             settingsRecord
//	0x83  node ID       Node
//	0x84  shard(4)      Shard
//	0x85  domain        Peer
//	0x86  token ID      Token
//	0x87  version(8)    HubKey, by the map's version that brought it
//	0x88  version(8)    CA, likewise
//	0x89  token ID      JoinToken
//	0x8a  serial        Certificate
//	0x8b  node ID       Revocation
//	0x8c  version(8)    GossipKey, by the map's version that brought it
//	0x8d  -             the meta group's time
//	0x8e  version(8)    when a HubKey came, by the map's version that brought it
//	0x8f  domain        Hold
//	0x90  version(8) ‖ place ServiceKey, by the map's version that brought it
//	0x99  -             SlotPlaces
//	0x9a  -             SlotMoves
//	0x95  node ID       Duty
//	0x96  node ID       Zone
//	0x97  -             placementRecord
//	0x98  shard(4)      Succession
//	0x91  job(8)        Job
//	0x92  sequence(8)   auditRecord
//	0x93  key(16)       the sequence of the auditRecord with this key
//	0x94  -             auditBounds
//	0x9d  -             generationRecord
//	0xa0  -             Restore
//	0xa1  page(4)       RestoreCluster, until the last page is there
type keyKind byte

const (
	keyVersion  keyKind = 0x80
	keyCluster  keyKind = 0x81
	keySettings keyKind = 0x82
	keyNode     keyKind = 0x83
	keyShard    keyKind = 0x84
	keyPeer     keyKind = 0x85
	keyToken    keyKind = 0x86
	keyHubKey   keyKind = 0x87

	keyCA          keyKind = 0x88
	keyJoinToken   keyKind = 0x89
	keyCertificate keyKind = 0x8a
	keyRevocation  keyKind = 0x8b
	keyGossipKey   keyKind = 0x8c
	keyClock       keyKind = 0x8d
	keyHubKeyTime  keyKind = 0x8e
	keyHold        keyKind = 0x8f
	keyServiceKey  keyKind = 0x90

	keySlotPlaces  keyKind = 0x99
	keySlotMoves   keyKind = 0x9a
	keyDuty        keyKind = 0x95
	keyZone        keyKind = 0x96
	keyPlacement   keyKind = 0x97
	keySuccession  keyKind = 0x98
	keyJob         keyKind = 0x91
	keyAudit       keyKind = 0x92
	keyAuditPlace  keyKind = 0x93
	keyAuditBounds keyKind = 0x94
)

func newKey(kind keyKind, rest ...byte) []byte {
	return append([]byte{byte(fsm.ShardLevel >> 8), byte(fsm.ShardLevel & 0xff), byte(kind)}, rest...)
}

func shardKey(id fsm.ShardID) []byte {
	return newKey(keyShard, binary.BigEndian.AppendUint32(nil, uint32(id))...)
}

func peerKey(domain mimi.Provider) []byte { return newKey(keyPeer, []byte(domain.String())...) }

func hubKeyTimeKey(version uint64) []byte {
	return newKey(keyHubKeyTime, binary.BigEndian.AppendUint64(nil, version)...)
}

func hubKeyKey(version uint64) []byte {
	return newKey(keyHubKey, binary.BigEndian.AppendUint64(nil, version)...)
}

func caKey(version uint64) []byte {
	return newKey(keyCA, binary.BigEndian.AppendUint64(nil, version)...)
}

func joinTokenKey(id string) []byte { return newKey(keyJoinToken, []byte(id)...) }

func certificateKey(serial []byte) []byte { return newKey(keyCertificate, serial...) }

func gossipKeyKey(version uint64) []byte {
	return newKey(keyGossipKey, binary.BigEndian.AppendUint64(nil, version)...)
}

//	struct {
//	    opaque id<V>;
//	    uint32 replication_factor;
//	    uint32 shards;
//	} ClusterRecord;
type clusterRecord struct {
	id          string
	replication uint32
	shards      uint32
}

func (c clusterRecord) appendTo(w *mls.Writer) {
	appendText(w, c.id)
	w.Uint32(c.replication)
	w.Uint32(c.shards)
}

func readClusterRecord(r *mls.Reader) clusterRecord {
	return clusterRecord{id: string(r.Opaque("id")), replication: r.Uint32("replication_factor"), shards: r.Uint32("shards")}
}

//	struct {
//	    uint64 version;     // of the map, when they last changed
//	    opaque settings<V>;
//	} SettingsRecord;
type settingsRecord struct {
	version  uint64
	settings fsm.Settings // without HubKeys
}

func (s settingsRecord) appendTo(w *mls.Writer) {
	w.Uint64(s.version)
	appendSettings(w, s.settings)
}

func readSettingsRecord(r *mls.Reader) settingsRecord {
	return settingsRecord{version: r.Uint64("version"), settings: readSettings(r)}
}

// readOne gets and decodes a record; found is false where it is absent.
func readOne[T any](r fsm.Reader, key []byte, name string, read func(*mls.Reader) T) (v T, found bool, err error) {
	value, err := r.Get(key)
	if err != nil || value == nil {
		return v, false, err
	}
	v, err = decode(name, value, read)
	return v, err == nil, err
}

// readAll decodes all records of a kind, in the order of their keys.
func readAll[T any](r fsm.Reader, kind keyKind, name string, read func(*mls.Reader) T) ([]T, error) {
	var all []T
	err := r.Scan(newKey(kind), newKey(kind+1), func(_, value []byte) (bool, error) {
		v, err := decode(name, bytes.Clone(value), read) // the value is lent, and what is decoded aliases it
		all = append(all, v)
		return true, err
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s records: %w", name, err)
	}
	return all, nil
}

// readVersioned is readAll for records that stand under the map's version that brought them; versions are in the order of all.
func readVersioned[T any](r fsm.Reader, kind keyKind, name string, read func(*mls.Reader) T) (all []T, versions []uint64, err error) {
	err = r.Scan(newKey(kind), newKey(kind+1), func(key, _ []byte) (bool, error) {
		versions = append(versions, binary.BigEndian.Uint64(key[len(newKey(kind)):]))
		return true, nil
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s records: %w", name, err)
	}
	all, err = readAll(r, kind, name, read)
	return all, versions, err
}
