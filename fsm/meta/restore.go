package meta

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sort"

	"parley/fsm"
	"parley/mls"
)

// Limits of restores. They are protocol constants.
const (
	LocationBytesMax = 2048 // of where a backup lies
	RestorePagesMax  = 4096 // of what a backup has of the map
	// RestorePageBytes is a good size for the records of a page.
	RestorePageBytes = 256 << 10
)

const (
	kindRestoreCluster commandKind = 73
	kindEndRestore     commandKind = 74
)

const (
	keyRestore     keyKind = 0xa0
	keyRestorePage keyKind = 0xa1
)

// restorable are the kinds of record that a restored cluster takes over: how it is set, whom it knows, and the keys that it signs with.
// Who belonged to the cluster, and who had a token, counts for nothing in it.
var restorable = []keyKind{keyVersion, keySettings, keyPeer, keyHubKey, keyHubKeyTime, keyHold, keyServiceKey, keyClock}

// Restorable reports whether a record of the map's state is for backups.
func Restorable(key []byte) bool {
	prefix := newKey(0)
	return len(key) >= len(prefix) && bytes.Equal(key[:2], prefix[:2]) && slices.Contains(restorable, keyKind(key[2]))
}

// Restore says out of which backup a cluster was made.
type Restore struct {
	Backup   string // its ID
	Location string // where it lies
	Node     string // that can read it there; empty: any can
	// Generation is the cluster's since then: one more than the backup's.
	Generation fsm.Generation
	// Move is the number under which its slots come into the shards; apply says it.
	Move   uint64
	Millis uint64 // the meta group's time, when it began; likewise
	Done   bool   // all slots have come; likewise
}

// RestoreRecord is a record of the map's state as a backup has it.
type RestoreRecord struct{ Key, Value []byte }

// RestoreCluster makes a cluster, once, as InitCluster does, of what a backup has of another one's map. That comes in pages, which count for
// nothing before the last is there; the first forgets what came before it. Its shards are born without slots: those come out of the
// backup. It is for clusters whose nodes all know it, as a new one's do.
type RestoreCluster struct {
	Restore           Restore
	ClusterID         string // as it was: what is sealed is bound to it
	ReplicationFactor uint32 // as in InitCluster, and so are
	Shards            uint32
	Page, Pages       uint32 // counted from 1
	Records           []RestoreRecord
	Stamp             uint64
}

// EndRestore says that all slots of a backup have come into their shards.
type EndRestore struct {
	Backup string
	Stamp  uint64
}

// WithStamp implements Stamped.
func (c RestoreCluster) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

// WithStamp implements Stamped.
func (c EndRestore) WithStamp(millis uint64) Command { c.Stamp = millis; return c }

func (RestoreCluster) kind() commandKind { return kindRestoreCluster }
func (EndRestore) kind() commandKind     { return kindEndRestore }

// Restore says of which backup the cluster was made; false where it was made of none.
func (m *Map) Restore() (Restore, bool) { return m.restore, m.restore.Backup != "" }

// Restoring reports whether slots have yet to come out of a backup.
func (m *Map) Restoring() bool { return m.restore.Backup != "" && !m.restore.Done }

func (m *Map) readRestore(r fsm.Reader) (err error) {
	m.restore, _, err = readOne(r, newKey(keyRestore), "restore", readRestore)
	return err
}

func restorePageKey(page uint32) []byte {
	return newKey(keyRestorePage, binary.BigEndian.AppendUint32(nil, page)...)
}

func (c RestoreCluster) apply(t *tx) Outcome {
	if t.m.Initialised() {
		return c.again(t)
	}
	if reason := c.fault(); reason != "" {
		return Refused{reason}
	}
	before := c.staged(t)
	if t.err != nil {
		return nil
	}
	if c.Page > 1 && (before == nil || before.Restore.Backup != c.Restore.Backup || before.ClusterID != c.ClusterID) {
		return refuse("page %d of backup %q does not follow on what has come", c.Page, c.Restore.Backup)
	}
	if c.Page < c.Pages {
		t.dropPagesFrom(c.Page)
		t.set(restorePageKey(c.Page), c.appendTo)
		return t.unchanged()
	}
	return c.begin(t)
}

func (c RestoreCluster) fault() string {
	if reason := nameFault(c.ClusterID); reason != "" {
		return "the cluster ID " + reason
	}
	r := c.Restore
	switch {
	case r.Backup == "" || len(r.Backup) > NameBytesMax:
		return "the backup has no ID, or one that is too long"
	case len(r.Location) > LocationBytesMax || len(r.Node) > NameBytesMax:
		return "where the backup lies is too long to be kept"
	case r.Generation <= fsm.FirstGeneration:
		return "a restored cluster is not in its first generation"
	case c.ReplicationFactor < 1 || c.ReplicationFactor > ReplicasMax:
		return "the replication factor is out of bounds"
	case c.Shards < 1 || c.Shards > ShardsMax:
		return "the number of shards is out of bounds"
	case c.Page < 1 || c.Page > c.Pages || c.Pages > RestorePagesMax:
		return "there is no such page"
	}
	for _, record := range c.Records {
		if !Restorable(record.Key) {
			return "a record is none that is restored"
		}
	}
	return ""
}

// again answers for a cluster that exists.
func (c RestoreCluster) again(t *tx) Outcome {
	is := t.m.restore
	switch {
	case t.m.cluster.id != c.ClusterID:
		return refuse("this is cluster %q already", t.m.cluster.id)
	case is.Backup != c.Restore.Backup || is.Generation != c.Restore.Generation:
		return refuse("the cluster exists, and is not made of backup %q", c.Restore.Backup)
	default:
		return t.unchanged()
	}
}

// staged is the page before this one, nil where it has not come.
func (c RestoreCluster) staged(t *tx) *RestoreCluster {
	if c.Page == 1 {
		return nil
	}
	page, found, err := readOne(t.store, restorePageKey(c.Page-1), "page of a restore", readRestoreCluster)
	t.err = err
	if !found {
		return nil
	}
	return &page
}

// dropPagesFrom forgets pages that came before.
func (t *tx) dropPagesFrom(page uint32) {
	if t.err == nil {
		t.err = t.store.DeleteRange(restorePageKey(page), newKey(keyRestorePage+1))
	}
}

// begin makes the cluster of all pages.
func (c RestoreCluster) begin(t *tx) Outcome {
	records, err := c.all(t.store)
	if err != nil {
		t.err = err
		return nil
	}
	was, err := ReadMap(records)
	if err != nil {
		return refuse("what the backup has of the map cannot be read: %v", err)
	}
	settings := was.settings
	settings.Format = max(settings.Format, fsm.FormatResize)
	if reason := settingsFault(was, settings); reason != "" {
		return Refused{reason}
	}
	t.m = was // the versions of the new cluster rise above those that records stand under
	for _, record := range records {
		if t.err == nil {
			t.err = t.store.Set(record.Key, record.Value)
		}
	}
	t.dropPagesFrom(1)
	t.set(newKey(keyCluster), clusterRecord{c.ClusterID, c.ReplicationFactor, c.Shards}.appendTo)
	t.setSettings(settings)
	now := t.now(c.Stamp)
	t.setGeneration(c.Restore.Generation, now)
	restore := c.Restore
	restore.Move, restore.Millis, restore.Done = t.next(), now, false
	t.set(newKey(keyRestore), restore.appendTo)
	return t.stamped(c.Stamp)
}

// all are the records of all pages, in order of their keys.
func (c RestoreCluster) all(r fsm.Reader) (recordReader, error) {
	pages, err := readAll(r, keyRestorePage, "page of a restore", readRestoreCluster)
	if err != nil {
		return nil, err
	}
	var records recordReader
	for _, page := range append(pages[:min(len(pages), int(c.Page)-1)], c) {
		records = append(records, page.Records...)
	}
	slices.SortStableFunc(records, func(a, b RestoreRecord) int { return bytes.Compare(a.Key, b.Key) })
	return slices.CompactFunc(records, func(a, b RestoreRecord) bool { return bytes.Equal(a.Key, b.Key) }), nil
}

// ReadRestored reads what a backup has of a map. It belongs to no cluster yet.
func ReadRestored(records []RestoreRecord) (*Map, error) {
	sorted := recordReader(slices.Clone(records))
	slices.SortStableFunc(sorted, func(a, b RestoreRecord) int { return bytes.Compare(a.Key, b.Key) })
	return ReadMap(sorted)
}

func (c EndRestore) apply(t *tx) Outcome {
	is := t.m.restore
	switch {
	case is.Backup == "" || is.Backup != c.Backup:
		return refuse("the cluster is not made of backup %q", c.Backup)
	case is.Done:
		return t.unchanged()
	}
	is.Done = true
	t.set(newKey(keyRestore), is.appendTo)
	return t.stamped(c.Stamp)
}

// recordReader reads records that are in memory, in order of their keys.
type recordReader []RestoreRecord

func (r recordReader) from(key []byte) int {
	return sort.Search(len(r), func(i int) bool { return bytes.Compare(r[i].Key, key) >= 0 })
}

// Get implements fsm.Reader.
func (r recordReader) Get(key []byte) ([]byte, error) {
	if i := r.from(key); i < len(r) && bytes.Equal(r[i].Key, key) {
		return bytes.Clone(r[i].Value), nil
	}
	return nil, nil
}

// Scan implements fsm.Reader.
func (r recordReader) Scan(lower, upper []byte, visit func(key, value []byte) (more bool, err error)) error {
	for _, record := range r[r.from(lower):] {
		if upper != nil && bytes.Compare(record.Key, upper) >= 0 {
			return nil
		}
		if more, err := visit(record.Key, record.Value); err != nil || !more {
			return err
		}
	}
	return nil
}

//	struct {
//	    opaque backup<V>;
//	    opaque location<V>;
//	    opaque node<V>;
//	    uint64 generation;
//	    uint64 move;
//	    uint64 millis;
//	    uint8 done;
//	} Restore;
func (r Restore) appendTo(w *mls.Writer) {
	appendText(w, r.Backup)
	appendText(w, r.Location)
	appendText(w, r.Node)
	w.Uint64(uint64(r.Generation))
	w.Uint64(r.Move)
	w.Uint64(r.Millis)
	w.Bool(r.Done)
}

func readRestore(r *mls.Reader) Restore {
	return Restore{
		Backup: string(r.Opaque("backup")), Location: string(r.Opaque("location")), Node: string(r.Opaque("node")),
		Generation: fsm.Generation(r.Uint64("generation")), Move: r.Uint64("move"), Millis: r.Uint64("millis"), Done: r.Bool("done"),
	}
}

//	struct {
//	    Restore restore;
//	    opaque cluster_id<V>;
//	    uint32 replication_factor;
//	    uint32 shards;
//	    uint32 page;
//	    uint32 pages;
//	    RestoreRecord records<V>;
//	    uint64 stamp;
//	} RestoreCluster;
//
// struct { opaque key<V>; opaque value<V>; } RestoreRecord;
func (c RestoreCluster) appendTo(w *mls.Writer) {
	c.Restore.appendTo(w)
	appendText(w, c.ClusterID)
	w.Uint32(c.ReplicationFactor)
	w.Uint32(c.Shards)
	w.Uint32(c.Page)
	w.Uint32(c.Pages)
	w.Vector(func(w *mls.Writer) {
		for _, record := range c.Records {
			w.Opaque(record.Key)
			w.Opaque(record.Value)
		}
	})
	w.Uint64(c.Stamp)
}

func readRestoreCluster(r *mls.Reader) RestoreCluster {
	return RestoreCluster{
		Restore: readRestore(r), ClusterID: string(r.Opaque("cluster_id")), ReplicationFactor: r.Uint32("replication_factor"),
		Shards: r.Uint32("shards"), Page: r.Uint32("page"), Pages: r.Uint32("pages"),
		Records: mls.ReadList(r, "records", func(r *mls.Reader) RestoreRecord {
			return RestoreRecord{Key: r.Opaque("key"), Value: r.Opaque("value")}
		}),
		Stamp: r.Uint64("stamp"),
	}
}

//	struct {
//	    opaque backup<V>;
//	    uint64 stamp;
//	} EndRestore;
func (c EndRestore) appendTo(w *mls.Writer) {
	appendText(w, c.Backup)
	w.Uint64(c.Stamp)
}

// readRestoreCommand reads the commands of restores; nil for any other.
func readRestoreCommand(r *mls.Reader, kind commandKind) Command {
	switch kind {
	case kindRestoreCluster:
		return readRestoreCluster(r)
	case kindEndRestore:
		return EndRestore{Backup: string(r.Opaque("backup")), Stamp: r.Uint64("stamp")}
	default:
		return nil
	}
}
