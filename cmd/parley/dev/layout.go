package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"parley/cluster/pki"
	"parley/cmd/parley/keyfile"
)

// certificateLifetime is that of all development certificates.
const certificateLifetime = 30 * 24 * time.Hour

// node is one process of a provider with its addresses, all on loopback.
type node struct {
	ID                                  string
	Folder                              string
	Domain                              string
	Cluster, Gossip, Peer, Local, Admin string // host:port
	Seeds                               []string
	Delivery                            string // cluster.delivery; empty for its default

	process *process
}

func (n *node) adminURL() string { return "http://" + n.Admin }
func (n *node) localURL() string {
	return "https://" + strings.Replace(n.Local, "127.0.0.1", "localhost", 1)
}

// PeerURL is what the directory document of this node names.
func (n *node) PeerURL() string {
	return "https://" + strings.Replace(n.Peer, "127.0.0.1", "localhost", 1)
}

func (n *node) directoryURL() string { return n.PeerURL() + "/.well-known/mimi-protocol-directory" }

// provider is a messaging provider with its cluster.
type provider struct {
	domain string
	folder string
	nodes  []*node
	token  string // bearer token of its backend; set once the cluster runs

	executable string
	delivery   string
	ca         pki.CA
	web        pki.WebCA
	ports      *ports
	made       int // nodes, ever
}

// layout is what stands under the development folder.
//
//	ca.pem, web-ca/            the development web CA, which everybody trusts
//	a.example/                 cluster-ca/, gossip.key, seal.key, token
//	a.example/n1/              parley.toml, node/ (cluster credentials), web.pem, web.key, data/, node.log
type layout struct {
	folder    string
	caPEM     []byte
	providers []*provider
}

// marker tells a folder that this program made from one that it must not empty.
const marker = ".parley-dev"

// newLayout empties the folder, if it made it before, and writes certificates, keys and configurations for providers with so many
// nodes each, in the order given.
func newLayout(folder, executable string, sizes ...providerSize) (*layout, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if err := prepare(folder); err != nil {
		return nil, err
	}
	web, err := pki.NewWebCA("Parley development CA")
	if err != nil {
		return nil, err
	}
	if err := web.Save(filepath.Join(folder, "web-ca")); err != nil {
		return nil, err
	}
	l := &layout{folder: folder, caPEM: web.CertificatePEM()}
	if err := os.WriteFile(l.caFile(), l.caPEM, 0o600); err != nil {
		return nil, err
	}
	ports := newPorts()
	for _, size := range sizes {
		p, err := newProvider(folder, executable, size, web, ports)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", size.domain, err)
		}
		l.providers = append(l.providers, p)
	}
	return l, nil
}

type providerSize struct {
	domain   string
	nodes    int
	delivery string // by whom; empty for the default
}

func (l *layout) caFile() string { return filepath.Join(l.folder, "ca.pem") }

func prepare(folder string) error {
	entries, err := os.ReadDir(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(entries) > 0:
		if _, err := os.Stat(filepath.Join(folder, marker)); err != nil {
			return fmt.Errorf("%s is not empty and was not made by 'parley dev'; name another folder with --dir", folder)
		}
		if err := os.RemoveAll(folder); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, marker), []byte("made by parley dev; emptied at every start\n"), 0o600)
}

func newProvider(folder, executable string, size providerSize, web pki.WebCA, ports *ports) (*provider, error) {
	p := &provider{
		domain: size.domain, folder: filepath.Join(folder, size.domain), executable: executable, delivery: size.delivery, web: web, ports: ports,
	}
	if err := os.MkdirAll(p.folder, 0o700); err != nil {
		return nil, err
	}
	var err error
	if p.ca, err = pki.NewCA("dev-" + strings.ReplaceAll(size.domain, ".", "-")); err != nil {
		return nil, err
	}
	if err := p.ca.Save(filepath.Join(p.folder, "cluster-ca")); err != nil {
		return nil, err
	}
	for _, name := range []string{"gossip.key", "seal.key"} {
		if err := keyfile.New(filepath.Join(p.folder, name)); err != nil {
			return nil, err
		}
	}
	for range size.nodes {
		if _, err := p.add(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// add makes what one node more needs, under an ID that no node has had. It does not run yet, and belongs to no cluster.
func (p *provider) add() (*node, error) {
	p.made++
	n := &node{ID: fmt.Sprintf("n%d", p.made), Domain: p.domain, Delivery: p.delivery}
	for _, other := range p.nodes {
		n.Seeds = append(n.Seeds, other.Gossip)
	}
	n.Folder = filepath.Join(p.folder, n.ID)
	if err := n.write(p.ca, p.web, p.ports); err != nil {
		return nil, err
	}
	n.process = newProcess(p.domain+" "+n.ID, p.executable, n.Folder)
	p.nodes = append(p.nodes, n)
	return n, nil
}

func (n *node) write(ca pki.CA, web pki.WebCA, ports *ports) error {
	for _, address := range []*string{&n.Cluster, &n.Gossip, &n.Peer, &n.Local, &n.Admin} {
		port, err := ports.take()
		if err != nil {
			return err
		}
		*address = loopback(port)
	}
	credentials, err := pki.IssueNode(ca, n.ID, []string{"localhost", "127.0.0.1"}, certificateLifetime)
	if err != nil {
		return err
	}
	if err := credentials.Save(filepath.Join(n.Folder, "node")); err != nil {
		return err
	}
	certificate, err := web.IssueServer(certificateLifetime, n.Domain, "localhost", "127.0.0.1")
	if err != nil {
		return err
	}
	if err := certificate.Save(filepath.Join(n.Folder, "web.pem"), filepath.Join(n.Folder, "web.key")); err != nil {
		return err
	}
	var text strings.Builder
	if err := configuration.Execute(&text, n); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(n.Folder, "parley.toml"), []byte(text.String()), 0o600)
}

var configuration = template.Must(template.New("parley.toml").Parse(`# One node of a development cluster; 'parley dev' wrote it.
domain   = "{{.Domain}}"
data_dir = "data"

[cluster]
listen          = "{{.Cluster}}"
gossip          = "{{.Gossip}}"
seeds           = [{{range $i, $s := .Seeds}}{{if $i}}, {{end}}"{{$s}}"{{end}}]
credentials     = "node"
gossip_key_file = "../gossip.key"
seal_key_file   = "../seal.key"
{{with .Delivery}}delivery        = "{{.}}"
{{end}}
[peer]
listen     = "{{.Peer}}"
public_url = "{{.PeerURL}}"
cert_file  = "web.pem"
key_file   = "web.key"

[local]
listen    = "{{.Local}}"
cert_file = "web.pem"
key_file  = "web.key"

[admin]
listen = "{{.Admin}}"
`))
