// Package config reads and checks a node's configuration file.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"parley/mimi"
)

// Config is what one node is told by its operator. What the whole cluster has to agree on (limits, peers, tokens) is not
// here: that lives in the meta group.
type Config struct {
	Domain  string   `koanf:"domain"`   // the provider's domain, as in mimi://domain/u/…
	DataDir string   `koanf:"data_dir"` // made with mode 0700
	Cluster Cluster  `koanf:"cluster"`
	Peer    Listener `koanf:"peer"`
	Local   Listener `koanf:"local"`
	Admin   Admin    `koanf:"admin"`
	Log     Log      `koanf:"log"`
}

// Cluster is how the nodes of one cluster meet. The node's ID and the cluster's stand in the node's certificate; an ID is used once: a
// node that lost its disk comes back under a new one.
type Cluster struct {
	Listen      string   `koanf:"listen"`          // host:port for Raft and RPC, TLS 1.3 mutual
	Advertise   string   `koanf:"advertise"`       // host:port under which the other nodes reach it; Listen by default
	Credentials string   `koanf:"credentials"`     // folder with node.pem and cluster-ca.pem, as `parley certs node` writes it
	Gossip      string   `koanf:"gossip"`          // host:port for gossip, UDP and TCP
	GossipKey   string   `koanf:"gossip_key_file"` // 32 bytes, hexadecimal; the same on every node
	SealKey     string   `koanf:"seal_key_file"`   // 32 bytes, hexadecimal; seals the hub's keys in the replicated state
	Seeds       []string `koanf:"seeds"`           // gossip addresses of other nodes
	LogStore    string   `koanf:"log_store"`       // "pebble" or "bolt"
}

// Listener is an HTTPS front.
type Listener struct {
	Listen    string `koanf:"listen"`
	PublicURL string `koanf:"public_url"` // https://host[:port] that the directory document names; https://Listen by default
	CertFile  string `koanf:"cert_file"`
	KeyFile   string `koanf:"key_file"`
}

// Admin is the operator's front: plaintext on loopback only.
type Admin struct {
	Listen string `koanf:"listen"`
}

// Log says what is logged, to standard error.
type Log struct {
	Level  string `koanf:"level"`  // debug, info, warn, error
	Format string `koanf:"format"` // text, json
}

// Load reads a TOML file and lets PARLEY_SECTION__KEY variables override it: PARLEY_CLUSTER__LISTEN is cluster.listen. Relative
// file names count from the file's own folder. Unknown keys are refused, since a misspelt one would silently do nothing.
func Load(path string) (Config, error) {
	k := koanf.New(".")
	if err := k.Load(file.Provider(path), toml.Parser()); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	fromEnvironment := env.Provider(".", env.Opt{Prefix: "PARLEY_", TransformFunc: environmentKey})
	if err := k.Load(fromEnvironment, nil); err != nil {
		return Config{}, fmt.Errorf("configuration from the environment: %w", err)
	}
	if err := refuseUnknown(k); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	c := Config{Log: Log{Level: "info", Format: "text"}, Cluster: Cluster{LogStore: "pebble"}}
	if err := k.Unmarshal("", &c); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	c.fill(filepath.Dir(path))
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

func environmentKey(name, value string) (string, any) {
	key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "PARLEY_")), "__", ".")
	if !slices.Contains(keys(), key) {
		return "", nil
	}
	if key == "cluster.seeds" {
		return key, strings.Split(value, ",")
	}
	return key, value
}

func (c *Config) fill(folder string) {
	for _, name := range []*string{
		&c.DataDir, &c.Cluster.Credentials, &c.Cluster.GossipKey, &c.Cluster.SealKey,
		&c.Peer.CertFile, &c.Peer.KeyFile, &c.Local.CertFile, &c.Local.KeyFile,
	} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(folder, *name)
		}
	}
	if c.Cluster.Advertise == "" {
		c.Cluster.Advertise = c.Cluster.Listen
	}
	if c.Peer.PublicURL == "" {
		c.Peer.PublicURL = "https://" + c.Peer.Listen
	}
}

// Validate names every key that is missing or wrong, all at once.
func (c Config) Validate() error {
	var wrong []error
	bad := func(key, reason string) { wrong = append(wrong, fmt.Errorf("%s %s", key, reason)) }
	if _, err := mimi.ParseProvider(c.Domain); err != nil {
		bad("domain", err.Error())
	}
	if c.DataDir == "" {
		bad("data_dir", "is missing")
	}
	for key, address := range map[string]string{
		"cluster.listen": c.Cluster.Listen, "cluster.advertise": c.Cluster.Advertise, "cluster.gossip": c.Cluster.Gossip,
		"peer.listen": c.Peer.Listen, "local.listen": c.Local.Listen, "admin.listen": c.Admin.Listen,
	} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			bad(key, fmt.Sprintf("must be host:port, is %q", address))
		}
	}
	if host, _, err := net.SplitHostPort(c.Admin.Listen); err == nil && !loopback(host) {
		bad("admin.listen", "must be on loopback: the admin listener has no authentication of its own")
	}
	if u, err := url.Parse(c.Peer.PublicURL); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" {
		bad("peer.public_url", fmt.Sprintf("must be https://host[:port], is %q", c.Peer.PublicURL))
	}
	if c.Cluster.LogStore != "pebble" && c.Cluster.LogStore != "bolt" {
		bad("cluster.log_store", fmt.Sprintf("must be \"pebble\" or \"bolt\", is %q", c.Cluster.LogStore))
	}
	for key, name := range c.files() {
		if name == "" {
			bad(key, "is missing")
		} else if _, err := os.Stat(name); err != nil {
			bad(key, err.Error())
		}
	}
	slices.SortFunc(wrong, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(wrong...)
}

func (c Config) files() map[string]string {
	return map[string]string{
		"cluster.credentials":     c.Cluster.Credentials,
		"cluster.gossip_key_file": c.Cluster.GossipKey, "cluster.seal_key_file": c.Cluster.SealKey,
		"peer.cert_file": c.Peer.CertFile, "peer.key_file": c.Peer.KeyFile,
		"local.cert_file": c.Local.CertFile, "local.key_file": c.Local.KeyFile,
	}
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
