package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/cmd/parley/adminclient"
	"parley/httpapi"
)

// operation is what commands that ask a running node have in common.
type operation struct {
	admin   string
	context string
	json    bool
	by      string // for the audit log
	verb    func() string
	command *cobra.Command
}

// adminDefault is where a node's admin listener is by the README's configuration.
const adminDefault = "http://127.0.0.1:7404"

func (o *operation) flags(command *cobra.Command) *cobra.Command {
	o.command = command
	command.Flags().StringVar(&o.admin, "admin", adminDefault, "the node's admin listener (or PARLEY_ADMIN)")
	command.Flags().StringVar(&o.context, "context", "", "a context that names it, of 'parley context list' (or PARLEY_CONTEXT)")
	command.MarkFlagsMutuallyExclusive("admin", "context")
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

// client asks the node that the command line names. Where nobody can tell which one that is, each question is answered with the reason.
func (o *operation) client() *adminclient.Client {
	client, err := o.connect()
	if err != nil {
		return adminclient.Broken(&codedError{exitUsage, err})
	}
	if o.verb == nil { // no command of its own
		return client
	}
	verb := o.verb() // reads who asks, too
	return client.As(o.by, verb)
}

// connect heeds --admin, --context, PARLEY_ADMIN, PARLEY_CONTEXT and the context in use, in this order.
func (o *operation) connect() (*adminclient.Client, error) {
	if o.command == nil || o.command.Flags().Changed("admin") {
		return clientOf("--admin", o.admin)
	}
	name := o.context
	if name == "" {
		if address := os.Getenv("PARLEY_ADMIN"); address != "" {
			return clientOf("PARLEY_ADMIN", address)
		}
		name = os.Getenv("PARLEY_CONTEXT")
	}
	book, err := loadContexts()
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = book.Current
	}
	if name == "" {
		return adminclient.New(o.admin), nil
	}
	found, known := book.find(name)
	if !known {
		return nil, fmt.Errorf("there is no context %q; 'parley context list' shows those that there are", name)
	}
	return found.client()
}

// clientOf is the client of an address that was given by hand.
func clientOf(given, address string) (*adminclient.Client, error) {
	if _, err := adminURL(given, address); err != nil {
		return nil, err
	}
	return adminclient.New(address), nil
}

// adminURL checks the address of an admin listener.
func adminURL(given, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s must be http://host:port or https://host:port, is %q", given, address)
	}
	return u, nil
}

// osUser is whom the operating system takes the caller for.
func osUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

// jsonFlag is for a command that asks no node.
func (o *operation) jsonFlag(command *cobra.Command) *cobra.Command {
	command.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return command
}

// made says which files a command has made, to programs: people have named them.
func (o *operation) made(command *cobra.Command, files ...string) error {
	if !o.json {
		return nil
	}
	return o.print(command.OutOrStdout(), map[string][]string{"files": files}, nil)
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
	case errors.As(err, &failure) && failure.Status == http.StatusBadRequest && failure.Title != "": // else somebody else has answered
		return &codedError{exitUsage, err}
	case errors.As(err, &failure) && failure.Type == httpapi.ProblemTypeRemoved:
		return &codedError{exitError, err} // no waiting helps
	case errors.As(err, &failure) && failure.Status == http.StatusServiceUnavailable:
		return &codedError{exitNoQuorum, err}
	case errors.Is(err, context.DeadlineExceeded):
		return &codedError{exitStillRuns, err}
	default:
		return err
	}
}
