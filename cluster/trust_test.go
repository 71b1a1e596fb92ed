package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"parley/cluster/pki"
	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/fsm/meta"
)

// founded is a cluster that made its own CA, with its first node.
func founded(t *testing.T) *testCluster {
	t.Helper()
	c := newTestCluster(t, func(config *Config) {
		config.CredentialsDir = filepath.Join(config.DataDir, "admission")
	})
	admission, err := Found(filepath.Join(c.folder("n1"), "admission"), "n1", "", [32]byte{2})
	if err != nil {
		t.Fatal(err)
	}
	n := c.admit("n1", admission)
	if err := n.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	return c
}

// folder is a data directory that a node is to have.
func (c *testCluster) folder(id string) string {
	if c.folders == nil {
		c.folders = make(map[string]string)
	}
	if c.folders[id] == "" {
		c.folders[id] = c.t.TempDir()
	}
	return c.folders[id]
}

// admit opens a node with what it was admitted with.
func (c *testCluster) admit(id string, admission Admission) *Node {
	c.t.Helper()
	config := c.config(id, admission.Credentials)
	config.GossipKey = admission.GossipKey
	c.configs[id] = config
	return c.start(id)
}

// invite lets a node in by a token.
func (c *testCluster) invite(id string) *Node {
	c.t.Helper()
	token, err := c.nodes["n1"].Invite(c.context(), id, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	n := c.admit(id, c.enrol(token, id))
	c.join(n, token.Seeds[0])
	return n
}

func (c *testCluster) enrol(token JoinToken, id string) Admission {
	c.t.Helper()
	admission, err := Enrol(c.context(), c.folder(id), filepath.Join(c.folder(id), "admission"), token, id)
	if err != nil {
		c.t.Fatal(err)
	}
	return admission
}

func TestJoinTokenText(t *testing.T) {
	token := JoinToken{ClusterID: "c1", Fingerprint: [32]byte{1}, ID: "t1", Secret: [32]byte{2}, Node: "n2", Seeds: []string{"10.0.0.1:7400"}}
	read, err := ParseJoinToken(" " + token.String() + "\n")
	if err != nil || read.String() != token.String() || read.Seeds[0] != "10.0.0.1:7400" || read.Fingerprint != token.Fingerprint {
		t.Fatalf("%+v, %v", read, err)
	}
	text := token.String()
	for _, spoiled := range []string{"", "x", text[:len(text)-1], text[1:], strings.Replace(text, "AQ", "AR", 1), joinTokenPrefix} {
		if _, err := ParseJoinToken(spoiled); !errors.Is(err, ErrJoinToken) {
			t.Errorf("%q: %v", spoiled, err)
		}
	}
}

// The whole way in: a cluster that makes its own CA, a node that has nothing but a token.
func TestNodeComesInByToken(t *testing.T) {
	t.Parallel()
	c := founded(t)
	n1 := c.nodes["n1"]
	if _, err := os.Stat(filepath.Join(c.configs["n1"].CredentialsDir, foundedCAFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the CA's key is still on disk: %v", err)
	}
	token, err := n1.Invite(c.context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	first := c.enrol(token, "n2")
	if first.GossipKey != c.configs["n1"].GossipKey || first.Credentials.NodeID() != "n2" {
		t.Errorf("the admission is of node %s", first.Credentials.NodeID())
	}
	dir := filepath.Join(c.folder("n2"), "admission")
	n2 := c.admit("n2", first)
	c.join(n2, token.Seeds[0])
	// Again, as after a crash behind the last step.
	again, err := Enrol(c.context(), c.folder("n2"), dir, token, "n2")
	if err != nil || string(again.Credentials.Serial()) != string(first.Credentials.Serial()) {
		t.Errorf("the second time: %v", err)
	}
	eventually(t, "the token is forgotten", func() bool { return len(n1.Map().JoinTokens()) == 0 })
	eventually(t, "both certificates are on record", func() bool { return len(n1.Map().Certificates()) == 2 })
	refusedToEnrol(t, c, token, "n3", "not known")
}

func refusedToEnrol(t *testing.T, c *testCluster, token JoinToken, id, reason string) {
	t.Helper()
	_, err := Enrol(c.context(), t.TempDir(), filepath.Join(t.TempDir(), "admission"), token, id)
	var refused *RefusedError
	if !errors.As(err, &refused) || !strings.Contains(refused.Reason, reason) {
		t.Errorf("%s: %v, want a refusal with %q", id, err, reason)
	}
}

// A token is good once: a crash may repeat it with the same key, a thief has another one.
func TestTokenIsUsedOnce(t *testing.T) {
	t.Parallel()
	c := founded(t)
	n1 := c.nodes["n1"]
	token, err := n1.Invite(c.context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	dataDir, dir := t.TempDir(), filepath.Join(t.TempDir(), "admission")
	if _, err := pki.LoadNodeKey(dir); err != nil {
		t.Fatal(err)
	}
	pending, err := os.ReadFile(filepath.Join(dir, "pending.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Enrol(c.context(), dataDir, dir, token, "n2"); err != nil {
		t.Fatal(err)
	}
	// The answer is lost: all that is left is the key.
	if err := errors.Join(os.RemoveAll(dir), pki.WriteSecret(filepath.Join(dir, "pending.key"), pending)); err != nil {
		t.Fatal(err)
	}
	if _, err := Enrol(c.context(), dataDir, dir, token, "n2"); err != nil {
		t.Errorf("the same node with the same key: %v", err)
	}
	refusedToEnrol(t, c, token, "n2", "has been used")
	refusedToEnrol(t, c, token, "n3", "has been used")
	forged := token
	forged.Secret[0] ^= 1
	refusedToEnrol(t, c, forged, "n2", "not known")
	brief, err := n1.Invite(c.context(), "n4", time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	start := n1.Map().Clock()
	eventually(t, "a later stamp", func() bool {
		_, err := n1.Invite(c.context(), "n9", time.Hour)
		return err == nil && n1.Map().Clock() > start+1
	})
	refusedToEnrol(t, c, brief, "n4", "ended")
	named, err := n1.Invite(c.context(), "n5", 0)
	if err != nil {
		t.Fatal(err)
	}
	refusedToEnrol(t, c, named, "n6", "for the node \"n5\"")
	wrongCA := named
	wrongCA.Fingerprint[0] ^= 1
	refusedToEnrol(t, c, wrongCA, "n5", "fingerprint")
}

func TestExternalCAInvitesNobody(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, nil)
	n := c.add("n1")
	if _, err := n.Invite(c.context(), "n2", 0); !errors.Is(err, ErrNotInitialised) {
		t.Errorf("before init: %v", err)
	}
	if err := n.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if _, err := n.Invite(c.context(), "n2", 0); !errors.As(err, &refused) {
		t.Errorf("without the CA's key: %v", err)
	}
	other, err := pki.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.AdoptCA(c.context(), other); !errors.As(err, &refused) {
		t.Errorf("another CA: %v", err)
	}
	if err := n.AdoptCA(c.context(), c.ca); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Invite(c.context(), "n2", 0); err != nil {
		t.Error(err)
	}
}

// reaches reports whether one node can call another.
func (c *testCluster) reaches(from, to string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := c.nodes[from].statusOf(ctx, to)
	return err == nil
}

func TestRevokedNodeIsShutOut(t *testing.T) {
	t.Parallel()
	c := founded(t)
	c.invite("n2")
	c.invite("n3")
	for _, to := range []string{"n1", "n2"} {
		eventually(t, "n3 reaches "+to, func() bool { return c.reaches("n3", to) && c.reaches(to, "n3") })
	}
	eventually(t, "certificates are on record", func() bool { return len(c.nodes["n1"].Map().Certificates()) == 3 })
	c.awaitVoters() // n3 is not needed to change the map
	if err := c.nodes["n2"].RevokeCertificates(c.context(), "n3"); err != nil {
		t.Fatal(err)
	}
	for _, other := range []string{"n1", "n2"} {
		eventually(t, other+" is cut off from n3", func() bool { return !c.reaches("n3", other) && !c.reaches(other, "n3") })
	}
	eventually(t, "the others reach each other", func() bool { return c.reaches("n1", "n2") && c.reaches("n2", "n1") })
	// Invited by its name, it comes back with another certificate and the directory that it has.
	token, err := c.nodes["n1"].Invite(c.context(), "n3", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.stop("n3")
	if err := os.RemoveAll(c.configs["n3"].CredentialsDir); err != nil {
		t.Fatal(err)
	}
	n3 := c.admit("n3", c.enrol(token, "n3"))
	c.join(n3, token.Seeds[0])
	eventually(t, "n3 is back", func() bool { return c.reaches("n3", "n1") && c.reaches("n2", "n3") })
}

func TestRemovedNodeIsShutOut(t *testing.T) {
	t.Parallel()
	c := founded(t)
	c.invite("n2")
	eventually(t, "n2 reaches n1", func() bool { return c.reaches("n2", "n1") })
	member, _ := c.nodes["n1"].Map().Node("n2")
	eventually(t, "two voters, then one", func() bool {
		member.State = meta.NodeRemoved
		return c.nodes["n1"].Change(c.context(), meta.UpdateNode{Node: member}) == nil
	})
	eventually(t, "n2 is cut off", func() bool { return !c.reaches("n2", "n1") && !c.reaches("n1", "n2") })
}

// From the middle of a certificate's life on its node has another one. The nodes' clocks go ahead together; the certificate ends by the true time.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	c := newTestCluster(t, func(config *Config) {
		config.CredentialsDir = filepath.Join(config.DataDir, "admission")
		config.Clock.Wall = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	n := c.add("n1")
	first := n.currentCredentials()
	if err := n.Init(c.context(), InitOptions{Settings: fsm.DefaultSettings(provider(t, "a.example")), Shards: 1, Replication: 1}); err != nil {
		t.Fatal(err)
	}
	if err := n.AdoptCA(c.context(), c.ca); err != nil {
		t.Fatal(err)
	}
	c.join(c.add("n2"), n.ClusterAddr())
	recorded := func(creds pki.Credentials) bool { _, is := n.Map().Certificate(creds.Serial()); return is }
	eventually(t, "the certificate is on record", func() bool { return recorded(first) })
	if is := n.currentCredentials(); string(is.Serial()) != string(first.Serial()) {
		t.Errorf("it was renewed at its beginning")
	}
	ahead.Store(int64(31 * time.Minute)) // of an hour
	eventually(t, "the certificate is renewed", func() bool { return n.currentCredentials().NotAfter().After(first.NotAfter()) })
	var kept pki.Credentials
	eventually(t, "the new one is kept", func() bool {
		var err error
		kept, err = pki.LoadCredentials(c.configs["n1"].CredentialsDir)
		return err == nil && string(kept.Serial()) == string(n.currentCredentials().Serial())
	})
	eventually(t, "the new one is on record", func() bool { return recorded(kept) })
	// Connections from now on are made with it.
	n.port.Review()
	eventually(t, "n2 and n1 reach each other", func() bool { return c.reaches("n1", "n2") && c.reaches("n2", "n1") })
}

// A node that cannot open the CA itself is given its certificate by one that can.
func TestCertificateIsRenewedByAnother(t *testing.T) {
	t.Parallel()
	c := founded(t)
	n2 := c.invite("n2")
	eventually(t, "n2 has the CA", func() bool { _, has := n2.Map().CA(); return has })
	request, err := func() ([]byte, error) {
		key, err := pki.NewNodeKey()
		if err != nil {
			return nil, err
		}
		return key.Request("n1")
	}()
	if err != nil {
		t.Fatal(err)
	}
	c.stop("n2")
	config := c.configs["n2"]
	config.SealKey = [32]byte{77}
	c.configs["n2"] = config
	n2 = c.start("n2")
	eventually(t, "n2 reaches n1", func() bool { return c.reaches("n2", "n1") })
	old := n2.currentCredentials()
	if _, err := n2.certify(c.context(), "n2", request); !errors.Is(err, errSealed) || !strings.Contains(err.Error(), sealKeyIDs(n2.sealKeys())[0]) {
		t.Errorf("with another seal key: %v", err)
	}
	if err := n2.renew(c.context(), old); err != nil {
		t.Fatal(err)
	}
	if fresh := n2.currentCredentials(); fresh.NodeID() != "n2" || string(fresh.Serial()) == string(old.Serial()) {
		t.Error("it is the old certificate")
	}
}

func TestGossipKeysAreRotated(t *testing.T) {
	t.Parallel()
	longUnderRace(t)
	c := founded(t)
	c.invite("n2")
	c.invite("n3")
	whole := func() bool {
		for _, n := range c.nodes {
			if len(n.gossip.Members()) != 3 {
				return false
			}
		}
		return true
	}
	eventually(t, "gossip is whole", whole)
	c.awaitVoters() // n3 is not needed to change the map
	before := c.nodes["n1"].gossipKeyIDs()
	c.stop("n3")
	if err := c.nodes["n2"].RotateGossipKey(c.context(), ""); err != nil {
		t.Fatal(err)
	}
	var refused *RefusedError
	if err := c.nodes["n1"].RotateGossipKey(c.context(), ""); !errors.As(err, &refused) {
		t.Errorf("a second change at a time: %v", err)
	}
	eventually(t, "n1 and n2 hear the new key", func() bool {
		return len(c.nodes["n1"].gossipKeyIDs()) == 2 && len(c.nodes["n2"].gossipKeyIDs()) == 2
	})
	ring, err := c.nodes["n1"].Keyring(c.context())
	if err != nil || !strings.Contains(ring.Waits, "n3") || c.nodes["n1"].gossipKeyIDs()[0] != before[0] {
		t.Fatalf("the change did not wait for n3: %+v, %v", ring, err)
	}
	// n3 comes back with the old key alone, is heard, and the change goes on.
	c.start("n3")
	for id, n := range c.nodes {
		eventually(t, id+" goes by the new key alone", func() bool {
			ids := n.gossipKeyIDs()
			return len(ids) == 1 && ids[0] != before[0]
		})
	}
	eventually(t, "gossip is whole", whole)
	// A restart begins with the key of the first day; the map has the present one.
	c.stop("n2")
	c.start("n2")
	eventually(t, "gossip is whole again", whole)
	if ids := c.nodes["n2"].gossipKeyIDs(); slices.Contains(ids, before[0]) {
		t.Errorf("the old key is back: %v", ids)
	}
	// Whoever comes now is given the present key.
	c.invite("n4")
	eventually(t, "n4 is heard", func() bool { return len(c.nodes["n1"].gossip.Members()) == 4 })
}

func TestNextKeyringStep(t *testing.T) {
	for name, test := range map[string]struct {
		primary int // 0 the old, 1 the new
		nodes   map[string][]string
		want    meta.Command
		waits   string
	}{
		"nobody answers":         {0, nil, nil, "n1 does not answer"},
		"one lacks it":           {0, map[string][]string{"n1": {"old", "new"}, "n2": {"old"}}, nil, "n2 does not have"},
		"all have it":            {0, map[string][]string{"n1": {"old", "new"}, "n2": {"old", "new"}}, meta.UseGossipKey{ID: "new"}, ""},
		"one uses the old":       {1, map[string][]string{"n1": {"new", "old"}, "n2": {"old", "new"}}, nil, "n2 does not use"},
		"one that uses is quiet": {1, map[string][]string{"n1": {"new", "old"}}, nil, "n2 does not answer"},
		"all use it":             {1, map[string][]string{"n1": {"new", "old"}, "n2": {"new", "old"}}, meta.RemoveGossipKey{ID: "old"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			current := mapWith(t, test.primary == 1)
			step, err := nextKeyringStep(current, test.nodes)
			if step != test.want || (err != nil) != (test.waits != "") || err != nil && !strings.Contains(err.Error(), test.waits) {
				t.Errorf("%v, %v", step, err)
			}
		})
	}
}

// mapWith is a map with two nodes and two gossip keys.
func mapWith(t *testing.T, fresh bool) *meta.Map {
	t.Helper()
	commands := []meta.Command{
		meta.InitCluster{ClusterID: "c1", Settings: fsm.DefaultSettings(provider(t, "a.example")), ReplicationFactor: 1, Shards: 1},
		meta.AddNode{Node: meta.Node{ID: "n1", Incarnation: "1", ClusterAddr: "h1:1", State: meta.NodeActive}},
		meta.AddNode{Node: meta.Node{ID: "n2", Incarnation: "2", ClusterAddr: "h2:1", State: meta.NodeActive}},
		meta.PutGossipKey{Key: meta.GossipKey{ID: "old", Sealed: []byte("x")}},
		meta.PutGossipKey{Key: meta.GossipKey{ID: "new", Sealed: []byte("x")}},
	}
	if fresh {
		commands = append(commands, meta.UseGossipKey{ID: "new"})
	}
	store := fsmtest.NewStore()
	for i, command := range commands {
		if outcome, err := meta.Apply(store, uint64(i+1), meta.EncodeCommand(command)); err != nil {
			t.Fatal(err)
		} else if refused, yes := outcome.(meta.Refused); yes {
			t.Fatal(refused.Reason)
		}
	}
	current, err := meta.ReadMap(store)
	if err != nil {
		t.Fatal(err)
	}
	return current
}
