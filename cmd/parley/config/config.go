// Package config reads and checks a node's configuration file.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"
	gotoml "github.com/pelletier/go-toml/v2"

	"parley/fsm/meta"
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
	Listen    string `koanf:"listen"`        // host:port for Raft and RPC, TLS 1.3 mutual
	Advertise string `koanf:"advertise"`     // host:port under which the other nodes reach it; Listen by default
	Gossip    string `koanf:"gossip"`        // host:port for gossip, UDP and TCP
	SealKey   string `koanf:"seal_key_file"` // 32 bytes, hexadecimal; seals the hub's keys in the replicated state
	// SealCommand prints the seal key instead, in hexadecimal; the program and its arguments, without a shell.
	SealCommand []string `koanf:"seal_key_command"`
	OldSealKeys []string `koanf:"old_seal_key_files"` // keys that it replaces, until `parley cluster reseal`

	// Credentials and GossipKey are for certificates that are made elsewhere. Without them the node gets both by
	// `parley cluster init` or `parley node join --token`, and keeps them in its data directory.
	Credentials string   `koanf:"credentials"`     // folder with node.pem and cluster-ca.pem, as `parley certs node` writes it
	GossipKey   string   `koanf:"gossip_key_file"` // 32 bytes, hexadecimal; the same on every node
	Seeds       []string `koanf:"seeds"`           // gossip addresses of other nodes
	LogStore    string   `koanf:"log_store"`       // "pebble" or "bolt"
	// Zone is the failure domain that the node is in: nodes that may fail together have the same. Replicas of a shard are spread over zones.
	Zone string `koanf:"zone"`
	// Delivery says who sends what waits for peers: "followers", or "leader" alone, which is for measurements.
	Delivery string `koanf:"delivery"`
	// What the node holds of bulk submissions on its own disk while their shards have no leader; together, at most.
	HeldBytes int64 `koanf:"held_bytes"` // 64 MiB by default
	HeldItems int   `koanf:"held_items"` // 100,000 by default
}

// Bounds of what a node may hold. It keeps the place of each item in memory.
const (
	heldBytesMost = 16 << 30
	heldItemsMost = 10_000_000
)

// Listener is an HTTPS front.
type Listener struct {
	Listen    string `koanf:"listen"`
	PublicURL string `koanf:"public_url"` // https://host[:port] that the directory document names; https://Listen by default
	CertFile  string `koanf:"cert_file"`
	KeyFile   string `koanf:"key_file"`
}

// Admin is the operator's front: plaintext on loopback, or TLS with client certificates where all three files are named.
type Admin struct {
	Listen   string `koanf:"listen"`
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
	ClientCA string `koanf:"client_ca_file"` // who has a certificate of it may do everything
}

// Guarded reports whether the listener asks for client certificates.
func (a Admin) Guarded() bool { return a.CertFile != "" && a.KeyFile != "" && a.ClientCA != "" }

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
		return Config{}, fmt.Errorf("configuration %s: %w", path, placed(err))
	}
	fromEnvironment := env.Provider(".", env.Opt{Prefix: "PARLEY_", TransformFunc: environmentKey})
	if err := k.Load(fromEnvironment, nil); err != nil {
		return Config{}, fmt.Errorf("configuration from the environment: %w", err)
	}
	c := Config{Log: Log{Level: "info", Format: "text"}, Cluster: Cluster{
		LogStore: "pebble", Delivery: "followers", HeldBytes: 64 << 20, HeldItems: 100_000,
	}}
	err := k.Unmarshal("", &c) // of what can be read the rest is checked all the same
	c.fill(filepath.Dir(path))
	if err := errors.Join(refuseUnknown(k), misspelt(os.Environ()), err, c.Validate()); err != nil {
		return Config{}, fmt.Errorf("configuration %s: %w", path, err)
	}
	return c, nil
}

// placed says where in the file a mistake of TOML is.
func placed(err error) error {
	var wrong *gotoml.DecodeError
	if !errors.As(err, &wrong) {
		return err
	}
	line, column := wrong.Position()
	return fmt.Errorf("line %d, column %d: %w", line, column, err)
}

// misspelt refuses variables that are written as keys of a section and are none. Others that begin with PARLEY_ belong to somebody else.
func misspelt(environment []string) error {
	var wrong []error
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		rest, ours := strings.CutPrefix(name, "PARLEY_")
		if key := strings.ReplaceAll(strings.ToLower(rest), "__", "."); ours && strings.Contains(rest, "__") && !slices.Contains(keys(), key) {
			wrong = append(wrong, fmt.Errorf("%s in the environment: %s is no key that there is", name, key))
		}
	}
	return errors.Join(wrong...)
}

func environmentKey(name, value string) (string, any) {
	key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "PARLEY_")), "__", ".")
	if !slices.Contains(keys(), key) {
		return "", nil
	}
	if slices.Contains([]string{"cluster.seeds", "cluster.seal_key_command", "cluster.old_seal_key_files"}, key) {
		return key, strings.Split(value, ",")
	}
	return key, value
}

func (c *Config) fill(folder string) {
	for _, name := range []*string{
		&c.DataDir, &c.Cluster.Credentials, &c.Cluster.GossipKey, &c.Cluster.SealKey,
		&c.Peer.CertFile, &c.Peer.KeyFile, &c.Local.CertFile, &c.Local.KeyFile,
		&c.Admin.CertFile, &c.Admin.KeyFile, &c.Admin.ClientCA,
	} {
		if *name != "" && !filepath.IsAbs(*name) {
			*name = filepath.Join(folder, *name)
		}
	}
	for i, name := range c.Cluster.OldSealKeys {
		if !filepath.IsAbs(name) {
			c.Cluster.OldSealKeys[i] = filepath.Join(folder, name)
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
	if c.Domain == "" {
		bad("domain", "is missing")
	} else if _, err := mimi.ParseProvider(c.Domain); err != nil {
		bad("domain", fmt.Sprintf("is %q, and no %v", c.Domain, err))
	}
	if c.DataDir == "" {
		bad("data_dir", "is missing")
	}
	for key, address := range map[string]string{
		"cluster.listen": c.Cluster.Listen, "cluster.advertise": c.Cluster.Advertise, "cluster.gossip": c.Cluster.Gossip,
		"peer.listen": c.Peer.Listen, "local.listen": c.Local.Listen, "admin.listen": c.Admin.Listen,
	} {
		if !hostPort(address) {
			bad(key, fmt.Sprintf("must be host:port, is %q", address))
		}
	}
	for i, seed := range c.Cluster.Seeds {
		if !hostPort(seed) {
			bad(fmt.Sprintf("cluster.seeds[%d]", i), fmt.Sprintf("must be host:port, is %q", seed))
		}
	}
	for key, other := range c.sharedListeners() {
		bad(key, "is the address of "+other+" too")
	}
	if host, _, err := net.SplitHostPort(c.Admin.Listen); err == nil && !loopback(host) && !c.Admin.Guarded() {
		bad("admin.listen", "must be on loopback, or admin.cert_file, admin.key_file and admin.client_ca_file be there: whoever reaches it may do everything")
	}
	if !c.Admin.Guarded() && c.Admin.CertFile+c.Admin.KeyFile+c.Admin.ClientCA != "" {
		bad("admin.cert_file,", "admin.key_file and admin.client_ca_file go together: all, or none")
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		bad("log.level", fmt.Sprintf("must be debug, info, warn or error, is %q", c.Log.Level))
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format", fmt.Sprintf("must be \"text\" or \"json\", is %q", c.Log.Format))
	}
	if u, err := url.Parse(c.Peer.PublicURL); err != nil || u.Scheme != "https" || u.Host == "" || u.Path != "" {
		bad("peer.public_url", fmt.Sprintf("must be https://host[:port], is %q", c.Peer.PublicURL))
	}
	if c.Cluster.LogStore != "pebble" && c.Cluster.LogStore != "bolt" {
		bad("cluster.log_store", fmt.Sprintf("must be \"pebble\" or \"bolt\", is %q", c.Cluster.LogStore))
	}
	if reason := meta.ZoneFault(c.Cluster.Zone); reason != "" {
		bad("cluster.zone", reason)
	}
	if c.Cluster.Delivery != "followers" && c.Cluster.Delivery != "leader" {
		bad("cluster.delivery", fmt.Sprintf("must be \"followers\" or \"leader\", is %q", c.Cluster.Delivery))
	}
	if c.Cluster.HeldBytes < 1 || c.Cluster.HeldBytes > heldBytesMost {
		bad("cluster.held_bytes", fmt.Sprintf("must be 1 to %d, is %d", int64(heldBytesMost), c.Cluster.HeldBytes))
	}
	if c.Cluster.HeldItems < 1 || c.Cluster.HeldItems > heldItemsMost {
		bad("cluster.held_items", fmt.Sprintf("must be 1 to %d, is %d", heldItemsMost, c.Cluster.HeldItems))
	}
	if (c.Cluster.SealKey == "") == (len(c.Cluster.SealCommand) == 0) {
		bad("cluster.seal_key_file", "or cluster.seal_key_command must be there, and not both")
	}
	if (c.Cluster.Credentials == "") != (c.Cluster.GossipKey == "") {
		bad("cluster.credentials", "and cluster.gossip_key_file go together: both, or neither where the cluster gives them")
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
	files := map[string]string{
		"peer.cert_file": c.Peer.CertFile, "peer.key_file": c.Peer.KeyFile,
		"local.cert_file": c.Local.CertFile, "local.key_file": c.Local.KeyFile,
	}
	for key, name := range map[string]string{
		"admin.cert_file": c.Admin.CertFile, "admin.key_file": c.Admin.KeyFile, "admin.client_ca_file": c.Admin.ClientCA,
		"cluster.credentials": c.Cluster.Credentials, "cluster.gossip_key_file": c.Cluster.GossipKey, "cluster.seal_key_file": c.Cluster.SealKey,
	} {
		if name != "" {
			files[key] = name
		}
	}
	for i, name := range c.Cluster.OldSealKeys {
		files[fmt.Sprintf("cluster.old_seal_key_files[%d]", i)] = name
	}
	return files
}

// hostPort reports whether an address can be listened at or called. Port 0 is not among those, since nobody would know which it becomes.
func hostPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	number, wrong := strconv.ParseUint(port, 10, 16)
	return err == nil && wrong == nil && number > 0
}

// sharedListeners are the keys of listeners that have the address of another, each with that other's.
func (c Config) sharedListeners() map[string]string {
	shared, seen := make(map[string]string), make(map[string]string)
	for _, l := range [][2]string{
		{"cluster.listen", c.Cluster.Listen}, {"cluster.gossip", c.Cluster.Gossip}, {"peer.listen", c.Peer.Listen}, {"local.listen", c.Local.Listen}, {"admin.listen", c.Admin.Listen},
	} {
		if other, taken := seen[l[1]]; taken && l[1] != "" {
			shared[l[0]] = other
		} else {
			seen[l[1]] = l[0]
		}
	}
	return shared
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
