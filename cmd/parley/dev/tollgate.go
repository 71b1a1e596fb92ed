package dev

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"parley/httpapi"
)

// tollgate stands between one command and a node's admin listener, so that somebody can be killed at a certain moment of the command's
// course: it holds what passes until that is done. Its address is url.
type tollgate struct {
	url    string
	to     string // the node's admin listener
	struck chan struct{}
	goOn   chan bool // whether the command is dead

	server *http.Server
	mu     sync.Mutex // around all that passes: a command asks one thing after the other
	at     moment
	done   bool // the moment has come
	course course
}

// course is what has passed of a command's requests and answers.
type course struct {
	changes  int  // requests that may change something, with the one that passes
	changing bool // the one that passes is such a one
	answered bool // its answer passes
	job      *httpapi.JobEntry
	text     string // of the answer
}

// moment is one in the course of a command.
type moment struct {
	text string
	is   func(c course) bool
}

func newTollgate(to string, at moment) (*tollgate, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &tollgate{url: "http://" + listener.Addr().String(), to: to, at: at, struck: make(chan struct{}), goOn: make(chan bool)}
	g.server = &http.Server{Handler: g}
	go func() { _ = g.server.Serve(listener) }() // ends by close
	return g, nil
}

// close ends the gate; nobody passes any more.
func (g *tollgate) close() error { return g.server.Close() }

// ServeHTTP lets a request pass, and its answer. Where the command or the node is dead by then, the connection breaks.
func (g *tollgate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	changing := r.Method != http.MethodGet
	if changing {
		g.course.changes++
	}
	g.passes(course{changes: g.course.changes, changing: changing})
	answer, body, err := g.forward(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	now := course{changes: g.course.changes, changing: changing, answered: true, text: string(body)}
	var job httpapi.JobEntry
	if answer.StatusCode == http.StatusOK && json.Unmarshal(body, &job) == nil && job.Kind != "" && !job.Created.IsZero() {
		now.job = &job
	}
	g.passes(now)
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body) // who is gone does not hear it
}

// passes holds what passes while somebody is killed, if it is time for that.
func (g *tollgate) passes(now course) {
	if g.done || g.at.is == nil || !g.at.is(now) {
		return
	}
	g.done = true
	g.struck <- struct{}{}
	if dead := <-g.goOn; dead {
		panic(http.ErrAbortHandler)
	}
}

func (g *tollgate) forward(r *http.Request) (*http.Response, []byte, error) {
	asked, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, nil, err
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, g.to+r.URL.RequestURI(), bytes.NewReader(asked))
	if err != nil {
		return nil, nil, err
	}
	request.Header = r.Header.Clone()
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return nil, nil, fmt.Errorf("the node: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

// The moments of a command that asks for something and waits for it.
var (
	beforeRequest = moment{"before its request", func(c course) bool { return c.changing && c.changes == 1 && !c.answered }}
	behindRequest = moment{"behind its request", func(c course) bool { return c.changing && c.changes == 1 && c.answered }}
	whileItWaits  = moment{"while it waits", func(c course) bool {
		return !c.changing && c.changes > 0 && c.answered && (c.job == nil || !c.job.Ended())
	}}
	halfWay = moment{"half way", func(c course) bool {
		return c.job != nil && !c.job.Ended() && c.job.UnitsDone > 0 && c.job.UnitsDone < c.job.UnitsTotal
	}}
	behindTheEnd = moment{"behind the end", func(c course) bool { return c.job != nil && c.job.Ended() }}
)

// The moments of others.
var (
	beforeApplied = moment{"before the plan is begun", func(c course) bool { return c.changing && c.changes == 2 && !c.answered }}
	behindApplied = moment{"behind its beginning", func(c course) bool { return c.changing && c.changes == 2 && c.answered }}
)
