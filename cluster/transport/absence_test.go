package transport

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// pipes is a network inside a bubble. Nobody can be dialled while it is down.
type pipes struct {
	up    atomic.Bool
	conns map[string]chan net.Conn // by address
}

func (p *pipes) Dial(_ context.Context, addr string) (net.Conn, error) {
	if !p.up.Load() {
		return nil, syscall.ECONNREFUSED
	}
	here, there := net.Pipe()
	p.conns[addr] <- there
	return here, nil
}

func (p *pipes) Listen(_ context.Context, addr string) (net.Listener, error) {
	p.conns[addr] = make(chan net.Conn, 1)
	return &pipeListener{conns: p.conns[addr], closed: make(chan struct{})}, nil
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return nodeAddr("pipe") }

// absentee is a leader's side of a group whose only other node cannot be reached yet.
type absentee struct {
	*GroupTransport
	leads   atomic.Bool
	network *pipes
}

// absent plays a scene in which a call to n2 has failed already.
func absent(t *testing.T, play func(t *testing.T, a *absentee)) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, "c1")
		a := &absentee{network: &pipes{conns: make(map[string]chan net.Conn)}}
		a.leads.Store(true)
		open := func(node string, opts GroupOptions) *GroupTransport {
			p, err := Listen(node, c.credentials(node), Options{Network: a.network})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			})
			c.book[raft.ServerID(node)] = node
			return c.group(p, 1, 1, opts)
		}
		other := open("n2", GroupOptions{})
		go func() {
			for {
				select {
				case rpc := <-other.Consumer():
					rpc.Respond(&raft.AppendEntriesResponse{Term: 7, Success: true}, nil)
				case <-other.life.Done():
					return
				}
			}
		}()
		a.GroupTransport = open("n1", GroupOptions{Leads: func(term uint64, peer string) bool {
			return a.leads.Load() && term == 7 && peer == "n2"
		}})
		if err := a.append(); err == nil {
			t.Fatal("an entry reached a peer that is not there")
		}
		if a.Away("n2") {
			t.Error("one failure is no absence")
		}
		play(t, a)
	})
}

func (a *absentee) append() error {
	request := &raft.AppendEntriesRequest{Term: 7, Entries: []*raft.Log{{Index: 9, Term: 7}}}
	return a.AppendEntries("n2", "n2", request, new(raft.AppendEntriesResponse))
}

func (a *absentee) heartbeat() error {
	return a.AppendEntries("n2", "n2", &raft.AppendEntriesRequest{Term: 7}, new(raft.AppendEntriesResponse))
}

func (a *absentee) install() error {
	request := &raft.InstallSnapshotRequest{Term: 7, Size: 1}
	return a.InstallSnapshot("n2", "n2", request, new(raft.InstallSnapshotResponse), bytes.NewReader([]byte{0}))
}

// held starts a call and makes sure that it has not returned after a quarter of an hour.
func (a *absentee) held(t *testing.T, call func() error) <-chan error {
	t.Helper()
	outcome := make(chan error, 1)
	go func() { outcome <- call() }()
	time.Sleep(15 * time.Minute)
	select {
	case err := <-outcome:
		t.Fatalf("%v came at once", err)
	default:
	}
	if !a.Away("n2") {
		t.Error("nobody is away")
	}
	return outcome
}

// ends makes sure that a call which was held back fails within the time given.
func (a *absentee) ends(t *testing.T, outcome <-chan error, within time.Duration) {
	t.Helper()
	select {
	case err := <-outcome:
		if err == nil {
			t.Error("a failure became a success")
		}
	case <-time.After(within + time.Millisecond):
		t.Fatalf("a failure is held back for longer than %v", within)
	}
	if a.Away("n2") {
		t.Error("the peer is away for ever")
	}
}

func TestFailuresAreHeldBackWhileThePeerIsAway(t *testing.T) {
	for name, call := range map[string]func(a *absentee) error{"entries": (*absentee).append, "snapshot": (*absentee).install} {
		t.Run(name, func(t *testing.T) {
			absent(t, func(t *testing.T, a *absentee) {
				outcome := a.held(t, func() error { return call(a) })
				if err := a.heartbeat(); err == nil {
					t.Fatal("a heartbeat reached a peer that is not there")
				}
				select {
				case <-outcome:
					t.Fatal("a heartbeat that failed ended the absence")
				case <-time.After(time.Minute):
				}
				a.network.up.Store(true)
				if err := a.heartbeat(); err != nil {
					t.Fatal(err)
				}
				a.ends(t, outcome, 0)
			})
		})
	}
}

func TestNothingIsHeldBackForNoUse(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, a *absentee){
		"it leads no more": func(_ *testing.T, a *absentee) { a.leads.Store(false) },
		"let go":           func(_ *testing.T, a *absentee) { a.LetGo("n2", time.Minute) },
		"closed": func(t *testing.T, a *absentee) {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			absent(t, func(t *testing.T, a *absentee) {
				outcome := a.held(t, a.append)
				end(t, a)
				a.ends(t, outcome, absenceCheck)
			})
		})
	}
	absent(t, func(t *testing.T, a *absentee) {
		a.LetGo("n2", time.Minute)
		for range 20 {
			start := time.Now()
			if err := a.append(); err == nil || time.Since(start) > 0 {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
		}
		time.Sleep(time.Minute)
		if err := a.append(); err == nil {
			t.Fatal("an entry reached a peer that is not there")
		}
		outcome := a.held(t, a.append)
		a.leads.Store(false)
		a.ends(t, outcome, absenceCheck)
	})
}
