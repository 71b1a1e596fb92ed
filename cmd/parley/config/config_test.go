package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const complete = `
domain = "a.example"
data_dir = "data"
[cluster]
listen = "127.0.0.1:7400"
gossip = "127.0.0.1:7401"
credentials = "node"
gossip_key_file = "key"
seal_key_file = "key"
[peer]
listen = "127.0.0.1:7402"
cert_file = "key"
key_file = "key"
[local]
listen = "127.0.0.1:7403"
cert_file = "key"
key_file = "key"
[admin]
listen = "127.0.0.1:7404"
`

func write(t *testing.T, text string) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "node"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"parley.toml": text, "key": strings.Repeat("0a", 32) + "\n"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "parley.toml")
}

func TestLoad(t *testing.T) {
	path := write(t, complete)
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(path), "data"); c.DataDir != want {
		t.Errorf("data_dir = %q, want %q: relative to the file", c.DataDir, want)
	}
	if c.Cluster.Advertise != c.Cluster.Listen || c.Peer.PublicURL != "https://127.0.0.1:7402" {
		t.Errorf("defaults not filled: %+v", c)
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, test := range map[string]struct{ from, to, names string }{
		"a misspelt key":          {`data_dir =`, `data_dri =`, "data_dri"},
		"no domain":               {`domain = "a.example"`, ``, "domain"},
		"an open admin listener":  {`listen = "127.0.0.1:7404"`, `listen = "0.0.0.0:7404"`, "admin.listen"},
		"a missing file":          {`seal_key_file = "key"`, `seal_key_file = "nokey"`, "cluster.seal_key_file"},
		"no seal key":             {`seal_key_file = "key"`, ``, "cluster.seal_key_file"},
		"two seal keys":           {`seal_key_file = "key"`, "seal_key_file = \"key\"\nseal_key_command = [\"x\"]", "cluster.seal_key_file"},
		"credentials alone":       {`gossip_key_file = "key"`, ``, "cluster.credentials"},
		"a missing old seal key":  {`seal_key_file = "key"`, "seal_key_file = \"key\"\nold_seal_key_files = [\"nokey\"]", "old_seal_key_files"},
		"a port too large":        {`gossip = "127.0.0.1:7401"`, `gossip = "127.0.0.1:74010"`, "cluster.gossip"},
		"no port that is known":   {`gossip = "127.0.0.1:7401"`, `gossip = "127.0.0.1:0"`, "cluster.gossip"},
		"a seed without port":     {`gossip = "127.0.0.1:7401"`, "gossip = \"127.0.0.1:7401\"\nseeds = [\"127.0.0.1:7\", \"n2\"]", "cluster.seeds[1]"},
		"an address used twice":   {`listen = "127.0.0.1:7403"`, `listen = "127.0.0.1:7402"`, "local.listen is the address of peer.listen too"},
		"a mistake of TOML":       {`domain = "a.example"`, `domain = a.example`, "line 2, column 10"},
		"an address without port": {`gossip = "127.0.0.1:7401"`, `gossip = "127.0.0.1"`, "cluster.gossip"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Load(write(t, strings.Replace(complete, test.from, test.to, 1)))
			if err == nil || !strings.Contains(err.Error(), test.names) {
				t.Errorf("error %v does not name %s", err, test.names)
			}
		})
	}
}

// A node that is to come in by a token is told neither.
func TestLoadWithoutCredentials(t *testing.T) {
	text := strings.NewReplacer(`credentials = "node"`, ``, `gossip_key_file = "key"`, ``, `seal_key_file = "key"`, `seal_key_command = ["echo", "x"]`).Replace(complete)
	if c, err := Load(write(t, text)); err != nil || len(c.Cluster.SealCommand) != 2 {
		t.Errorf("%+v, %v", c.Cluster, err)
	}
}

// A variable that is misspelt would silently do nothing; one of somebody else's, such as those that Kubernetes makes of a service, is left alone.
func TestEnvironmentIsRefused(t *testing.T) {
	t.Setenv("PARLEY_LOCAL_SERVICE_HOST", "10.0.0.1")
	t.Setenv("PARLEY_PEER__LISTENS", "127.0.0.1:9999")
	if _, err := Load(write(t, complete)); err == nil || !strings.Contains(err.Error(), "PARLEY_PEER__LISTENS") || strings.Contains(err.Error(), "SERVICE_HOST") {
		t.Errorf("%v", err)
	}
}

func TestEnvironmentOverrides(t *testing.T) {
	t.Setenv("PARLEY_CLUSTER__LISTEN", "127.0.0.1:9999")
	t.Setenv("PARLEY_CLUSTER__SEEDS", "127.0.0.1:1,127.0.0.1:2")
	c, err := Load(write(t, complete))
	if err != nil {
		t.Fatal(err)
	}
	if c.Cluster.Listen != "127.0.0.1:9999" || len(c.Cluster.Seeds) != 2 {
		t.Errorf("cluster = %+v", c.Cluster)
	}
}
