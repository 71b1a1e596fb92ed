package meta_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
	"parley/mimi"
	"parley/mls"
)

func TestEvenShards(t *testing.T) {
	for _, test := range []struct{ count, nodes, replication, replicas int }{
		{6, 3, 3, 3}, {1, 1, 3, 1}, {7, 5, 3, 3}, {64, 5, 3, 3}, {4096, 4, 2, 2}, {12, 6, 5, 5}, {3, 7, 0, 1},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			var nodes []string
			for i := range test.nodes {
				nodes = append(nodes, fmt.Sprintf("n%d", i))
			}
			shards := meta.EvenShards(test.count, nodes, test.replication)
			next, leads, has := fsm.SlotID(0), map[string]int{}, map[string]int{}
			for i, s := range shards {
				if s.ID != fsm.ShardID(i+1) || s.First != next || s.Last < s.First || len(s.Replicas) != test.replicas {
					t.Fatalf("shard %d is %+v", i, s)
				}
				next = s.Last + 1
				leads[s.Replicas[0]]++
				for _, r := range s.Replicas {
					has[r]++
				}
				if sorted := slices.Sorted(slices.Values(s.Replicas)); len(slices.Compact(sorted)) != test.replicas {
					t.Fatalf("shard %d is twice on a node: %v", i, s.Replicas)
				}
			}
			if next != fsm.SlotCount {
				t.Errorf("the slots end at %d", next)
			}
			for name, count := range map[string]map[string]int{"leaders": leads, "replicas": has} {
				values := slices.Collect(maps.Values(count))
				if len(values) == test.nodes && slices.Max(values)-slices.Min(values) > test.replicas {
					t.Errorf("%s are spread %v", name, count)
				}
			}
			slices.Reverse(nodes)
			if fmt.Sprint(shards) != fmt.Sprint(meta.EvenShards(test.count, append(nodes, nodes[0]), test.replication)) {
				t.Error("the order of the nodes matters")
			}
		})
	}
}

// When a node fails, what it led falls to different nodes.
func TestEvenShardsSpreadTheNextLeader(t *testing.T) {
	next := map[string]bool{}
	for _, s := range meta.EvenShards(6, []string{"n1", "n2", "n3"}, 3) {
		if s.Replicas[0] == "n1" {
			next[s.Replicas[1]] = true
		}
	}
	if len(next) != 2 {
		t.Errorf("all of n1's shards fall to %v", next)
	}
}

func TestLookups(t *testing.T) {
	_, entries := play(t, `init c1 domains=a.example
add-node n1 h1:1
add-node n2 h2:1
place 2 first=100 last=199 on=n1,n2
place 1 first=300 last=399 on=n2
put-peer b.example domains=b.example,chat.b.example
put-token t1 secret=s scopes=inbox:read
put-hub-key A sealed=x
put-hub-key B sealed=y`)
	store := fsmtest.NewStore()
	for i, entry := range entries {
		if _, err := meta.Apply(store, uint64(i+1), entry); err != nil {
			t.Fatal(err)
		}
	}
	m := readMap(t, store)
	for slot, want := range map[fsm.SlotID]fsm.ShardID{0: 0, 99: 0, 100: 2, 150: 2, 199: 2, 200: 0, 299: 0, 300: 1, 399: 1, 400: 0, 4095: 0} {
		if s, found := m.ShardOfSlot(slot); s.ID != want || found != (want != 0) {
			t.Errorf("slot %d is in shard %d", slot, s.ID)
		}
	}
	if s, found := m.Shard(2); !found || s.First != 100 {
		t.Errorf("shard 2 is %+v", s)
	}
	if n, found := m.Node("n2"); !found || n.ClusterAddr != "h2:1" {
		t.Errorf("n2 is %+v", n)
	}
	for domain, want := range map[string]bool{"b.example": true, "chat.b.example": true, "c.example": false, "a.example": false} {
		provider, err := mimi.ParseProvider(domain)
		if err != nil {
			t.Fatal(err)
		}
		if p, found := m.Peer(provider); found != want || found && p.Domain.String() != "b.example" {
			t.Errorf("%s is spoken for by %v", domain, p.Domain)
		}
	}
	token, found := m.TokenByHash(sha256.Sum256([]byte("s")))
	if !found || !token.Allows(meta.ScopeInboxRead) || token.Allows(meta.ScopeAdmin) {
		t.Errorf("the token is %+v", token)
	}
	if _, found := m.TokenByHash(sha256.Sum256([]byte("another"))); found {
		t.Error("another secret is let in")
	}
	if k, found := m.HubKey(mls.Ed25519); !found || k.Public[0] != 'B' {
		t.Errorf("the hub signs with %+v", k)
	}
	if _, found := m.HubKey(mls.Ed448); found {
		t.Error("a key of a scheme that has none")
	}
	if settings, version := m.Settings(); version != m.Version() || len(settings.HubKeys) != 2 {
		t.Errorf("the settings are of version %d, the map of %d", version, m.Version())
	}
}

func TestEncodingsAreStrict(t *testing.T) {
	good := meta.EncodeCommand(meta.ActivateShard{ID: 7})
	var malformed *mls.MalformedError
	for name, b := range map[string][]byte{
		"nothing": nil, "cut short": good[:len(good)-1], "trailing bytes": append(bytes.Clone(good), 0), "another version": append([]byte{2}, good[1:]...),
	} {
		if _, err := meta.DecodeCommand(b); !errors.As(err, &malformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var unknown *meta.UnknownCommandError
	if _, err := meta.Apply(fsmtest.NewStore(), 42, []byte{1, 0x7f, 0xff, 1}); !errors.As(err, &unknown) || unknown.Kind != 0x7fff || unknown.Index != 42 {
		t.Errorf("an unknown command: %v", err)
	}
}

// FuzzCommand: what is read is written in one way (domains are read in any letter case, so not always as it came), and applying
// it neither panics nor leaves a state that cannot be read.
func FuzzCommand(f *testing.F) {
	for _, text := range []string{
		"init c1 domains=a.example", "add-node n1 h1:1", "update-node n1 h1:2", "place 1 first=0 last=9 on=n1", "activate 1",
		"put-peer b.example domains=b.example", "remove-peer b.example", "put-token t secret=s scopes=admin", "revoke-token t",
		"settings domains=a.example", "change-settings version=1 domains=a.example", "add-service-keys franking:1:A:x frank-mac:0:B:y at=7", "put-hub-key A sealed=x",
		"put-ca C sealed=x", "invite t secret=s for=n2 at=7", "uninvite t", "enrol n2 token=t secret=s key=k serial=B at=8",
		"record n1 serial=B at=9", "revoke n1 at=9", "put-gossip-key k sealed=x", "use-gossip-key k", "remove-gossip-key k",
		"reseal ca:x:y hub:A:x:y gossip:k:x:y",
	} {
		f.Add(meta.EncodeCommand(parseCommand(new(testing.T), text)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := meta.DecodeCommand(b)
		if err != nil {
			return
		}
		canonical := meta.EncodeCommand(c)
		again, err := meta.DecodeCommand(canonical)
		if err != nil || len(canonical) != len(b) || !bytes.Equal(meta.EncodeCommand(again), canonical) {
			t.Fatalf("%x is written as %x: %v", b, canonical, err)
		}
		_, entries := play(t, "init c1 domains=a.example\nadd-node n1 h1:1\nplace 1 first=0 last=9 on=n1")
		store := fsmtest.NewStore()
		for i, entry := range append(entries, b) {
			if _, err := meta.Apply(store, uint64(i+1), entry); err != nil {
				t.Fatal(err)
			}
		}
		if err := readMap(t, store).Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// failing is a store that fails at its nth write.
type failing struct {
	*fsmtest.Store
	left int
}

var errDisk = errors.New("the disk is gone")

func (f *failing) Set(key, value []byte) error {
	if f.left--; f.left < 0 {
		return errDisk
	}
	return f.Store.Set(key, value)
}

func TestStoreErrorsAreReturned(t *testing.T) {
	for writes := range 3 {
		store := &failing{fsmtest.NewStore(), writes}
		_, err := meta.Apply(store, 1, meta.EncodeCommand(parseCommand(t, "init c1 domains=a.example")))
		if !errors.Is(err, errDisk) {
			t.Errorf("after %d writes: %v", writes, err)
		}
	}
}
