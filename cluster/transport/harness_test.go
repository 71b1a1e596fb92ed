package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"parley/cluster/pki"
)

// patience is how long a condition may take on a busy machine. No test takes it when all is well.
const patience = time.Minute

// cluster is some ports with one CA, and a book of their addresses.
type cluster struct {
	t    *testing.T
	ca   pki.CA
	mu   sync.Mutex
	book map[raft.ServerID]string
	logs *lockedBuffer

	ports []*Port
}

func newCluster(t *testing.T, id string) *cluster {
	t.Helper()
	ca, err := pki.NewCA(id)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, ca: ca, book: make(map[raft.ServerID]string), logs: new(lockedBuffer)}
}

// ServerAddr implements raft.ServerAddressProvider.
func (c *cluster) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	addr, found := c.book[id]
	if !found {
		return "", fmt.Errorf("no address of %s", id)
	}
	return raft.ServerAddress(addr), nil
}

func (c *cluster) credentials(node string) pki.Credentials {
	c.t.Helper()
	creds, err := pki.IssueNode(c.ca, node, []string{"127.0.0.1"}, time.Hour)
	if err != nil {
		c.t.Fatal(err)
	}
	return creds
}

// port opens the port of a node and notes its address.
func (c *cluster) port(node string) *Port {
	c.t.Helper()
	return c.portWith(node, c.credentials(node), Options{})
}

func (c *cluster) portWith(node string, creds pki.Credentials, opts Options) *Port {
	c.t.Helper()
	opts.Logger = slog.New(slog.NewTextHandler(c.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	p, err := Listen("127.0.0.1:0", creds, opts)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.book[raft.ServerID(node)] = p.Addr().String()
	c.ports = append(c.ports, p)
	c.mu.Unlock()
	c.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			c.t.Error(err)
		}
	})
	return p
}

func (c *cluster) group(p *Port, id uint32, generation uint64, opts GroupOptions) *GroupTransport {
	c.t.Helper()
	g, err := p.Group(id, generation, c, opts)
	if err != nil {
		c.t.Fatal(err)
	}
	return g
}

// lockedBuffer is a log that can be read while it is being written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// eventually polls what has no event of its own.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	limit := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(limit) {
			t.Fatalf("%s: still not so", what)
		}
		runtime.Gosched()
		<-time.After(2 * time.Millisecond)
	}
}

// noLeaks fails the test if goroutines of this package, raft or net/http are there after its other clean-ups. Call it first.
func noLeaks(t *testing.T) {
	t.Helper()
	ours := func() (n int, stacks string) {
		buf := make([]byte, 4<<20)
		buf = buf[:runtime.Stack(buf, true)]
		for _, g := range strings.Split(string(buf), "\n\n") {
			for _, name := range []string{"parley/cluster/transport.(", "hashicorp/raft.", "net/http."} {
				if strings.Contains(g, name) && !strings.Contains(g, "testing.tRunner") {
					n++
					stacks += g + "\n\n"
					break
				}
			}
		}
		return n, stacks
	}
	t.Cleanup(func() {
		var left string
		for limit := time.Now().Add(patience); time.Now().Before(limit); <-time.After(5 * time.Millisecond) {
			n, stacks := ours()
			if n == 0 {
				return
			}
			left = stacks
		}
		t.Errorf("goroutines are left:\n%s", left)
	})
}

// relay passes bytes between a client and a node until it is cut.
type relay struct {
	listener net.Listener
	target   string
	mu       sync.Mutex
	conns    []net.Conn
	wait     sync.WaitGroup
}

func newRelay(t *testing.T, target string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, target: target}
	r.wait.Go(r.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		r.cut()
		r.wait.Wait()
	})
	return r
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) accept() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, in, out)
		r.mu.Unlock()
		r.wait.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
		r.wait.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	}
}

// cut breaks the connections that are open; new ones still pass.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.conns = nil
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
