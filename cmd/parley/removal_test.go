package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"parley/cmd/parley/adminclient"
	"parley/httpapi"
	"parley/mimi"
)

// A node is taken out of the cluster while somebody waits at it for the job that does so. It says what it is at every door, also after it was
// started again, and goes on as a process.
func TestNodeThatIsOutOfTheCluster(t *testing.T) {
	shared := homeOfNodes(t)
	first := startProgram(t, shared, "n1")
	second, process := startProgramWith(t, shared, "n2", func(text string) string { return text })
	domain, err := mimi.ParseProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Init(t.Context(), httpapi.InitRequest{Domains: []mimi.Provider{domain}, Shards: 2, Replicas: 1}); err != nil {
		t.Fatal(err)
	}
	invitation, err := first.Invite(t.Context(), httpapi.InviteRequest{Node: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Join(t.Context(), httpapi.JoinRequest{Token: invitation.Token}); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, second)
	job, err := first.Decommission(t.Context(), "n2", httpapi.NodeRequest{Why: "it is old"})
	if err != nil {
		t.Fatal(err)
	}
	soon(t, "n2 knows that it is out", func() error { return saysThatItIsOut(t.Context(), second) })
	waitsInVain(t, second, job.ID)
	for _, listener := range []string{"peer", "local"} {
		refusesAtTheDoor(t, doorOf(t, filepath.Join(shared, "n2.toml"), listener))
	}
	if _, err := second.Join(t.Context(), httpapi.JoinRequest{Token: invitation.Token}); statusOf(err) != http.StatusServiceUnavailable {
		t.Errorf("it joins again: %v", err)
	}
	if status, err := first.Status(t.Context()); err != nil || len(status.Nodes) != 1 || status.Removed != "" {
		t.Errorf("at the other node: %+v, %v", status, err)
	}

	end(t, process, filepath.Join(shared, "data-n2"))
	again := startProgram(t, shared, "n2")
	if err := saysThatItIsOut(t.Context(), again); err != nil {
		t.Errorf("after it was started again: %v", err)
	}
	for _, listener := range []string{"peer", "local"} {
		refusesAtTheDoor(t, doorOf(t, filepath.Join(shared, "n2.toml"), listener))
	}
	waitsInVain(t, again, job.ID)
}

// saysThatItIsOut looks at all that an operator looks at.
func saysThatItIsOut(ctx context.Context, node *adminclient.Client) error {
	const text = "node n2 was removed from the cluster"
	readiness, err := node.Ready(ctx)
	if err != nil || readiness.Ready || readiness.Node != "n2" || len(readiness.Reasons) != 1 || !strings.HasPrefix(readiness.Reasons[0], text) {
		return fmt.Errorf("/readyz says %+v, %v", readiness, err)
	}
	status, err := node.Status(ctx)
	if err != nil || !strings.HasPrefix(status.Removed, text) || status.ClusterID == "" || len(status.Nodes) > 0 {
		return fmt.Errorf("its status is %+v, %v", status, err)
	}
	_, err = node.Peers(ctx)
	var failure *adminclient.Error
	if !errors.As(err, &failure) || failure.Status != http.StatusServiceUnavailable || failure.Type != httpapi.ProblemTypeRemoved || !strings.Contains(failure.Detail, text) {
		return fmt.Errorf("a request gets %v", err)
	}
	return nil
}

// waitsInVain waits at a node for a job that it hears no more of.
func waitsInVain(t *testing.T, node *adminclient.Client, job uint64) {
	t.Helper()
	if code := run(t.Context(), []string{"job", "wait", fmt.Sprint(job), "--admin", node.Address()}); code != exitError {
		t.Errorf("the waiting ends with exit code %d", code)
	}
}

// doorOf is where a node that was started for a test has one of its listeners.
func doorOf(t *testing.T, configuration, listener string) string {
	t.Helper()
	text, err := os.ReadFile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`\[` + listener + `\]\nlisten = "([^"]+)"`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("no %s listener in %s", listener, text)
	}
	return "https://" + string(found[1])
}

func refusesAtTheDoor(t *testing.T, door string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	soon(t, door+" says that another node is to be asked", func() error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, door+"/v1/keyMaterial/x", strings.NewReader("anything"))
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var body bytes.Buffer
		if _, err := body.ReadFrom(answer.Body); err != nil {
			return err
		}
		if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" ||
			!strings.Contains(body.String(), "another node") || strings.Contains(body.String(), "n2") {
			return fmt.Errorf("%s, Retry-After %q: %s", answer.Status, answer.Header.Get("Retry-After"), body.String())
		}
		return nil
	})
}
