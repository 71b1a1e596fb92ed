package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/cluster/pki"
	"parley/cmd/parley/keyfile"
)

// Lifetimes of what `parley certs` issues.
const (
	nodeCertLifetime   = 365 * 24 * time.Hour
	serverCertLifetime = 90 * 24 * time.Hour
)

func newCerts() *cobra.Command {
	certs := &cobra.Command{
		Use:   "certs",
		Short: "See and revoke node certificates; make certificates and keys by hand",
		Long: "The cluster port trusts only the cluster's own CA, which 'parley cluster init' makes and 'parley node invite' uses. To\n" +
			"keep a CA outside of the cluster, make it with 'certs ca', keep its folder off the nodes, and issue a folder of\n" +
			"credentials for each node with 'certs node'. Certificates for the peer and local listeners come from a public CA;\n" +
			"for a trial, 'certs web-ca' and 'certs server' make them.",
	}
	certs.AddCommand(newCertsList(), newCertsRevoke(), newCertsCA(), newCertsNode(), newCertsKey(), newCertsWebCA(), newCertsServer())
	return certs
}

func newCertsList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List the nodes' certificates",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			certificates, err := o.client().Certificates(command.Context())
			if err != nil {
				return coded(err)
			}
			return o.print(command.OutOrStdout(), certificates, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "NODE\tSERIAL\tUNTIL\tBARRED")
				for _, c := range certificates {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", c.Node, c.Serial, c.NotAfter.Format(time.RFC3339), c.Barred)
				}
			})
		},
	}
	return o.flags(command)
}

func newCertsRevoke() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "revoke NODE",
		Short: "Shut a node out: no other node talks to it any more",
		Long: "Every certificate of the node is revoked, also one that the cluster did not make. To take the node back, empty its\n" +
			"folder of credentials (data_dir/admission), and let it join by a token that was made for its ID.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			return coded(o.client().RevokeCertificates(command.Context(), names[0]))
		},
	}
	return o.flags(command)
}

func newCertsCA() *cobra.Command {
	var o operation
	var dir, clusterID string
	command := &cobra.Command{
		Use:   "ca --dir DIR",
		Short: "Make the private CA of a new cluster, or with --cluster-id the next one of a cluster that there is",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if clusterID == "" {
				var err error
				if clusterID, err = randomHex(8); err != nil {
					return err
				}
			}
			ca, err := pki.NewCA(clusterID)
			if err != nil {
				return err
			}
			if err := ca.Save(dir); err != nil {
				return err
			}
			made := map[string]string{"dir": dir, "clusterId": clusterID, "fingerprint": fmt.Sprintf("%x", ca.Fingerprint())}
			return o.print(command.OutOrStdout(), made, func(w *tabwriter.Writer) {
				fmt.Fprintf(w, "cluster %s, CA fingerprint %x\n", clusterID, ca.Fingerprint())
			})
		},
	}
	o.jsonFlag(command)
	command.Flags().StringVar(&dir, "dir", "", "folder for ca.pem and ca.key; made with mode 0700")
	command.Flags().StringVar(&clusterID, "cluster-id", "", "the cluster's ID; made at random where not given")
	return required(command, "dir")
}

func newCertsNode() *cobra.Command {
	var o operation
	var caDir, id, out string
	var hosts, trusted []string
	command := &cobra.Command{
		Use:   "node --ca DIR --id NODE --out DIR",
		Short: "Issue the credentials of one node",
		Long: "The ID names the node for ever. A node that lost its disk comes back under a new one. To replace the CA itself, issue three times,\n" +
			"each time for all nodes, which are restarted one after the other: by the old CA, with --trust the new one; by the new\n" +
			"one, with --trust the old one; by the new one alone.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ca, err := pki.LoadCA(caDir)
			if err != nil {
				return err
			}
			credentials, err := pki.IssueNode(ca, id, hosts, nodeCertLifetime)
			if err != nil {
				return err
			}
			for _, name := range trusted {
				pem, err := os.ReadFile(name)
				if err == nil {
					credentials, err = credentials.Trusting(pem)
				}
				if err != nil {
					return fmt.Errorf("--trust %s: %w", name, err)
				}
			}
			if err := credentials.Save(out); err != nil {
				return err
			}
			return o.made(command, out)
		},
	}
	o.jsonFlag(command)
	command.Flags().StringSliceVar(&trusted, "trust", nil, "certificate of another CA whose nodes are accepted as well (repeatable)")
	command.Flags().StringVar(&caDir, "ca", "", "the CA's folder")
	command.Flags().StringVar(&id, "id", "", "the node's ID")
	command.Flags().StringVar(&out, "out", "", "folder for node.pem (certificate and key) and cluster-ca.pem")
	command.Flags().StringSliceVar(&hosts, "host", nil, "a name or address of the node (repeatable; for people and tools)")
	return required(command, "ca", "id", "out")
}

func newCertsKey() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "key FILE",
		Short: "Make a key file for gossip or for sealing (32 random bytes)",
		Long:  "All nodes of a cluster share one gossip key and one seal key. An existing file is never replaced.",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			if err := keyfile.New(names[0]); err != nil {
				return err
			}
			return o.made(command, names[0])
		},
	}
	return o.jsonFlag(command)
}

func newCertsWebCA() *cobra.Command {
	var o operation
	var dir string
	command := &cobra.Command{
		Use:   "web-ca --dir DIR",
		Short: "Make a CA for trial certificates of the listeners, or for clients of the admin listener",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ca, err := pki.NewWebCA("Parley trial CA")
			if err != nil {
				return err
			}
			if err := ca.Save(dir); err != nil {
				return err
			}
			return o.made(command, dir)
		},
	}
	o.jsonFlag(command)
	command.Flags().StringVar(&dir, "dir", "", "folder for ca.pem and ca.key; made with mode 0700")
	return required(command, "dir")
}

func newCertsServer() *cobra.Command {
	var o operation
	var caDir, out, name string
	var hosts []string
	command := &cobra.Command{
		Use:   "server --ca DIR --out DIR --host DOMAIN [--host HOST …]",
		Short: "Issue a trial certificate; the first host is the provider's domain",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ca, err := pki.LoadWebCA(caDir)
			if err != nil {
				return err
			}
			certificate, err := ca.IssueServer(serverCertLifetime, hosts...)
			if err != nil {
				return err
			}
			if err := certificate.Save(filepath.Join(out, name+".pem"), filepath.Join(out, name+".key")); err != nil {
				return err
			}
			return o.made(command, filepath.Join(out, name+".pem"), filepath.Join(out, name+".key"))
		},
	}
	o.jsonFlag(command)
	command.Flags().StringVar(&caDir, "ca", "", "the trial CA's folder")
	command.Flags().StringVar(&out, "out", "", "folder for the certificate and its key")
	command.Flags().StringVar(&name, "name", "web", "the files' name")
	command.Flags().StringSliceVar(&hosts, "host", nil, "a name or address in the certificate (repeatable)")
	return required(command, "ca", "out", "host")
}

func required(command *cobra.Command, flags ...string) *cobra.Command {
	for _, flag := range flags {
		if err := command.MarkFlagRequired(flag); err != nil {
			panic(err) // the flag does not exist: a mistake in this program
		}
	}
	return command
}

func randomHex(bytes int) (string, error) {
	raw := make([]byte, bytes)
	if _, err := rand.Read(raw); err != nil {
		return "", err
	}
	return hex.EncodeToString(raw), nil
}
