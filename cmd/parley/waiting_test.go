package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

// jobServer answers for one job, whose state after each look the test says. It counts what it is asked.
type jobServer struct {
	*httptest.Server
	mu    sync.Mutex
	looks int
	by    string
	verb  string
}

func serveJob(t *testing.T, at func(look int) (int, any)) *jobServer {
	s := new(jobServer)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.looks++
		s.by, s.verb = r.Header.Get(httpapi.ByHeader), r.Header.Get(httpapi.VerbHeader)
		status, body := at(s.looks)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		if err := json.NewEncoder(w).Encode(body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func job(state string, done uint64) httpapi.JobEntry {
	return httpapi.JobEntry{ID: 7, Kind: "rebalance", State: state, Text: "step", UnitsDone: done, UnitsTotal: 4, BytesDone: done << 20, BytesTotal: 4 << 20}
}

// waitFor runs `parley job wait` against a server, looking again at once.
func waitForJob(ctx context.Context, s *jobServer, arguments ...string) (stdout, stderr string, code int) {
	var w waiting
	w.poll = time.Millisecond
	command := &cobra.Command{Use: "wait", SilenceErrors: true, SilenceUsage: true, RunE: func(command *cobra.Command, _ []string) error {
		begun, err := w.client().Job(command.Context(), 7)
		if err != nil {
			return coded(err)
		}
		return w.follow(command, begun)
	}}
	w.flags(command)
	var out, progress bytes.Buffer
	command.SetOut(&out)
	command.SetErr(&progress)
	command.SetArgs(append([]string{"--admin", s.URL}, arguments...))
	err := command.ExecuteContext(ctx)
	var coded *codedError
	switch {
	case errors.As(err, &coded):
		code = coded.code
	case err != nil:
		code = exitError
	}
	if err != nil {
		progress.WriteString(err.Error())
	}
	return out.String(), progress.String(), code
}

func TestWaitingForJobs(t *testing.T) {
	problem := map[string]string{"title": "nobody leads"}
	for name, test := range map[string]struct {
		at             func(look int) (int, any)
		arguments      []string
		code           int
		stdout, stderr string
	}{
		"it is done": {
			func(look int) (int, any) {
				return 200, job([]string{"running", "running", "done"}[min(look-1, 2)], uint64(look))
			},
			nil, exitOK, "job 7 (rebalance) is done", "[######",
		},
		"it fails": {
			func(look int) (int, any) {
				failed := job([]string{"running", "failed"}[min(look-1, 1)], 1)
				failed.Error = "the disk is full"
				return 200, failed
			},
			nil, exitError, "is failed", "the disk is full",
		},
		"it is cancelled": {
			func(look int) (int, any) { return 200, job([]string{"running", "cancelled"}[min(look-1, 1)], 1) },
			nil, exitError, "is cancelled", "is cancelled",
		},
		"the node restarts meanwhile": {
			func(look int) (int, any) {
				if look == 2 {
					return 503, problem
				}
				return 200, job([]string{"running", "", "done"}[min(look-1, 2)], 1)
			},
			nil, exitOK, "is done", "",
		},
		"the node is removed meanwhile": {
			func(look int) (int, any) {
				if look >= 2 {
					return 503, map[string]string{"type": httpapi.ProblemTypeRemoved, "title": "The node is out of the cluster", "detail": "ask another node"}
				}
				return 200, job("running", 1)
			},
			nil, exitStillRuns, "", "ask another node",
		},
		"the node was removed before": {
			func(look int) (int, any) {
				return 503, map[string]string{"type": httpapi.ProblemTypeRemoved, "title": "The node is out of the cluster"}
			},
			nil, exitError, "", "out of the cluster",
		},
		"the node knows none": {
			func(look int) (int, any) { return 404, map[string]string{"title": "there is no job 7"} },
			nil, exitError, "", "no job 7",
		},
		"there is no quorum": {
			func(look int) (int, any) { return 503, problem }, nil, exitNoQuorum, "", "nobody leads",
		},
		"it takes too long": {
			func(int) (int, any) { return 200, job("running", 1) },
			[]string{"--timeout", "30ms"}, exitStillRuns, "", "goes on",
		},
		"detached": {
			func(int) (int, any) { return 200, job("running", 1) },
			[]string{"--detach"}, exitOK, "parley job wait 7", "",
		},
		"in JSON": {
			func(look int) (int, any) { return 200, job([]string{"running", "done"}[min(look-1, 1)], 4) },
			[]string{"--json"}, exitOK, `"state": "done"`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := serveJob(t, test.at)
			stdout, stderr, code := waitForJob(t.Context(), s, test.arguments...)
			if code != test.code || !strings.Contains(stdout, test.stdout) || !strings.Contains(stderr, test.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
		})
	}
}

// Who stops waiting is told that the job goes on, and how to see and how to end it.
func TestInterruptedWaiting(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	s := serveJob(t, func(look int) (int, any) {
		if look == 3 {
			interrupt()
		}
		return 200, job("running", 1)
	})
	_, stderr, code := waitForJob(ctx, s, "--by", "alice")
	if code != exitStillRuns {
		t.Errorf("exit code %d", code)
	}
	for _, holds := range []string{"goes on", "parley job show 7", "parley job cancel 7"} {
		if !strings.Contains(stderr, holds) {
			t.Errorf("it says %q", stderr)
		}
	}
	if s.by != "alice" || s.verb != "wait" {
		t.Errorf("asked by %q for %q", s.by, s.verb)
	}
}

// A plan that does not fit any more is not among what still comes; --all has it, and why.
func TestJobListLeavesStalePlansOut(t *testing.T) {
	s := serveJob(t, func(int) (int, any) {
		stale := httpapi.JobEntry{ID: 8, Kind: "resize", State: httpapi.JobStatePlanned, Stale: true, Text: "plan 8 was made for version 3"}
		fits := httpapi.JobEntry{ID: 9, Kind: "resize", State: httpapi.JobStatePlanned}
		return 200, map[string]any{"jobs": []httpapi.JobEntry{job("running", 1), job("done", 4), stale, fits}}
	})
	for _, test := range []struct {
		arguments []string
		listed    []string
	}{{nil, []string{"running", "planned"}}, {[]string{"--all"}, []string{"running", "done", "plan 8 was made", "planned"}}} {
		command := newJobList()
		var out bytes.Buffer
		command.SetOut(&out)
		command.SetArgs(append([]string{"--admin", s.URL}, test.arguments...))
		if err := command.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")[1:]
		if len(lines) != len(test.listed) {
			t.Fatalf("%v lists %q", test.arguments, lines)
		}
		for i, line := range lines {
			if !strings.Contains(line, test.listed[i]) {
				t.Errorf("%v: %q is not %s", test.arguments, line, test.listed[i])
			}
		}
	}
}

func TestBarText(t *testing.T) {
	var p pace
	start := time.Unix(1000, 0)
	p.note(0, start)
	p.note(1<<20, start.Add(time.Second))
	for name, test := range map[string]struct {
		job  httpapi.JobEntry
		want string
	}{
		"bytes":            {job("running", 1), "job 7  [######..................]  25%  1/4  1.0 MiB of 4.0 MiB  1.0 MiB/s  ETA 3s  running  step"},
		"done":             {job("done", 4), "job 7  [########################] 100%  4/4  4.0 MiB of 4.0 MiB  done  step"},
		"units alone":      {httpapi.JobEntry{ID: 8, State: "running", UnitsDone: 1, UnitsTotal: 2}, "job 8  [############............]  50%  1/2  running"},
		"nothing is known": {httpapi.JobEntry{ID: 9, State: "running", Text: "looking"}, "job 9  running  looking"},
		"more than all":    {httpapi.JobEntry{ID: 9, State: "running", BytesDone: 3, BytesTotal: 2}, "job 9  [########################] 100%  3 B of 2 B  1.0 MiB/s  running"},
	} {
		if got := barText(test.job, &p); got != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Where nobody is there to ask, --yes has to be said.
func TestAgreed(t *testing.T) {
	for answer, want := range map[string]int{"y\n": exitOK, "yes\n": exitOK, "\n": exitError, "no\n": exitError, "": exitError} {
		command := &cobra.Command{}
		command.SetIn(strings.NewReader(answer))
		command.SetErr(new(bytes.Buffer))
		err := agreed(command, "?")
		var coded *codedError
		if code := exitOK; errors.As(err, &coded) && coded.code != want || err == nil && code != want {
			t.Errorf("%q: %v", answer, err)
		}
	}
}
