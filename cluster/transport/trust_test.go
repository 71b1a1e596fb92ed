package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"parley/cluster/pki"
)

// blacklist bars certificates by their serial number.
type blacklist struct {
	mu     sync.Mutex
	barred [][]byte
}

var errBarred = errors.New("it was revoked")

func (b *blacklist) check(_ string, serial []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.ContainsFunc(b.barred, func(other []byte) bool { return string(other) == string(serial) }) {
		return errBarred
	}
	return nil
}

func (b *blacklist) add(serial []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.barred = append(b.barred, serial)
}

func (c *cluster) open() int {
	n := 0
	for _, p := range c.ports {
		p.trust.mu.Lock()
		n += len(p.trust.conns)
		p.trust.mu.Unlock()
	}
	return n
}

// A revoked node is cut off at once, in both directions and for both protocols, and does not come back; with another certificate it does.
func TestBarredNodeIsCutOff(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	list := &blacklist{}
	stolen := c.credentials("n1")
	p1 := c.portWith("n1", stolen, Options{})
	p2 := c.portWith("n2", c.credentials("n2"), Options{Barred: list.check})
	p2.Handle("echo", func(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil })
	p1.Handle("echo", func(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil })
	waiting := make(chan struct{})
	p2.Handle("wait", func(ctx context.Context, _ string, b []byte) ([]byte, error) {
		close(waiting)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	g1, g2 := c.group(p1, 5, 2, GroupOptions{}), c.group(p2, 5, 2, GroupOptions{})
	answerVotes(t, g2)
	if err := askVote(g1, "n2"); err != nil {
		t.Fatal(err)
	}
	if _, err := p2.Call(within(t), "n1", p1.Addr().String(), "echo", nil); err != nil {
		t.Fatal(err)
	}
	hung := make(chan error, 1)
	go func() {
		_, err := p1.Call(within(t), "n2", p2.Addr().String(), "wait", nil)
		hung <- err
	}()
	<-waiting

	list.add(stolen.Serial())
	p2.Review()
	select {
	case err := <-hung:
		if !errors.Is(err, ErrMaybeSent) {
			t.Errorf("the call that was under way: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the connection of a barred node stays open")
	}
	if err := askVote(g1, "n2"); err == nil {
		t.Error("a barred node's stream goes on")
	}
	if _, err := p1.Call(within(t), "n2", p2.Addr().String(), "echo", nil); err == nil {
		t.Error("a barred node is let in")
	}
	if _, err := p2.Call(within(t), "n1", p1.Addr().String(), "echo", nil); !errors.Is(err, errBarred) || !errors.Is(err, ErrNotSent) {
		t.Errorf("a barred node is called: %v", err)
	}

	if err := p1.SetCredentials(c.credentials("n1")); err != nil {
		t.Fatal(err)
	}
	for _, call := range []func() error{
		func() error { _, err := p1.Call(within(t), "n2", p2.Addr().String(), "echo", nil); return err },
		func() error { _, err := p2.Call(within(t), "n1", p1.Addr().String(), "echo", nil); return err },
		func() error { return askVote(g1, "n2") },
	} {
		eventually(t, "the node is in with another certificate", func() bool { return call() == nil })
	}
	if err := p1.SetCredentials(c.credentials("n3")); err == nil {
		t.Error("the port took another node's credentials")
	}
}

// Every connection that has ended is forgotten.
func TestClosedConnectionsAreForgotten(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	p1, p2 := c.port("n1"), c.port("n2")
	for range 3 {
		conn, err := p1.dial(within(t), "n2", p2.Addr().String(), protocolRaft)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		conn, err = p1.dial(within(t), "n2", p2.Addr().String(), protocolRPC)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if _, err := p1.dial(within(t), "n9", p2.Addr().String(), protocolRPC); err == nil {
			t.Fatal("another node answered")
		}
	}
	eventually(t, "nothing is remembered", func() bool { return c.open() == 0 })
}

func TestNewcomerIsHeard(t *testing.T) {
	noLeaks(t)
	c, other := newCluster(t, "c1"), newCluster(t, "c1")
	p := c.port("n1")
	tls := func() error {
		_, err := Enrol(within(t), p.Addr().String(), pki.NewcomerTLS("c1", c.ca.Fingerprint()), []byte("may I?"))
		return err
	}
	if err := tls(); err == nil {
		t.Error("a port that hears no newcomers answered one")
	}
	var heard sync.Map
	p.HandleNewcomers(func(_ context.Context, request []byte) []byte {
		heard.Store(string(request), true)
		return append([]byte("yes: "), request...)
	})
	answer, err := Enrol(within(t), p.Addr().String(), pki.NewcomerTLS("c1", c.ca.Fingerprint()), []byte("may I?"))
	if err != nil || string(answer) != "yes: may I?" {
		t.Fatalf("%q, %v", answer, err)
	}
	// The secret is in the request: it must not be said to a node of another CA, whatever that calls itself.
	_, err = Enrol(within(t), p.Addr().String(), pki.NewcomerTLS("c1", other.ca.Fingerprint()), []byte("secret"))
	if !errors.Is(err, ErrNoCluster) || !Refutes(err) {
		t.Errorf("another CA: %v", err)
	}
	if _, said := heard.Load("secret"); said {
		t.Error("the request was sent to a node of another CA")
	}
	// A port that talks something else is found out as well; one that hangs up may be tried again.
	for what, speak := range map[string]func(net.Conn){
		"another protocol": func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n") },
		"silence":          func(net.Conn) {},
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if conn, err := listener.Accept(); err == nil {
				speak(conn)
				_ = conn.Close()
			}
		}()
		_, err = Enrol(within(t), listener.Addr().String(), pki.NewcomerTLS("c1", c.ca.Fingerprint()), nil)
		if err == nil || Refutes(err) != (what == "another protocol") {
			t.Errorf("%s: %v", what, err)
		}
		<-done
		_ = listener.Close()
	}
}

// A stranger can hold neither memory nor places.
func TestNewcomersAreBounded(t *testing.T) {
	noLeaks(t)
	c := newCluster(t, "c1")
	p := c.portWith("n1", c.credentials("n1"), Options{HandshakeTimeout: patience})
	release, inside := make(chan struct{}), make(chan struct{}, enrolmentsMax)
	p.HandleNewcomers(func(ctx context.Context, _ []byte) []byte {
		inside <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return nil
	})
	ask := func(request []byte) error {
		_, err := Enrol(within(t), p.Addr().String(), pki.NewcomerTLS("c1", c.ca.Fingerprint()), request)
		return err
	}
	results := make(chan error, enrolmentsMax)
	for i := range enrolmentsMax {
		go func() { results <- ask(fmt.Append(nil, i)) }()
	}
	for range enrolmentsMax {
		<-inside
	}
	if ask(nil) == nil {
		t.Error("one more is heard")
	}
	close(release)
	for range enrolmentsMax {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if ask(make([]byte, enrolBytesMax+1)) == nil {
		t.Error("a request over the limit is taken")
	}
}
