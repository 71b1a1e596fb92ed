package meta_test

import (
	"fmt"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

// lost is a cluster with something of everything, whose backup is brought back.
const lost = `init c1 domains=a.example
add-node n1 h1:1
place 1 first=0 last=4095 on=n1
put-peer b.example domains=b.example,chat.b.example
put-peer c.example domains=c.example
pause-peer b.example by=bob why=noise at=6000
put-token t1 secret=s scopes=inbox:read
add-hub-key A sealed=x at=5000
put-hub-key B sealed=y
add-service-keys franking:1:A:x franking:2:B:x external-receiver:1:C:x frank-mac:0:D:x at=5000
put-gossip-key g1 sealed=z
put-ca sealed=z`

// backedUp is what a backup has of the map of a cluster, with the map itself.
func backedUp(t *testing.T, script string) (*meta.Map, []meta.RestoreRecord) {
	t.Helper()
	store := fsmtest.NewStore()
	for i, line := range strings.Split(script, "\n") {
		if _, err := meta.Apply(store, uint64(i+1), meta.EncodeCommand(parseCommand(t, line))); err != nil {
			t.Fatal(err)
		}
	}
	var records []meta.RestoreRecord
	err := store.Scan(nil, []byte{0xff, 0xff, 0xff}, func(key, value []byte) (bool, error) {
		if meta.Restorable(key) {
			records = append(records, meta.RestoreRecord{Key: append([]byte(nil), key...), Value: append([]byte(nil), value...)})
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return readMap(t, store), records
}

// pagesOf cuts records into pages of so many.
func pagesOf(records []meta.RestoreRecord, each int) (pages []meta.RestoreCluster) {
	count := (len(records) + each - 1) / each
	for i := range count {
		pages = append(pages, meta.RestoreCluster{
			Restore:   meta.Restore{Backup: "b1", Location: "file:///b", Node: "n9", Generation: 2},
			ClusterID: "c1", ReplicationFactor: 3, Shards: 4, Page: uint32(i + 1), Pages: uint32(count),
			Records: records[i*each : min((i+1)*each, len(records))], Stamp: 9000,
		})
	}
	return pages
}

func mustApply(t *testing.T, store *fsmtest.Store, c meta.Command) meta.Outcome {
	t.Helper()
	outcome, err := meta.Apply(store, 1, meta.EncodeCommand(c))
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

// A restored cluster is set as the lost one was, knows its peers and has its keys; who belonged to it and who had a token it does not know.
func TestRestoreCluster(t *testing.T) {
	was, records := backedUp(t, lost)
	for each := 1; each <= len(records); each++ {
		store, pages := fsmtest.NewStore(), pagesOf(records, each)
		for _, page := range pages {
			if m := readMap(t, store); m.Initialised() || len(m.Peers()) > 0 {
				t.Fatalf("before page %d of %d there is a cluster", page.Page, page.Pages)
			}
			if outcome, done := mustApply(t, store, page).(meta.Done); !done {
				t.Fatalf("page %d of %d: %+v", page.Page, page.Pages, outcome)
			}
		}
		m := readMap(t, store)
		settings, _ := m.Settings()
		before, _ := was.Settings()
		if m.ClusterID() != "c1" || m.ReplicationFactor() != 3 || m.ShardsWanted() != 4 || fmt.Sprint(settings) != fmt.Sprint(before) {
			t.Errorf("the cluster is %q with %+v", m.ClusterID(), settings)
		}
		if fmt.Sprint(m.Peers(), m.Holds(), m.HubKeys(), m.ServiceKeys()) != fmt.Sprint(was.Peers(), was.Holds(), was.HubKeys(), was.ServiceKeys()) {
			t.Error("peers, holds or keys are not what they were")
		}
		if len(m.Nodes())+len(m.Shards())+len(m.Tokens())+len(m.GossipKeys()) > 0 {
			t.Error("nodes, shards, tokens or secrets of the lost cluster came back")
		}
		if _, has := m.CA(); has {
			t.Error("the CA of the lost cluster came back")
		}
		restore, made := m.Restore()
		if !made || !m.Restoring() || restore.Move != m.Version() || restore.Millis != 9000 || m.Generation() != 2 || m.HistoryEndedMillis() != 9000 {
			t.Errorf("it is made of %+v, in generation %d", restore, m.Generation())
		}
		if m.Version() <= was.Version() {
			t.Errorf("version %d, and the lost cluster had %d", m.Version(), was.Version())
		}
		if err := m.Check(); err != nil {
			t.Error(err)
		}
		for _, page := range pages { // somebody begins again
			if outcome := mustApply(t, store, page); outcome != (meta.Done{Version: m.Version()}) {
				t.Errorf("page %d again: %+v", page.Page, outcome)
			}
		}
		other := pages[0]
		other.Restore.Backup = "b2"
		if _, refused := mustApply(t, store, other).(meta.Refused); !refused {
			t.Error("another backup was taken for a cluster that exists")
		}
		if _, refused := mustApply(t, store, meta.EndRestore{Backup: "b2"}).(meta.Refused); !refused {
			t.Error("another restore was ended")
		}
		mustApply(t, store, meta.EndRestore{Backup: "b1", Stamp: 9500})
		if readMap(t, store).Restoring() {
			t.Error("the restore goes on after its end")
		}
		if store.Len() != countKeys(t, store) {
			t.Error("pages are left over")
		}
	}
}

// countKeys counts the records but those of pages.
func countKeys(t *testing.T, store *fsmtest.Store) (count int) {
	t.Helper()
	err := store.Scan(nil, []byte{0xff, 0xff, 0xff}, func(key, _ []byte) (bool, error) {
		if key[2] != 0xa1 {
			count++
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// A restore that was cut off is begun again, also with another backup, and nothing of the first is in it.
func TestRestoreClusterBeginsAgain(t *testing.T) {
	_, records := backedUp(t, lost)
	_, fewer := backedUp(t, "init c1 domains=a.example\nput-peer d.example domains=d.example")
	store := fsmtest.NewStore()
	for _, page := range pagesOf(records, 2)[:3] {
		mustApply(t, store, page)
	}
	pages := pagesOf(fewer, 2)
	for i := range pages {
		pages[i].Restore.Backup = "b2"
	}
	if _, refused := mustApply(t, store, pages[1]).(meta.Refused); !refused {
		t.Error("a page of another backup followed")
	}
	for _, page := range pages {
		mustApply(t, store, page)
	}
	m := readMap(t, store)
	if restore, _ := m.Restore(); restore.Backup != "b2" || len(m.Peers()) != 1 || m.Peers()[0].Domain.String() != "d.example" {
		t.Errorf("made of %+v, with the peers %v", restore, m.Peers())
	}
}

func TestRestoreClusterRefuses(t *testing.T) {
	_, records := backedUp(t, lost)
	for name, spoil := range map[string]func(*meta.RestoreCluster){
		"a token":              func(c *meta.RestoreCluster) { c.Records[0].Key = []byte{0xff, 0xff, 0x86, 't'} },
		"a key of no kind":     func(c *meta.RestoreCluster) { c.Records[0].Key = []byte{0xff} },
		"damaged settings":     func(c *meta.RestoreCluster) { c.Records[1].Value = []byte{1, 2} },
		"no settings":          func(c *meta.RestoreCluster) { c.Records = nil },
		"the first generation": func(c *meta.RestoreCluster) { c.Restore.Generation = fsm.FirstGeneration },
		"no backup":            func(c *meta.RestoreCluster) { c.Restore.Backup = "" },
		"no shards":            func(c *meta.RestoreCluster) { c.Shards = 0 },
		"a page too many":      func(c *meta.RestoreCluster) { c.Page = 2 },
		"a page that is late":  func(c *meta.RestoreCluster) { c.Page, c.Pages = 2, 2 },
		"a bad name":           func(c *meta.RestoreCluster) { c.ClusterID = "No!" },
	} {
		t.Run(name, func(t *testing.T) {
			page := pagesOf(records, len(records))[0]
			page.Records = append([]meta.RestoreRecord(nil), records...)
			spoil(&page)
			store := fsmtest.NewStore()
			if outcome, refused := mustApply(t, store, page).(meta.Refused); !refused || store.Len() > 0 {
				t.Errorf("came to %+v, and %d records", outcome, store.Len())
			}
		})
	}
}
