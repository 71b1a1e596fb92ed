package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"parley/cluster/pki"
	"parley/cmd/parley/adminclient"
	"parley/cmd/parley/keyfile"
	"parley/httpapi"
	"parley/mimi"
)

// sharedFolder has what a program of startProgram needs: a seal key, and a certificate for the listeners.
func sharedFolder(t *testing.T) string {
	t.Helper()
	shared := t.TempDir()
	web, err := pki.NewWebCA("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := web.IssueServer(30*24*time.Hour, "a.example", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		keyfile.New(filepath.Join(shared, "seal.key")), pair.Save(filepath.Join(shared, "web.pem"), filepath.Join(shared, "web.key")),
		os.WriteFile(filepath.Join(shared, "ca.pem"), web.CertificatePEM(), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	return shared
}

// TestOperatorsTools runs the everyday commands against a node, from before it belongs to a cluster on.
func TestOperatorsTools(t *testing.T) {
	shared := sharedFolder(t)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(shared, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	seal, err := os.ReadFile(filepath.Join(shared, "seal.key"))
	if err != nil {
		t.Fatal(err)
	}
	configured := filepath.Join(shared, "n1.toml")
	node, process := startProgramWith(t, shared, "n1", func(text string) string { // a secret among a command's arguments is not shown
		return strings.Replace(text, fmt.Sprintf("seal_key_file = %q", shared+"/seal.key"), fmt.Sprintf("seal_key_command = [\"/bin/echo\", %q]", strings.TrimSpace(string(seal))), 1)
	}, "NOTIFY_SOCKET="+filepath.Join(shared, "notify"))
	told := make([]byte, 4096)
	if n, err := socket.Read(told); err != nil || !strings.HasPrefix(string(told[:n]), "READY=1\nSTATUS=waits for") {
		t.Errorf("systemd was told %q, %v", told[:n], err)
	}
	verb := func(want int, arguments ...string) {
		t.Helper()
		if code := run(t.Context(), append(arguments, "--admin", node.Address())); code != want {
			t.Errorf("%v: exit code %d, want %d", arguments, code, want)
		}
	}
	verb(exitError, "ready")
	verb(exitUnsafe, "doctor")
	verb(exitUnsafe, "upgrade", "check")
	verb(exitError, "check")
	secrets := beginCluster(t, node)
	verb(exitOK, "check")
	verb(exitOK, "check", "--json", "--shard", "0", "--repair")
	verb(exitError, "check", "--shard", "9")
	verb(exitOK, "upgrade", "check")
	verb(exitOK, "upgrade", "finalize")
	verb(exitOK, "ready", "--json")
	verb(exitOK, "top", "--once", "--interval", "10ms")
	verb(exitOK, "top", "--once", "--interval", "10ms", "--json")
	if code := run(t.Context(), []string{"doctor", "--admin", node.Address()}); code != exitOK && code != exitError {
		t.Errorf("doctor: exit code %d", code) // a busy machine's disk may well be a problem
	}
	for arguments, want := range map[string]int{
		"config validate " + configured: exitOK, "fsck " + shared + "/data-n1": exitUnsafe, "fsck " + shared: exitError, "config validate /nonexistent": exitError,
	} {
		if code := run(t.Context(), strings.Fields(arguments)); code != want {
			t.Errorf("%s: exit code %d, want %d", arguments, code, want)
		}
	}
	reloads(t, node, process, configured)
	bundle := filepath.Join(shared, "bundle.tar.gz")
	verb(exitOK, "debug", "bundle", "--out", bundle)
	verb(exitError, "debug", "bundle", "--out", bundle) // never over another
	holdsNoSecret(t, bundle, append(secrets, secretsIn(t, shared)...))
}

// beginCluster makes a cluster of one node and lets all kinds of secrets come into being, which it returns.
func beginCluster(t *testing.T, node *adminclient.Client) (secrets [][]byte) {
	t.Helper()
	domain, err := mimi.ParseProvider("a.example")
	if err != nil {
		t.Fatal(err)
	}
	seed := bytes.Repeat([]byte{0x5a, 0xc3}, 16)
	init := httpapi.InitRequest{Domains: []mimi.Provider{domain}, Shards: 2, Replicas: 1, DevelopmentHubKeySeed: hex.EncodeToString(seed)}
	if _, err := node.Init(t.Context(), init); err != nil {
		t.Fatal(err)
	}
	soon(t, "the node serves", func() error {
		readiness, err := node.Ready(t.Context())
		if err == nil && !readiness.Ready {
			err = fmt.Errorf("%v", readiness.Reasons)
		}
		return err
	})
	token, err := node.CreateToken(t.Context(), httpapi.TokenRequest{Name: "backend", Scopes: []string{"admin"}})
	if err != nil {
		t.Fatal(err)
	}
	invitation, err := node.Invite(t.Context(), httpapi.InviteRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{seed, []byte(token.Secret), []byte(invitation.Token)}
}

// secretsIn are the keys in the files of a folder: of PEM blocks what is in them, of key files the key.
func secretsIn(t *testing.T, folder string) (secrets [][]byte) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(folder), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || strings.Contains(path, "/state/") || strings.Contains(path, "/log/") {
			return err
		}
		content, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			return err
		}
		for _, block := range strings.Split(string(content), "-----BEGIN ")[1:] {
			if head, rest, found := strings.Cut(block, "-----\n"); found && strings.Contains(head, "PRIVATE KEY") {
				body, _, _ := strings.Cut(rest, "-----END")
				der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
				if err != nil {
					return err
				}
				secrets = append(secrets, der[len(der)-32:])
			}
		}
		if raw, err := hex.DecodeString(strings.TrimSpace(string(content))); err == nil && len(raw) == 32 {
			secrets = append(secrets, raw)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(secrets) < 4 { // the seal key, the listeners', the node's, gossip's
		t.Fatalf("only %d secrets were found in %s", len(secrets), folder)
	}
	return secrets
}

// holdsNoSecret looks for secrets in every file of a bundle, in the forms in which they are written.
func holdsNoSecret(t *testing.T, path string, secrets [][]byte) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	packed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]bool)
	for archive := tar.NewReader(packed); ; {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(head.Name, "parley-debug/")] = true
		for i, secret := range secrets {
			for _, form := range []string{
				string(secret), hex.EncodeToString(secret), base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
			} {
				if bytes.Contains(bytes.ToLower(content), bytes.ToLower([]byte(form))) {
					t.Errorf("%s holds secret %d", head.Name, i)
				}
			}
		}
		if bytes.Contains(content, []byte("PRIVATE KEY")) {
			t.Errorf("%s holds a private key", head.Name)
		}
	}
	for _, one := range bundled {
		if !files[one.name] {
			t.Errorf("the bundle lacks %s", one.name)
		}
	}
	if !files["jobs.json"] || !files["audit.json"] {
		t.Error("the bundle does not say what the cluster is about, and who wanted it")
	}
}

// reloads changes a node's configuration and tells it so.
func reloads(t *testing.T, node *adminclient.Client, process *os.Process, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	change := func(text string) {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), process.Signal(syscall.SIGHUP)); err != nil {
			t.Fatal(err)
		}
	}
	logs := func(want string) {
		soon(t, "the log says: "+want, func() error {
			said, err := node.Fetch(t.Context(), "/v1/node/logs")
			if err == nil && !strings.Contains(string(said), want) {
				err = errors.New("not yet")
			}
			return err
		})
	}
	change("domian = 1\n" + string(text))
	logs("is no key that there is; domain is")
	change(strings.Replace(string(text), "[cluster]", "[cluster]\nheld_items = 7", 1) + "\n[log]\nlevel = \"warn\"\n")
	logs("keys=[cluster.held_items]")
	config, err := node.Fetch(t.Context(), "/v1/node/config")
	if err != nil || !strings.Contains(string(config), `"log.level":"warn"`) || !strings.Contains(string(config), `"cluster.held_items":100000`) {
		t.Errorf("in force is %s, %v", config, err)
	}
}

// TestGuardedAdminListener: an admin listener that is not for this machine alone takes nobody without a certificate; a context has one.
func TestGuardedAdminListener(t *testing.T) {
	shared := sharedFolder(t)
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("PARLEY_ADMIN", "")
	t.Setenv("PARLEY_CONTEXT", "")
	file := func(name string) string { return filepath.Join(shared, name) }
	guard := fmt.Sprintf("cert_file = %q\nkey_file = %q\nclient_ca_file = %q\n", file("web.pem"), file("web.key"), file("ca.pem"))
	plain, _ := startProgramWith(t, shared, "n1", func(text string) string { return text + guard })
	admin := strings.Replace(plain.Address(), "http://", "https://", 1)
	verb := func(want int, arguments ...string) {
		t.Helper()
		if code := run(t.Context(), arguments); code != want {
			t.Errorf("%v: exit code %d, want %d", arguments, code, want)
		}
	}
	verb(exitUsage, "context", "add", "n1", "--admin", "nowhere")
	verb(exitUsage, "context", "add", "n1", "--admin", admin)
	verb(exitUsage, "context", "add", "n1", "--admin", admin, "--cert", file("web.pem"))
	verb(exitOK, "context", "add", "n1", "--admin", admin, "--cert", file("web.pem"), "--key", file("web.key"), "--ca", file("ca.pem"))
	verb(exitOK, "context", "add", "other", "--admin", "http://127.0.0.1:1")
	verb(exitUsage, "context", "use", "nobody")
	verb(exitUsage, "cluster", "status", "--context", "nobody")
	verb(exitOK, "cluster", "status", "--context", "n1")
	verb(exitError, "cluster", "status", "--context", "other")
	verb(exitError, "cluster", "status", "--admin", plain.Address())
	verb(exitError, "cluster", "status", "--admin", admin)
	verb(exitUsage, "cluster", "status", "--admin", admin, "--context", "n1")
	verb(exitOK, "context", "use", "n1")
	verb(exitOK, "cluster", "status")
	t.Setenv("PARLEY_CONTEXT", "other")
	verb(exitError, "cluster", "status")
	t.Setenv("PARLEY_ADMIN", plain.Address())
	verb(exitError, "cluster", "status")
	verb(exitOK, "cluster", "status", "--context", "n1")
	verb(exitOK, "context", "list", "--json")
	verb(exitOK, "context", "remove", "n1")
	verb(exitOK, "context", "remove", "n1")
	verb(exitUsage, "cluster", "status", "--context", "n1")
}

// Everything that is wrong with a configuration is named, at once and by its key.
func TestConfigValidate(t *testing.T) {
	shared := sharedFolder(t)
	path := filepath.Join(shared, "wrong.toml")
	text := `
domian = "a.example"
data_dir = "data"
[cluster]
listen = "127.0.0.1"
gossip = "127.0.0.1:1"
seal_key_file = "nowhere"
held_items = 0
[peer]
listen = "127.0.0.1:2"
cert_file = "web.pem"
key_file = "web.key"
[local]
listen = "127.0.0.1:3"
cert_file = "web.pem"
key_file = "web.key"
[admin]
listen = "0.0.0.0:4"
[log]
level = "loud"
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	said := output(t, exitError, "config", "validate", "--json", path)
	for _, key := range []string{"domian is no key that there is; domain is", "domain ", "cluster.listen", "cluster.seal_key_file", "cluster.held_items", "admin.listen", "log.level"} {
		if !strings.Contains(said, key) {
			t.Errorf("%q is not named in %s", key, said)
		}
	}
	right := strings.NewReplacer("domian", "domain", `"127.0.0.1"`, `"0.0.0.0:5"`, "nowhere", "short.key", "held_items = 0", "", "0.0.0.0:4", "127.0.0.1:4", "loud", "info").Replace(text)
	err := errors.Join(os.WriteFile(path, []byte(strings.Replace(right, "a.example", "b.example", 1)), 0o600), os.WriteFile(filepath.Join(shared, "short.key"), []byte("00"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	said = output(t, exitError, "config", "validate", path)
	for _, key := range []string{"cluster.seal_key_file: ", "cluster.advertise: 0.0.0.0:5 names no machine", "peer.cert_file: the certificate is not for b.example"} {
		if !strings.Contains(said, key) {
			t.Errorf("%q is not named in %s", key, said)
		}
	}
}

// output is what a command prints.
func output(t *testing.T, want int, arguments ...string) string {
	t.Helper()
	root := newRoot()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(arguments)
	if err := root.ExecuteContext(t.Context()); (err == nil) != (want == exitOK) {
		t.Errorf("%v: %v", arguments, err)
	}
	return out.String()
}
