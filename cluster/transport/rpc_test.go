package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func echo(_ context.Context, _ string, b []byte) ([]byte, error) { return b, nil }

// pair is two ports: n1 calls n2.
func pair(t *testing.T) (c *cluster, from, to *Port) {
	t.Helper()
	noLeaks(t)
	c = newCluster(t, "c1")
	return c, c.port("n1"), c.port("n2")
}

func TestCall(t *testing.T) {
	_, from, to := pair(t)
	addr := to.Addr().String()
	to.Handle("who", func(_ context.Context, from string, b []byte) ([]byte, error) {
		return fmt.Appendf(nil, "%s sent %d bytes", from, len(b)), nil
	})
	to.Handle("fail", func(_ context.Context, _ string, b []byte) ([]byte, error) {
		if len(b) == 0 {
			return nil, errors.New("something broke")
		}
		return nil, fmt.Errorf("wrapped: %w", &RemoteError{string(b), "try n3 – ünïcode\nand lines"})
	})
	to.Handle("echo", echo)
	for _, request := range []string{"", "hello"} {
		response, err := from.Call(within(t), "n2", addr, "who", []byte(request))
		if want := fmt.Sprintf("n1 sent %d bytes", len(request)); err != nil || string(response) != want {
			t.Errorf("%q, %v", response, err)
		}
	}
	if response, err := from.Call(within(t), "n2", addr, "echo", nil); err != nil || len(response) != 0 {
		t.Errorf("an empty answer: %q, %v", response, err)
	}
	for request, want := range map[string]string{"not_leader": "not_leader", "": CodeInternal, "über": CodeInternal, "ok": CodeInternal} {
		_, err := from.Call(within(t), "n2", addr, "fail", []byte(request))
		var remote *RemoteError
		if !errors.As(err, &remote) || remote.Code != want {
			t.Fatalf("%q: %v", request, err)
		}
		if request == "not_leader" && remote.Message != "try n3 – ünïcode\nand lines" {
			t.Errorf("the message is %q", remote.Message)
		}
		if errors.Is(err, ErrNotSent) || errors.Is(err, ErrMaybeSent) {
			t.Errorf("a handler's error speaks of delivery: %v", err)
		}
	}
	_, err := from.Call(within(t), "n2", addr, "nobody", nil)
	var remote *RemoteError
	if !errors.As(err, &remote) || remote.Code != CodeUnknownMethod || !errors.Is(err, ErrNotSent) {
		t.Errorf("an unknown method: %v", err)
	}
}

func TestCallSizes(t *testing.T) {
	_, from, to := pair(t)
	addr := to.Addr().String()
	to.Handle("echo", echo)
	to.Handle("grow", func(context.Context, string, []byte) ([]byte, error) { return make([]byte, MessageBytesMax+1), nil })
	largest := bytes.Repeat([]byte("0123456789abcdef"), MessageBytesMax/16)
	response, err := from.Call(within(t), "n2", addr, "echo", largest)
	if err != nil || !bytes.Equal(response, largest) {
		t.Errorf("the largest request: %d bytes, %v", len(response), err)
	}
	if _, err := from.Call(within(t), "n2", addr, "echo", append(largest, 0)); !errors.Is(err, ErrNotSent) {
		t.Errorf("a larger request: %v", err)
	}
	var remote *RemoteError
	if _, err := from.Call(within(t), "n2", addr, "grow", nil); !errors.As(err, &remote) || remote.Code != CodeResponseTooLarge {
		t.Errorf("a larger response: %v", err)
	}
}

func TestDeadlineIsCarriedOver(t *testing.T) {
	_, from, to := pair(t)
	addr := to.Addr().String()
	lefts := make(chan time.Duration, 2)
	to.Handle("left", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		deadline, bounded := ctx.Deadline()
		if !bounded {
			return nil, errors.New("no deadline")
		}
		lefts <- time.Until(deadline)
		return nil, nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := from.Call(ctx, "n2", addr, "left", nil); err != nil {
		t.Fatal(err)
	}
	if left := <-lefts; left > time.Minute || left < 30*time.Second {
		t.Errorf("%s of a minute are left", left)
	}
	if _, err := from.Call(context.Background(), "n2", addr, "left", nil); err != nil {
		t.Fatal(err)
	}
	if left := <-lefts; left > 30*time.Second {
		t.Errorf("%s are left of the default", left)
	}
}

// What a caller may conclude when its time runs out depends on whether the request had left.
func TestErrorsTellWhetherItWasSent(t *testing.T) {
	c, from, to := pair(t)
	addr := to.Addr().String()
	running, ended := make(chan struct{}, 1), make(chan error, 1)
	to.Handle("wait", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		running <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	t.Run("the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("no longer wanted")
		go func() { <-running; cancel(why) }()
		_, err := from.Call(ctx, "n2", addr, "wait", nil)
		if !errors.Is(err, ErrMaybeSent) || errors.Is(err, ErrNotSent) || !errors.Is(err, why) {
			t.Errorf("the error is %v", err)
		}
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the handler ended with %v", err)
		}
	})
	t.Run("the connection breaks", func(t *testing.T) {
		r := newRelay(t, addr)
		go func() { <-running; r.cut() }()
		_, err := from.Call(within(t), "n2", r.addr(), "wait", nil)
		if !errors.Is(err, ErrMaybeSent) {
			t.Errorf("the error is %v", err)
		}
		<-ended
	})
	t.Run("nobody listens", func(t *testing.T) {
		gone := c.port("n3")
		if err := gone.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := from.Call(within(t), "n3", gone.Addr().String(), "wait", nil)
		if !errors.Is(err, ErrNotSent) || errors.Is(err, ErrMaybeSent) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("no time is left", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), -time.Second)
		defer cancel()
		_, err := from.Call(ctx, "n2", addr, "wait", nil)
		if !errors.Is(err, ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("the peer closes", func(t *testing.T) {
		last := c.port("n4")
		last.Handle("wait", func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			running <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		})
		closed := make(chan error, 1)
		go func() { <-running; closed <- last.Close() }()
		_, err := from.Call(within(t), "n4", last.Addr().String(), "wait", nil)
		var remote *RemoteError
		if !errors.Is(err, ErrMaybeSent) && !(errors.As(err, &remote) && remote.Code == CodeDeadline) {
			t.Errorf("the error is %v", err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	})
}

// A node that was restarted is called again without an error that the caller could see, if nothing was under way.
func TestBrokenConnectionIsReplaced(t *testing.T) {
	_, from, to := pair(t)
	to.Handle("echo", echo)
	r := newRelay(t, to.Addr().String())
	for i := range 5 {
		if _, err := from.Call(within(t), "n2", r.addr(), "echo", []byte("x")); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
		conn := from.calls.lane(laneKey{"n2", r.addr(), false}).conn
		r.cut()
		eventually(t, "the break is seen", func() bool { return conn.Err() != nil })
	}
	// A node at a new address is called there.
	if _, err := from.Call(within(t), "n2", to.Addr().String(), "echo", []byte("x")); err != nil {
		t.Error(err)
	}
}

func TestConcurrentCallsAreBoundedAndAllAnswered(t *testing.T) {
	_, from, to := pair(t)
	addr := to.Addr().String()
	var running, most atomic.Int64
	full := make(chan struct{})
	fill := sync.OnceFunc(func() { close(full) })
	to.Handle("count", func(ctx context.Context, _ string, b []byte) ([]byte, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for seen := most.Load(); n > seen && !most.CompareAndSwap(seen, n); seen = most.Load() {
		}
		if n == callsPerPeerMax {
			fill() // and those that waited at the caller may fill it once more
		}
		select {
		case <-full:
			return b, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	const callers = callsPerPeerMax + 200
	var wait sync.WaitGroup
	errs := make(chan error, callers)
	for i := range callers {
		wait.Go(func() {
			want := fmt.Sprint(i)
			if got, err := from.Call(within(t), "n2", addr, "count", []byte(want)); err != nil || string(got) != want {
				errs <- fmt.Errorf("call %s got %q: %w", want, got, err)
			}
		})
	}
	wait.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	if n := most.Load(); n != callsPerPeerMax {
		t.Errorf("%d ran at a time, not %d", n, callsPerPeerMax)
	}
}

// The caller's bound is a courtesy; the node that is called has its own.
func TestNodeRefusesTooManyCalls(t *testing.T) {
	_, _, to := pair(t)
	to.Handle("echo", echo)
	var ends []func()
	for range callsPerPeerMax {
		_, end, err := to.rpc.begin("echo", "n9")
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	_, _, err := to.rpc.begin("echo", "n9")
	var remote *RemoteError
	if !errors.As(err, &remote) || remote.Code != CodeOverloaded || !errors.Is(err, ErrNotSent) {
		t.Errorf("one more call: %v", err)
	}
	if _, end, err := to.rpc.begin("echo", "n8"); err != nil {
		t.Errorf("another node suffers: %v", err)
	} else {
		end()
	}
	for _, end := range ends {
		end()
	}
	if _, end, err := to.rpc.begin("echo", "n9"); err != nil {
		t.Error(err)
	} else {
		end()
	}
}

func TestStream(t *testing.T) {
	_, from, to := pair(t)
	addr := to.Addr().String()
	chunk := bytes.Repeat([]byte("chunk "), 50_000)
	to.HandleStream("chunks", func(_ context.Context, _ string, request []byte, w io.Writer) error {
		for range 20 {
			if _, err := w.Write(chunk); err != nil {
				return err
			}
		}
		if len(request) > 0 {
			return &RemoteError{"gone", "the snapshot “7” was\nremoved"}
		}
		return nil
	})
	for _, request := range []string{"", "fail"} {
		stream, err := from.Stream(within(t), "n2", addr, "chunks", []byte(request))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(stream)
		if len(b) != 20*len(chunk) {
			t.Errorf("%d bytes, not %d", len(b), 20*len(chunk))
		}
		var remote *RemoteError
		switch {
		case request == "" && err != nil:
			t.Error(err)
		case request != "" && (!errors.As(err, &remote) || remote.Code != "gone" || remote.Message != "the snapshot “7” was\nremoved"):
			t.Errorf("the stream ended with %v", err)
		}
		if err := errors.Join(stream.Close(), stream.Close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := from.Stream(within(t), "n2", addr, "nobody", nil); !errors.Is(err, ErrNotSent) {
		t.Errorf("an unknown method: %v", err)
	}
}

func TestPanicCutsTheCall(t *testing.T) {
	c, from, to := pair(t)
	to.Handle("panic", func(context.Context, string, []byte) ([]byte, error) { panic("a broken invariant") })
	if _, err := from.Call(within(t), "n2", to.Addr().String(), "panic", nil); !errors.Is(err, ErrMaybeSent) {
		t.Errorf("the error is %v", err)
	}
	eventually(t, "the panic is logged", func() bool { return strings.Contains(c.logs.String(), "a broken invariant") })
}

func TestStreamArrivesAsItIsWritten(t *testing.T) {
	_, from, to := pair(t)
	next, gone := make(chan string), make(chan error, 1)
	to.HandleStream("live", func(ctx context.Context, _ string, _ []byte, w io.Writer) error {
		for {
			select {
			case s := <-next:
				if _, err := io.WriteString(w, s); err != nil {
					return err
				}
			case <-ctx.Done():
				gone <- ctx.Err()
				return ctx.Err()
			}
		}
	})
	stream, err := from.Stream(context.Background(), "n2", to.Addr().String(), "live", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"one", "two"} {
		next <- s
		b := make([]byte, 3)
		if _, err := io.ReadFull(stream, b); err != nil || string(b) != s {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("the handler ended with %v", err)
	}
}

func TestCutStreamIsNotAnEnd(t *testing.T) {
	_, from, to := pair(t)
	r := newRelay(t, to.Addr().String())
	to.HandleStream("half", func(ctx context.Context, _ string, _ []byte, w io.Writer) error {
		if _, err := io.WriteString(w, "half"); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	stream, err := from.Stream(within(t), "n2", r.addr(), "half", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if _, err := io.ReadFull(stream, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	r.cut()
	if _, err := io.ReadAll(stream); !errors.Is(err, ErrMaybeSent) {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestHandlersAreNamedOnce(t *testing.T) {
	_, _, to := pair(t)
	to.Handle("echo", echo)
	for _, name := range []string{"echo", "", "a/b", "Upper", strings.Repeat("é", 2)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was registered", name)
				}
			}()
			to.Handle(name, echo)
		}()
	}
}

func TestClosedPort(t *testing.T) {
	_, from, to := pair(t)
	to.Handle("echo", echo)
	if err := errors.Join(from.Close(), from.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := from.Call(within(t), "n2", to.Addr().String(), "echo", nil); !errors.Is(err, ErrNotSent) || !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v", err)
	}
	if _, err := from.Group(1, 1, newCluster(t, "c1"), GroupOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("the error is %v", err)
	}
}
