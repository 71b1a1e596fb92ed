package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/cmd/parley/adminclient"
)

// operation is what commands that ask a running node have in common.
type operation struct {
	admin string
	json  bool
	by    string // for the audit log
	verb  func() string
}

// adminDefault is where a node's admin listener is by the README's configuration.
const adminDefault = "http://127.0.0.1:7404"

func (o *operation) flags(command *cobra.Command) *cobra.Command {
	address := os.Getenv("PARLEY_ADMIN")
	if address == "" {
		address = adminDefault
	}
	command.Flags().StringVar(&o.admin, "admin", address, "the node's admin listener (or PARLEY_ADMIN)")
	command.Flags().BoolVar(&o.json, "json", false, "print JSON")
	if command.Flags().Lookup("by") == nil { // some commands have a use of their own for it
		command.Flags().StringVar(&o.by, "by", osUser(), "who asks, for the audit log")
	}
	o.verb = func() string {
		if by := command.Flags().Lookup("by"); by != nil {
			o.by = by.Value.String()
		}
		return strings.TrimPrefix(command.CommandPath(), command.Root().Name()+" ")
	}
	return command
}

func (o *operation) client() *adminclient.Client {
	client := adminclient.New(o.admin)
	if o.verb == nil { // no command of its own
		return client
	}
	verb := o.verb() // reads who asks, too
	return client.As(o.by, verb)
}

// osUser is whom the operating system takes the caller for.
func osUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

// print writes a value as JSON, or as a table.
func (o *operation) print(out io.Writer, value any, table func(*tabwriter.Writer)) error {
	if o.json {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(value)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// coded gives a node's refusal its exit code.
func coded(err error) error {
	var failure *adminclient.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &failure) && failure.Status == http.StatusConflict:
		return &codedError{exitUnsafe, err}
	case errors.As(err, &failure) && failure.Status == http.StatusBadRequest:
		return &codedError{exitUsage, err}
	case errors.As(err, &failure) && failure.Status == http.StatusServiceUnavailable:
		return &codedError{exitNoQuorum, err}
	case errors.Is(err, context.DeadlineExceeded):
		return &codedError{exitStillRuns, err}
	default:
		return err
	}
}
