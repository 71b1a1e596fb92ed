package gossip

import (
	"bytes"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// patience is how long a condition may take on a busy machine.
const patience = time.Minute

func key(b byte) []byte { return bytes.Repeat([]byte{b}, KeyBytes) }

func start(t *testing.T, c Config) *Gossip {
	t.Helper()
	c.Bind, c.Quick, c.Logger = "127.0.0.1:0", true, slog.New(slog.DiscardHandler)
	g, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func node(id string) Config {
	return Config{NodeID: id, ClusterID: "c1", ClusterAddr: id + ".example:7000", Keys: [][]byte{key(1), key(2)}}
}

// await waits for changes until the condition holds.
func await(t *testing.T, g *Gossip, what string, holds func() bool) {
	t.Helper()
	limit := time.After(patience)
	for !holds() {
		select {
		case <-g.Changed():
		case <-limit:
			t.Fatalf("%s: not so; members are %v", what, g.Members())
		}
	}
}

// join lets a node find another; on a busy machine the other one may not answer in time.
func join(t *testing.T, g, other *Gossip) {
	t.Helper()
	limit := time.Now().Add(patience)
	for {
		n, err := g.Join([]string{other.Addr()})
		if n == 1 && err == nil {
			return
		}
		if time.Now().After(limit) {
			t.Fatal(n, err)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// noLeaks fails the test if memberlist's goroutines are there after the test's other clean-ups. Call it first.
func noLeaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		buf := make([]byte, 1<<20)
		for limit := time.Now().Add(patience); ; <-time.After(5 * time.Millisecond) {
			stacks := string(buf[:runtime.Stack(buf, true)])
			if !strings.Contains(stacks, "hashicorp/memberlist.") {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("goroutines are left:\n%s", stacks)
			}
		}
	})
}

func TestMembersFindEachOther(t *testing.T) {
	noLeaks(t)
	n1, n2 := start(t, node("n1")), start(t, node("n2"))
	late := node("n3")
	late.Keys = [][]byte{key(2), key(1)} // in the middle of a change of keys: it sends with the new one
	for _, g := range []*Gossip{n1, n2} {
		if len(g.Members()) != 1 {
			t.Fatalf("a node that has joined nobody has members %v", g.Members())
		}
	}
	join(t, n2, n1)
	n3 := start(t, late)
	join(t, n3, n2)
	for _, g := range []*Gossip{n1, n2, n3} {
		await(t, g, "all are members", func() bool { return len(g.Members()) == 3 })
	}
	await(t, n1, "n2 is at its address", func() bool {
		addr, found := n1.Lookup("n2")
		return found && addr == "n2.example:7000"
	})
	if _, found := n1.Lookup("n9"); found {
		t.Error("a node that never was is found")
	}
	if err := n2.Leave(patience); err != nil {
		t.Fatal(err)
	}
	await(t, n1, "n2 has left", func() bool { _, found := n1.Lookup("n2"); return !found })
}

func TestOtherClustersAreRefused(t *testing.T) {
	home := start(t, node("n1"))
	for name, change := range map[string]func(*Config){
		"another cluster with the same key":    func(c *Config) { c.ClusterID = "c2" },
		"the same cluster with another key":    func(c *Config) { c.Keys = [][]byte{key(9)} },
		"another cluster with no common key":   func(c *Config) { c.ClusterID, c.Keys = "c2", [][]byte{key(9)} },
		"a cluster whose name begins the same": func(c *Config) { c.ClusterID = "c11" },
	} {
		t.Run(name, func(t *testing.T) {
			c := node("n2")
			change(&c)
			stranger := start(t, c)
			if n, err := stranger.Join([]string{home.Addr()}); err == nil {
				t.Errorf("it joined %d nodes", n)
			}
			if members := home.Members(); len(members) != 1 {
				t.Errorf("the home cluster has members %v", members)
			}
		})
	}
}

// The label keeps other clusters away before this check is asked; it is there in case a label is ever shared.
func TestDelegateRefuses(t *testing.T) {
	g := &Gossip{self: identity{"c1", "n1", "a:1"}}
	for name, c := range map[string]struct {
		id      identity
		name    string
		refused bool
	}{
		"a member":           {identity{"c1", "n2", "b:1"}, "n2", false},
		"another cluster":    {identity{"c2", "n2", "b:1"}, "n2", true},
		"under another name": {identity{"c1", "n3", "b:1"}, "n2", true},
	} {
		err := delegate{g}.NotifyMerge(nodes(c.name, c.id.encode()))
		if (err != nil) != c.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (delegate{g}).NotifyMerge(nodes("n2", []byte{1, 2})); err == nil {
		t.Error("malformed metadata is taken")
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"missing":      func(c *Config) { c.NodeID = "" },
		"no key":       func(c *Config) { c.Keys = nil },
		"16 bytes":     func(c *Config) { c.Keys = [][]byte{make([]byte, 16)} },
		"IP address":   func(c *Config) { c.Bind = "localhost:0" },
		"not a number": func(c *Config) { c.Bind = "127.0.0.1:http" },
		"description":  func(c *Config) { c.ClusterAddr = strings.Repeat("a", 600) },
	} {
		c := node("n1")
		c.Bind = "127.0.0.1:0"
		change(&c)
		if g, err := Start(c); err == nil {
			t.Errorf("%s: started", want)
			_ = g.Close()
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func nodes(name string, meta []byte) []*memberlist.Node {
	return []*memberlist.Node{{Name: name, Meta: meta}}
}
