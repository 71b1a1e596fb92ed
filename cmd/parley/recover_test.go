package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cluster"
	"parley/cmd/parley/adminclient"
	"parley/httpapi"
	"parley/mimi"
)

// program runs a command in a process of its own, and gives what it prints to the standard output.
func program(t *testing.T, want int, arguments ...string) []byte {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	command := exec.CommandContext(t.Context(), executable, arguments...)
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	if code := command.ProcessState.ExitCode(); code != want {
		t.Fatalf("%v: exit code %d, want %d\n%s", arguments, code, want, said.String())
	}
	return out.Bytes()
}

// threeNodes is a cluster of three programs with two shards, each of which knows all.
func threeNodes(t *testing.T, shared string) (nodes [3]*adminclient.Client, processes [3]*os.Process) {
	t.Helper()
	for i := range nodes {
		nodes[i], processes[i] = startProgramWith(t, shared, fmt.Sprintf("n%d", i+1), func(text string) string { return text })
	}
	domain, err := mimi.ParseProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nodes[0].Init(t.Context(), httpapi.InitRequest{Domains: []mimi.Provider{domain}, Shards: 2, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	for i, node := range nodes[1:] {
		invitation, err := nodes[0].Invite(t.Context(), httpapi.InviteRequest{Node: fmt.Sprintf("n%d", i+2)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := node.Join(t.Context(), httpapi.JoinRequest{Token: invitation.Token}); err != nil {
			t.Fatal(err)
		}
	}
	for _, node := range nodes {
		soon(t, "all three have both shards", func() error {
			status, err := node.Status(t.Context())
			if err == nil && len(status.Shards) != 2 {
				err = fmt.Errorf("%+v", status)
			}
			for _, shard := range status.Shards {
				if shard.Leader == "" || len(shard.Replicas) != 3 {
					err = errors.Join(err, fmt.Errorf("%+v", shard))
				}
			}
			return err
		})
		awaitReady(t, node)
	}
	return nodes, processes
}

// end stops a node, and waits until nobody has its directory.
func end(t *testing.T, process *os.Process, directory string) {
	t.Helper()
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	soon(t, "the node ends", func() error {
		if code := run(t.Context(), []string{"recover", "survey", "--data", directory}); code != exitOK {
			return fmt.Errorf("exit code %d", code)
		}
		return nil
	})
}

// The way of docs/quorum-loss.md, with the real commands on real directories: two of three nodes are lost, and the third goes on.
func TestRecoverCommands(t *testing.T) {
	shared := homeOfNodes(t)
	nodes, processes := threeNodes(t, shared)
	peer, err := mimi.ParseProvider("b.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].PutPeer(t.Context(), httpapi.PeerEntry{Domain: peer, Domains: []mimi.Provider{peer}}); err != nil {
		t.Fatal(err)
	}
	directory := func(id string) string { return filepath.Join(shared, "data-"+id) }
	whole := []string{"recover", "--data", directory("n1"), "--lost", "n2,n3"}

	program(t, exitUnsafe, whole...) // the survivor runs
	end(t, processes[0], directory("n1"))
	program(t, exitUnsafe, whole...) // those that are said to be lost answer
	end(t, processes[1], directory("n2"))
	end(t, processes[2], directory("n3"))
	program(t, exitUnsafe, "recover", "--data", directory("n1"), "--lost", "n2")       // what about n3?
	program(t, exitUnsafe, "recover", "--data", directory("n1"), "--lost", "n2,n3,n4") // there is no n4
	program(t, exitUsage, append(whole, "--ended", "yesterday")...)                    // no time
	program(t, exitError, "recover", "--data", directory("none"), "--lost", "n2,n3")   // no directory,
	if _, err := os.Stat(directory("none")); !errors.Is(err, os.ErrNotExist) {         // and none is made
		t.Errorf("a directory that is not there was made: %v", err)
	}

	survey := program(t, exitOK, "recover", "survey", "--data", directory("n1"))
	files := map[string][]byte{"survey": survey, "nothing": []byte("{}")}
	for _, id := range []string{"n2", "n3"} {
		files[id] = program(t, exitOK, "recover", "survey", "--data", directory(id))
	}
	file := func(name string) string { return filepath.Join(shared, name+".json") }
	keep := func() {
		for name, content := range files {
			if err := os.WriteFile(file(name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	keep()
	program(t, exitUnsafe, "recover", "plan", file("survey"), file("n2"), file("n3")) // nothing is lost: start them
	ended := time.Now().Add(-time.Second).UTC().Format(time.RFC3339)
	files["plan"] = program(t, exitOK, "recover", "plan", "--lost", "n2,n3", "--ended", ended, file("survey"))
	keep()
	if alone := program(t, exitOK, append(whole, "--ended", ended, "--json")...); !bytes.Equal(alone, files["plan"]) {
		t.Errorf("of one survivor the plan is\n%s\nand of its survey\n%s", alone, files["plan"])
	}
	if shown := program(t, exitOK, append(whole, "--ended", ended)...); strings.Count(string(shown), "what only the lost nodes had") != 3 {
		t.Errorf("what may be lost of the map and two shards is not shown:\n%s", shown)
	}
	if again := program(t, exitOK, "recover", "survey", "--data", directory("n1")); !bytes.Equal(again, survey) {
		t.Error("to look has changed the directory")
	}
	apply := func(want int, id, plan string, more ...string) {
		t.Helper()
		program(t, want, append([]string{"recover", "apply", "--data", directory(id), "--plan", file(plan)}, more...)...)
	}
	apply(exitUsage, "n1", "survey", "--yes")
	apply(exitUsage, "n1", "nothing", "--yes")
	program(t, exitUsage, "recover", "plan", "--lost", "n2,n3", file("plan"))
	apply(exitUnsafe, "n2", "plan", "--yes") // it is none of the survivors
	apply(exitOK, "n1", "plan")
	apply(exitOK, "n1", "plan", "--yes")
	apply(exitOK, "n1", "plan", "--yes") // it may be repeated
	for _, more := range [][]string{{"--yes"}, {"--yes", "--json"}, nil} {
		program(t, exitOK, append(slices.Clone(whole), more...)...) // and so may that: there is nothing to do
	}
	program(t, exitUnsafe, "recover", "--data", directory("n1"), "--lost", "n2,n3,n4", "--yes")
	var after cluster.Survivor
	if err := json.Unmarshal(program(t, exitOK, "recover", "survey", "--data", directory("n1")), &after); err != nil || after.Generation != 2 {
		t.Fatalf("the directory is of generation %d, %v", after.Generation, err)
	}

	node := startProgram(t, shared, "n1")
	awaitReady(t, node)
	status, err := node.Status(t.Context())
	if err != nil || status.Generation != 2 || len(status.Nodes) != 1 {
		t.Errorf("%+v, %v", status, err)
	}
	if peers, err := node.Peers(t.Context()); err != nil || len(peers) != 1 || peers[0].Domain != peer {
		t.Errorf("the peers are %+v, %v", peers, err)
	}
	soon(t, "the cluster decides", func() error {
		_, err := node.CreateToken(t.Context(), httpapi.TokenRequest{Name: "after", Scopes: []string{"rooms:read"}})
		return err
	})
	soon(t, "both shards decide again", func() error {
		for _, shard := range []string{"1", "2"} {
			if code := run(t.Context(), []string{"check", "--shard", shard, "--admin", node.Address()}); code != exitOK {
				return fmt.Errorf("shard %s: exit code %d", shard, code)
			}
		}
		return nil
	})
}
