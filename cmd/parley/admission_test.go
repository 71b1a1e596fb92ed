package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"parley/cluster/pki"
	"parley/cmd/parley/adminclient"
	"parley/cmd/parley/keyfile"
	"parley/httpapi"
	"parley/mimi"
)

// The README's way: init on one, invite, join on the others, with nothing but a seal key on each.
func TestInitInviteJoin(t *testing.T) {
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
	first, second := startProgram(t, shared, "n1"), startProgram(t, shared, "n2")
	if _, err := first.Status(t.Context()); err != nil {
		t.Errorf("status without a node: %v", err)
	}
	if _, err := first.Invite(t.Context(), httpapi.InviteRequest{}); statusOf(err) != 409 {
		t.Errorf("an invitation before init: %v", err)
	}
	if _, err := first.CreateToken(t.Context(), httpapi.TokenRequest{Name: "x", Scopes: []string{"admin"}}); statusOf(err) != 409 {
		t.Errorf("a bearer token before init: %v", err)
	}
	domain, err := mimi.ParseProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	init := httpapi.InitRequest{Domains: []mimi.Provider{domain}, Shards: 1, Replicas: 2}
	for range 2 {
		if identity, err := first.Init(t.Context(), init); err != nil || identity.Node != "n1" {
			t.Fatalf("init: %+v, %v", identity, err)
		}
	}
	if _, err := second.Join(t.Context(), httpapi.JoinRequest{Seeds: []string{"127.0.0.1:1"}}); statusOf(err) != 409 {
		t.Errorf("a join with a seed alone: %v", err)
	}
	if _, err := second.Join(t.Context(), httpapi.JoinRequest{Token: "parley-join-x"}); statusOf(err) != 400 {
		t.Errorf("a join with a spoiled token: %v", err)
	}
	withdrawn, err := first.Invite(t.Context(), httpapi.InviteRequest{Node: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	invitations, err := first.Invitations(t.Context())
	if err != nil || len(invitations) != 1 || invitations[0].Node != "n2" || !invitations[0].Until.After(time.Now()) {
		t.Fatalf("invitations: %+v, %v", invitations, err)
	}
	for range 2 {
		if code := run(t.Context(), []string{"node", "uninvite", invitations[0].ID, "--admin", first.Address()}); code != exitOK {
			t.Errorf("uninvite: exit code %d", code)
		}
	}
	if _, err := second.Join(t.Context(), httpapi.JoinRequest{Token: withdrawn.Token}); statusOf(err) != 409 {
		t.Errorf("a join with a token that was withdrawn: %v", err)
	}
	invitation, err := first.Invite(t.Context(), httpapi.InviteRequest{Node: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if identity, err := second.Join(t.Context(), httpapi.JoinRequest{Token: invitation.Token}); err != nil || identity.Node != "n2" {
			t.Fatalf("join: %+v, %v", identity, err)
		}
	}
	soon(t, "both nodes serve", func() error {
		for _, node := range []*adminclient.Client{first, second} {
			if readiness, err := node.Ready(t.Context()); err != nil || !readiness.Ready {
				return fmt.Errorf("%+v, %w", readiness, err)
			}
		}
		return nil
	})
	soon(t, "n2 knows both certificates", func() error {
		certificates, err := second.Certificates(t.Context())
		if err == nil && (len(certificates) != 2 || certificates[1].Node != "n2") {
			err = fmt.Errorf("%+v", certificates)
		}
		return err
	})
	soon(t, "both nodes tell their keys", func() error {
		ring, err := second.Keyring(t.Context())
		if err == nil && (len(ring.Keys) != 1 || len(ring.Keys[0].Nodes) != 2) {
			err = fmt.Errorf("%+v", ring)
		}
		return err
	})
	for _, arguments := range [][]string{{"certs", "list"}, {"keyring", "list"}, {"node", "invitations"}, {"cluster", "reseal"}, {"node", "invite", "--ttl", "5m"}} {
		soon(t, strings.Join(arguments, " "), func() error { // to seal anew both nodes have to answer in time
			if code := run(t.Context(), append(arguments, "--admin", first.Address())); code != exitOK {
				return fmt.Errorf("exit code %d", code)
			}
			return nil
		})
	}
	onlyForWhomItIs(t, first, second)
	changeSettings(t, first, second)
}

// onlyForWhomItIs tries n1 and n2 of a cluster in each other's place: a join of the one at the other, invitations in the name of who is there, and
// the leaving of who is asked.
func onlyForWhomItIs(t *testing.T, first, second *adminclient.Client) {
	t.Helper()
	third, err := first.Invite(t.Context(), httpapi.InviteRequest{Node: "n3"})
	if err != nil {
		t.Fatal(err)
	}
	anybody, err := first.Invite(t.Context(), httpapi.InviteRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []httpapi.JoinRequest{{Token: third.Token}, {Token: anybody.Token, Node: "n3"}} {
		if _, err := second.Join(t.Context(), wrong); statusOf(err) != 409 {
			t.Errorf("n2 joins as n3: %v", err)
		}
	}
	if _, err := second.Join(t.Context(), httpapi.JoinRequest{Token: anybody.Token}); err != nil {
		t.Errorf("a token for anybody: %v", err)
	}
	for name, want := range map[string]int{"n2": 409, "No ID!": 400, strings.Repeat("n", 65): 400} {
		if _, err := first.Invite(t.Context(), httpapi.InviteRequest{Node: name}); statusOf(err) != want {
			t.Errorf("an invitation for %q: %v", name, err)
		}
	}
	if err := first.RevokeCertificates(t.Context(), "n9"); statusOf(err) != 404 {
		t.Errorf("certificates of a node that there is not: %v", err)
	}
	if _, err := second.Decommission(t.Context(), "n2", httpapi.NodeRequest{}); statusOf(err) != 409 || !strings.Contains(err.Error(), "at another node") {
		t.Errorf("n2 is asked to take itself out: %v", err)
	}
}

// changeSettings changes limits at one node by the program's commands, and looks at another.
func changeSettings(t *testing.T, at, other *adminclient.Client) {
	for _, test := range []struct {
		arguments []string
		want      int
	}{
		{[]string{"show"}, exitOK},
		{[]string{"set"}, exitUsage},
		{[]string{"set", "--lease-max", "20s", "--deletions-to", ""}, exitOK},
		{[]string{"set", "--lease-max", "20s"}, exitOK},
		{[]string{"set", "--lease-min", "21s"}, exitUsage},
		{[]string{"set", "--epoch-window", "3", "--if-version", "1"}, exitUnsafe},
	} {
		if code := run(t.Context(), append(append([]string{"cluster", "settings"}, test.arguments...), "--admin", at.Address())); code != test.want {
			t.Errorf("settings %v: exit code %d, want %d", test.arguments, code, test.want)
		}
	}
	soon(t, "the other node knows", func() error {
		in, err := other.Settings(t.Context())
		if err != nil {
			return err
		}
		for _, s := range in.Settings {
			if changed := s.Name == "lease-max"; s.Changed != changed || changed && (s.Value != "20s" || s.Default != "30s") {
				return fmt.Errorf("%+v", s)
			}
		}
		return nil
	})
}

// A pipe from an invitation that failed brings nothing; the node must not be asked to join nobody.
func TestEmptyTokenFromStandardInput(t *testing.T) {
	for _, text := range []string{"", "\n"} {
		command := newNodeJoin()
		command.SetArgs([]string{"--token", "-", "--admin", "http://127.0.0.1:1"})
		command.SetIn(strings.NewReader(text))
		command.SilenceErrors, command.SilenceUsage = true, true
		var usage *codedError
		if err := command.ExecuteContext(t.Context()); !errors.As(err, &usage) || usage.code != exitUsage {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func statusOf(err error) int {
	if failure, ok := err.(*adminclient.Error); ok {
		return failure.Status
	}
	return 0
}

// startProgram runs `parley serve` for a node that has no credentials.
func startProgram(t *testing.T, shared, id string) *adminclient.Client {
	t.Helper()
	client, _ := startProgramWith(t, shared, id, func(text string) string { return text })
	return client
}

// startProgramWith is startProgram with another configuration and more of an environment.
func startProgramWith(t *testing.T, shared, id string, configured func(text string) string, environment ...string) (*adminclient.Client, *os.Process) {
	t.Helper()
	address := make(map[string]string)
	for _, name := range []string{"cluster", "gossip", "peer", "local", "admin"} {
		address[name] = takeAddress(t)
	}
	text := fmt.Sprintf(`
domain = "a.example"
data_dir = "%[1]s/data-%[2]s"
[cluster]
listen = "%[3]s"
gossip = "%[4]s"
seal_key_file = "%[1]s/seal.key"
[peer]
listen = "%[5]s"
cert_file = "%[1]s/web.pem"
key_file = "%[1]s/web.key"
[local]
listen = "%[6]s"
cert_file = "%[1]s/web.pem"
key_file = "%[1]s/web.key"
[admin]
listen = "%[7]s"
`, shared, id, address["cluster"], address["gossip"], address["peer"], address["local"], address["admin"])
	path := filepath.Join(shared, id+".toml")
	if err := os.WriteFile(path, []byte(configured(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	program := exec.Command(executable, "serve", "--config", path)
	program.Stderr = &log
	program.Env = append(os.Environ(), environment...)
	t.Cleanup(func() {
		if program.Process == nil {
			return
		}
		_ = program.Process.Signal(syscall.SIGTERM)
		if err := program.Wait(); err != nil || t.Failed() {
			t.Errorf("%s: %v\n%s", id, err, log.String())
		}
		if strings.Contains(log.String(), "PRIVATE") {
			t.Errorf("%s logs a secret", id)
		}
	})
	client := adminclient.New("http://" + address["admin"])
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	soon(t, "the admin listener answers", func() error {
		var answered *adminclient.Error // one that is guarded answers as well
		if _, err := client.Status(t.Context()); err != nil && !errors.As(err, &answered) {
			return err
		}
		return nil
	})
	return client, program.Process
}

// portsTaken is how many ports this process has looked at.
var portsTaken atomic.Int32

// takeAddress is a loopback port on which nothing listens, over TCP and UDP, each once. It lies below those that the kernel takes for outgoing
// connections and for whoever asks for any port: on a busy machine it takes a program seconds to come to bind it.
func takeAddress(t *testing.T) string {
	t.Helper()
	const first, span = 11_000, 10_000
	for range span {
		address := fmt.Sprintf("127.0.0.1:%d", first+(os.Getpid()*61+int(portsTaken.Add(1)))%span)
		tcp, err := net.Listen("tcp", address)
		if err != nil {
			continue
		}
		udp, err := net.ListenPacket("udp", address)
		if err == nil {
			err = udp.Close()
		}
		if err = errors.Join(err, tcp.Close()); err == nil {
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

func soon(t *testing.T, what string, holds func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in vain: %s: %v", what, err)
		}
	}
}
