package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"parley/cluster/pki"
)

// askVote sends one RPC from g to a node and returns the error. consume answers at the other end.
func askVote(g *GroupTransport, to string) error {
	req := &raft.RequestVoteRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3}, Term: 7}
	var resp raft.RequestVoteResponse
	return g.RequestVote(raft.ServerID(to), raft.ServerAddress(to), req, &resp)
}

// answerVotes grants every vote that reaches g until it is closed.
func answerVotes(t *testing.T, g *GroupTransport) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case rpc := <-g.Consumer():
				rpc.Respond(&raft.RequestVoteResponse{Term: 7, Granted: true}, nil)
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() { close(done); <-stopped })
}

func TestStreamsOfTheGroupAreLetIn(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	p1, p2 := c.port("n1"), c.port("n2")
	g1, g2 := c.group(p1, 5, 2, GroupOptions{}), c.group(p2, 5, 2, GroupOptions{})
	answerVotes(t, g2)
	if err := askVote(g1, "n2"); err != nil {
		t.Fatal(err)
	}
	if g1.LocalAddr() != "n1" || string(g1.EncodePeer("n2", "n2")) != "n2" {
		t.Errorf("addresses are %s and %s, not node IDs", g1.LocalAddr(), g1.EncodePeer("n2", "n2"))
	}
}

func TestStreamsOfOthersAreRefused(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	p1, p2 := c.port("n1"), c.port("n2")
	answerVotes(t, c.group(p2, 5, 2, GroupOptions{}))
	for name, test := range map[string]struct {
		group      uint32
		generation uint64
		to, logged string
	}{
		"a group that is not there": {6, 2, "n2", "group 6 is not here"},
		"an old generation":         {5, 1, "n2", "generation 2, not 1"},
		"a generation to come":      {5, 3, "n2", "generation 2, not 3"},
		"another node's address":    {5, 2, "n3", "node \\\"n2\\\", not \\\"n3\\\""},
	} {
		t.Run(name, func(t *testing.T) {
			c.mu.Lock()
			c.book["n3"] = p2.Addr().String()
			c.mu.Unlock()
			g := c.group(p1, test.group, test.generation, GroupOptions{})
			defer g.Close()
			err := askVote(g, test.to)
			if err == nil {
				t.Fatal("the vote was answered")
			}
			if test.to == "n2" {
				if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.logged) {
					t.Errorf("the error is %v", err)
				}
				eventually(t, "the refusal is logged", func() bool { return strings.Contains(c.logs.String(), test.logged) })
			} else if !errors.Is(err, pki.ErrWrongPeer) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// A peer that lies in its hello is held against its certificate and against this node.
func TestHelloIsCheckedAgainstTheCertificate(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	p1, p2 := c.port("n1"), c.port("n2")
	c.group(p2, 5, 2, GroupOptions{})
	for want, h := range map[string]hello{
		"":                          {"c1", 5, 2, "n1", "n2"},
		"cluster \"c2\"":            {"c2", 5, 2, "n1", "n2"},
		"the certificate is \"n1\"": {"c1", 5, 2, "n3", "n2"},
		"this is \"n2\"":            {"c1", 5, 2, "n1", "n3"},
	} {
		conn, err := p1.dial(within(t), "n2", p2.Addr().String(), protocolRaft)
		if err != nil {
			t.Fatal(err)
		}
		err = introduce(conn, h, patience)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%+v: %v", h, err)
		}
		_ = conn.Close()
	}
}

func TestStrangersAreRefused(t *testing.T) {
	noLeaks(t)
	home, away := newCluster(t, "c1"), newCluster(t, "c2")
	port := home.port("n1")
	port.Handle("echo", func(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil })
	addr := port.Addr().String()
	t.Run("another cluster calls", func(t *testing.T) {
		if _, err := away.port("n2").Call(within(t), "n1", addr, "echo", nil); !errors.Is(err, ErrNotSent) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("another node answers", func(t *testing.T) {
		if _, err := home.port("n2").Call(within(t), "n3", addr, "echo", nil); !errors.Is(err, ErrNotSent) || !errors.Is(err, pki.ErrWrongPeer) {
			t.Errorf("the error is %v", err)
		}
	})
	for name, config := range map[string]*tls.Config{
		"no certificate":          {InsecureSkipVerify: true, NextProtos: []string{protocolRPC}},
		"another cluster's":       withALPN(pki.ClientTLS(away.credentials("n1"), "n1"), protocolRPC),
		"no protocol":             pki.ClientTLS(home.credentials("n2"), "n1"),
		"a protocol of the web":   withALPN(pki.ClientTLS(home.credentials("n2"), "n1"), "h2"),
		"TLS 1.2":                 below13(pki.ClientTLS(home.credentials("n2"), "n1")),
		"control: all as it must": withALPN(pki.ClientTLS(home.credentials("n2"), "n1"), protocolRPC),
	} {
		t.Run(name, func(t *testing.T) {
			config.VerifyConnection = nil // the stranger takes whoever answers
			config.InsecureSkipVerify = true
			open := staysOpen(t, addr, config)
			if want := strings.HasPrefix(name, "control"); open != want {
				t.Errorf("the connection stays open: %v", open)
			}
		})
	}
}

func withALPN(c *tls.Config, protocol string) *tls.Config {
	c.NextProtos = []string{protocol}
	return c
}

func below13(c *tls.Config) *tls.Config {
	c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	return c
}

// staysOpen connects and reports whether the port goes on with the connection: it then sends HTTP/2 settings.
func staysOpen(t *testing.T, addr string, config *tls.Config) bool {
	t.Helper()
	raw, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(raw, config)
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Handshake(); err != nil {
		return false
	}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return false
	}
	_, err = io.ReadFull(conn, make([]byte, 9))
	return err == nil
}

func TestHandshakesAreBounded(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	port := c.portWith("n1", c.credentials("n1"), Options{HandshakesMax: 2, HandshakeTimeout: patience})
	var silent []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", port.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	defer func() {
		for _, conn := range silent {
			_ = conn.Close()
		}
	}()
	eventually(t, "both are in their handshake", func() bool { return len(port.handshakes) == 2 })
	third, err := net.Dial("tcp", port.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if err := third.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the third connection: %v", err)
	}
}

func TestStreamsPerPeerAreBounded(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	p1, p2 := c.port("n1"), c.port("n2")
	g1, g2 := c.group(p1, 5, 2, GroupOptions{}), c.group(p2, 5, 2, GroupOptions{})
	for range streamsPerPeerMax {
		conn, err := g1.stream.Dial("n2", patience)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if _, err := g1.stream.Dial("n2", patience); err == nil {
		t.Error("one more stream is dialled")
	}
	// The other end keeps its own count: it refuses also a peer that does not.
	conn, err := p1.dial(within(t), "n2", p2.Addr().String(), protocolRaft)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := introduce(conn, hello{"c1", 5, 2, "n1", "n2"}, patience); !errors.Is(err, ErrRefused) {
		t.Errorf("one more stream is let in: %v", err)
	}
	if err := g2.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRPCConnectionsPerPeerAreBounded(t *testing.T) {
	_, from, to := pair(t)
	addr := to.Addr().String()
	var conns []*tls.Conn
	count := func() int {
		to.rpc.mu.Lock()
		defer to.rpc.mu.Unlock()
		return to.rpc.open["n1"]
	}
	for range rpcConnsPerPeerMax {
		conn, err := from.dial(within(t), "n2", addr, protocolRPC)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	eventually(t, "all are let in", func() bool { return count() == rpcConnsPerPeerMax })
	config := withALPN(pki.ClientTLS(from.credentials(), "n2"), protocolRPC)
	if staysOpen(t, addr, config) {
		t.Error("one more connection is let in")
	}
	if err := conns[0].Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its place is free again", func() bool { return count() == rpcConnsPerPeerMax-1 })
	if !staysOpen(t, addr, config) {
		t.Error("a connection is refused though there is a place")
	}
}

// FuzzHandshake: what a node reads before a stream belongs to a group is written back byte for byte.
func FuzzHandshake(f *testing.F) {
	f.Add(hello{"c1", 5, 2, "n1", "n2"}.encode())
	f.Add(verdict{false, "group 6 is not here"}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := decodeHello(b); err == nil && !bytes.Equal(h.encode(), b) {
			t.Errorf("the hello %x is written as %x", b, h.encode())
		}
		if v, err := decodeVerdict(b); err == nil && !bytes.Equal(v.encode(), b) {
			t.Errorf("the verdict %x is written as %x", b, v.encode())
		}
	})
}
