package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"parley/cluster/pki"
	"parley/cmd/parley/adminclient"
	"parley/cmd/parley/keyfile"
	"parley/httpapi"
	"parley/mimi"
)

// homeOfNodes is a folder with what the nodes of a provider share.
func homeOfNodes(t *testing.T) string {
	t.Helper()
	shared := t.TempDir()
	if err := keyfile.New(filepath.Join(shared, "seal.key")); err != nil {
		t.Fatal(err)
	}
	web, err := pki.NewWebCA("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := web.IssueServer(time.Hour, "a.example", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.Save(filepath.Join(shared, "web.pem"), filepath.Join(shared, "web.key")); err != nil {
		t.Fatal(err)
	}
	return shared
}

func awaitReady(t *testing.T, node *adminclient.Client) {
	t.Helper()
	soon(t, "the node serves", func() error {
		readiness, err := node.Ready(t.Context())
		if err == nil && !readiness.Ready {
			err = fmt.Errorf("%+v", readiness)
		}
		return err
	})
}

// The way of docs/operations.md: back up, look, check, lose everything, restore into a new cluster; each command with its exit code.
func TestBackupCommands(t *testing.T) {
	shared, store := homeOfNodes(t), t.TempDir()
	location := "file://" + store
	node := startProgram(t, shared, "n1")
	expect := func(want int, arguments ...string) {
		t.Helper()
		if code := run(t.Context(), append([]string{"backup"}, arguments...)); code != want {
			t.Fatalf("backup %v: exit code %d, want %d", arguments, code, want)
		}
	}
	expect(exitUnsafe, "create", location, "--admin", node.Address())
	domain, err := mimi.ParseProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Init(t.Context(), httpapi.InitRequest{Domains: []mimi.Provider{domain}, Shards: 2, Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, node)
	peer, err := mimi.ParseProvider("b.example")
	if err != nil {
		t.Fatal(err)
	}
	if err := node.PutPeer(t.Context(), httpapi.PeerEntry{Domain: peer, Domains: []mimi.Provider{peer}}); err != nil {
		t.Fatal(err)
	}
	var before []httpapi.HubKeyEntry
	soon(t, "the hub has its keys of every kind", func() (err error) {
		before, err = node.HubKeys(t.Context())
		if err == nil && !slices.ContainsFunc(before, func(k httpapi.HubKeyEntry) bool { return k.Purpose == "external-receiver" }) {
			err = fmt.Errorf("%v", before)
		}
		return err
	})
	expect(exitUsage, "create", "/no/url", "--admin", node.Address())
	expect(exitUnsafe, "create", "file:///proc/backups", "--admin", node.Address()) // a job would wait for ever
	absent := filepath.Join(store, "misspelt")
	expect(exitUsage, "list", "file://"+absent)
	expect(exitUsage, "verify", "file://"+absent)
	if _, err := os.Stat(absent); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a directory was made by looking for it: %v", err)
	}
	expect(exitError, "verify", location) // there is none yet
	expect(exitOK, "create", location, "--admin", node.Address(), "--rate", "100")
	expect(exitOK, "create", location, "--admin", node.Address())
	expect(exitOK, "list", location)
	expect(exitOK, "inspect", location)
	expect(exitOK, "verify", location, "--json")
	expect(exitUsage, "prune", location, "--keep", "0")
	expect(exitOK, "prune", location, "--keep", "1")
	expect(exitUnsafe, "restore", location, "--admin", node.Address()) // it belongs to a cluster
	if status, err := node.Status(t.Context()); err != nil || status.ClusterID == "" {
		t.Fatalf("%+v, %v", status, err)
	}

	fresh := startProgram(t, shared, "n1-again")
	stranger := startProgram(t, homeOfNodes(t), "n1-stranger") // another seal key
	chunks, err := filepath.Glob(filepath.Join(store, "chunks", "*", "*"))
	if err != nil || len(chunks) == 0 {
		t.Fatal(err)
	}
	sound, err := os.ReadFile(chunks[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(chunks[0], int64(len(sound)-1)); err != nil {
		t.Fatal(err)
	}
	expect(exitError, "verify", location)
	expect(exitUnsafe, "restore", location, "--admin", fresh.Address(), "--replicas", "1")
	if err := os.WriteFile(chunks[0], sound, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(exitOK, "verify", location)
	expect(exitUnsafe, "restore", location, "--admin", stranger.Address(), "--replicas", "1")
	for range 2 { // it may be repeated
		expect(exitOK, "restore", location, "--admin", fresh.Address(), "--replicas", "1", "--shards", "3", "--id", "m1")
	}
	soon(t, "what shards had has come", func() error {
		jobs, err := fresh.Jobs(t.Context())
		for _, j := range jobs {
			if j.Kind == "restore" && j.State == httpapi.JobStateDone {
				return nil
			}
		}
		return errors.Join(err, fmt.Errorf("jobs: %+v", jobs))
	})
	awaitReady(t, fresh)
	after, err := fresh.HubKeys(t.Context())
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the hub's keys are %v, and were %v: %v", after, before, err)
	}
	if peers, err := fresh.Peers(t.Context()); err != nil || len(peers) != 1 || peers[0].Domain != peer {
		t.Errorf("the peers are %+v, %v", peers, err)
	}
	expect(exitOK, "restore", location, "--admin", fresh.Address()) // it is over, and who asks again need not know
	expect(exitOK, "create", location, "--admin", fresh.Address())
	expect(exitUnsafe, "restore", location, "--admin", fresh.Address()) // the newest is another one now
}
