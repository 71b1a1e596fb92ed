package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"parley/cmd/parley/adminclient"
)

// bundled is what a bundle holds: each is what the node answers, and none of it has a secret in it.
var bundled = []struct{ name, path string }{
	{"status.json", "/v1/cluster/status"},
	{"readiness.json", "/readyz"},
	{"doctor.json", "/v1/doctor"},
	{"upgrade.json", "/v1/upgrade"},
	{"nodes.json", "/v1/nodes"},
	{"placement.json", "/v1/cluster/placement"},
	{"jobs.json", "/v1/jobs"},
	{"audit.json", "/v1/audit?before=0&limit=1000"},
	{"config.json", "/v1/node/config"},
	{"settings.json", "/v1/cluster/settings"},
	{"certificates.json", "/v1/certificates"},
	{"keyring.json", "/v1/keyring"},
	{"hub-keys.json", "/v1/hub-keys"},
	{"peers.json", "/v1/peers"},
	{"backlog.json", "/v1/backlog"},
	{"tokens.json", "/v1/tokens"},
	{"invitations.json", "/v1/invitations"},
	{"metrics.txt", "/metrics"},
	{"node.log", "/v1/node/logs"},
	{"goroutines.txt", "/debug/pprof/goroutine?debug=2"},
	{"heap.pb.gz", "/debug/pprof/heap"},
}

func newDebug() *cobra.Command {
	command := &cobra.Command{Use: "debug", Short: "Gather what somebody needs who is to find out what is wrong"}
	command.AddCommand(newDebugBundle())
	return command
}

func newDebugBundle() *cobra.Command {
	var o operation
	var out string
	command := &cobra.Command{
		Use:   "bundle",
		Short: "Write what a node knows of itself and of the cluster to a tar.gz, without secrets",
		Long: "It has the status, what the doctor says, nodes, jobs, the last 1,000 entries of the audit log, configuration, settings, certificates, peers, metrics, the last lines of the log, the\n" +
			"goroutines and a profile of the heap. Of keys, tokens and invitations it has names; rooms and users appear where the log or\n" +
			"the backlog names them. What a node in trouble does not answer is left out, and errors.txt says so. Run it for each node\n" +
			"that matters (--admin, --context).",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			client, err := o.connect()
			if err != nil {
				return &codedError{exitUsage, err}
			}
			if out == "" {
				out = "parley-debug-" + time.Now().UTC().Format("20060102T150405Z") + ".tar.gz"
			}
			missing, err := bundleInto(command.Context(), client, out)
			if err != nil {
				return err
			}
			if o.json {
				return o.print(command.OutOrStdout(), map[string]any{"file": out, "missing": missing}, nil)
			}
			_, err = fmt.Fprintf(command.OutOrStdout(), "%s\n", out)
			return err
		},
	}
	command.Flags().StringVarP(&out, "out", "o", "", "the file to write; a name with the time where not given. An existing one is never replaced")
	return o.flags(command)
}

func bundleInto(ctx context.Context, client *adminclient.Client, path string) (missing int, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	return writeBundle(ctx, client, file, time.Now())
}

// writeBundle writes all that can be had. It fails where nothing can.
func writeBundle(ctx context.Context, client *adminclient.Client, to io.Writer, now time.Time) (missing int, err error) {
	packed := gzip.NewWriter(to)
	archive := tar.NewWriter(packed)
	add := func(name string, content []byte) error {
		head := &tar.Header{Name: "parley-debug/" + name, Mode: 0o600, Size: int64(len(content)), ModTime: now}
		if err := archive.WriteHeader(head); err != nil {
			return err
		}
		_, err := archive.Write(content)
		return err
	}
	faults := ""
	var last error
	for _, one := range bundled {
		content, err := client.Fetch(ctx, one.path)
		var answered *adminclient.Error
		if errors.As(err, &answered) && answered.Body != "" { // such as a readiness that says no
			content, err = []byte(answered.Body), nil
		}
		if err != nil {
			last = err
			missing++
			faults += fmt.Sprintf("%s: %v\n", one.name, err)
			continue
		}
		if err := add(one.name, content); err != nil {
			return missing, err
		}
	}
	if missing == len(bundled) {
		return missing, last
	}
	if err := add("version.txt", []byte("gathered by parley "+version+" at "+now.UTC().Format(time.RFC3339)+"\n")); err != nil {
		return missing, err
	}
	if faults != "" {
		if err := add("errors.txt", []byte(faults)); err != nil {
			return missing, err
		}
	}
	return missing, errors.Join(archive.Close(), packed.Close())
}
