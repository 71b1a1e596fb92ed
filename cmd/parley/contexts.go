package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/cmd/parley/adminclient"
)

// contextBook is the operator's own list of admin listeners, in the user's configuration directory.
type contextBook struct {
	Current  string         `json:"current,omitempty"` // the one that is used where none is named
	Contexts []adminContext `json:"contexts"`
}

// adminContext is an admin listener by a name. The files are all there or none is, and then it is plaintext, on loopback.
type adminContext struct {
	Name     string `json:"name"`
	Admin    string `json:"admin"`
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
	CAFile   string `json:"caFile,omitempty"`
}

func (c adminContext) client() (*adminclient.Client, error) {
	if c.CertFile == "" {
		return adminclient.New(c.Admin), nil
	}
	client, err := adminclient.NewGuarded(c.Admin, c.CertFile, c.KeyFile, c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("context %s: %w", c.Name, err)
	}
	return client, nil
}

func contextsPath() (string, error) {
	folder, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(folder, "parley", "contexts.json"), nil
}

func loadContexts() (book contextBook, err error) {
	path, err := contextsPath()
	if err != nil {
		return book, nil // a user without a home has no contexts
	}
	encoded, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return book, nil
	}
	if err == nil {
		err = json.Unmarshal(encoded, &book)
	}
	if err != nil {
		return book, fmt.Errorf("contexts in %s: %w", path, err)
	}
	return book, nil
}

// save replaces the file at once.
func (b contextBook) save() error {
	path, err := contextsPath()
	if err != nil {
		return err
	}
	encoded, err := json.MarshalIndent(b, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(encoded, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

func (b contextBook) find(name string) (adminContext, bool) {
	i := slices.IndexFunc(b.Contexts, func(c adminContext) bool { return c.Name == name })
	if i < 0 {
		return adminContext{}, false
	}
	return b.Contexts[i], true
}

// changeContexts lets change the book and saves it. Programs are told what it is then.
func (o *operation) changeContexts(command *cobra.Command, change func(*contextBook) error) error {
	book, err := loadContexts()
	if err != nil {
		return err
	}
	if err := change(&book); err != nil {
		return &codedError{exitUsage, err}
	}
	if err := book.save(); err != nil || !o.json {
		return err
	}
	return o.print(command.OutOrStdout(), book, nil)
}

func newContext() *cobra.Command {
	command := &cobra.Command{
		Use:   "context",
		Short: "Give admin listeners names, and choose the one that commands ask",
		Long: "A context is a name for a node's admin listener, with a client certificate where the listener asks for one. It is kept in the\n" +
			"user's configuration directory. Commands heed --admin, --context, PARLEY_ADMIN, PARLEY_CONTEXT and the context in use,\n" +
			"in this order.",
	}
	command.AddCommand(newContextAdd(), newContextUse(), newContextList(), newContextRemove())
	return command
}

func newContextAdd() *cobra.Command {
	var o operation
	var c adminContext
	command := &cobra.Command{
		Use:   "add NAME --admin URL",
		Short: "Add a context, or change the one of that name",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			c.Name = names[0]
			u, err := adminURL("--admin", c.Admin)
			guarded := c.CertFile != ""
			switch {
			case err != nil:
				return &codedError{exitUsage, err}
			case guarded != (u.Scheme == "https"):
				return &codedError{exitUsage, errors.New("--cert, --key and --ca go with https, and with nothing else")}
			}
			for _, file := range []*string{&c.CertFile, &c.KeyFile, &c.CAFile} {
				if *file == "" {
					continue
				}
				if *file, err = filepath.Abs(*file); err != nil {
					return err
				}
			}
			if _, err := c.client(); err != nil {
				return err
			}
			return o.changeContexts(command, func(b *contextBook) error {
				b.Contexts = slices.DeleteFunc(b.Contexts, func(other adminContext) bool { return other.Name == c.Name })
				b.Contexts = append(b.Contexts, c)
				return nil
			})
		},
	}
	command.Flags().StringVar(&c.Admin, "admin", "", "the node's admin listener")
	command.Flags().StringVar(&c.CertFile, "cert", "", "client certificate, PEM")
	command.Flags().StringVar(&c.KeyFile, "key", "", "its private key")
	command.Flags().StringVar(&c.CAFile, "ca", "", "certificates by which the listener is recognised")
	command.MarkFlagsRequiredTogether("cert", "key", "ca")
	return required(o.jsonFlag(command), "admin")
}

func newContextUse() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "use NAME",
		Short: "Have commands ask a context's listener where nothing else is said",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			return o.changeContexts(command, func(b *contextBook) error {
				if _, known := b.find(names[0]); !known {
					return fmt.Errorf("there is no context %q", names[0])
				}
				b.Current = names[0]
				return nil
			})
		},
	}
	return o.jsonFlag(command)
}

func newContextList() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "list",
		Short: "List the contexts",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			book, err := loadContexts()
			if err != nil {
				return err
			}
			book.Contexts = append([]adminContext{}, book.Contexts...)
			return o.print(command.OutOrStdout(), book, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "IN USE\tNAME\tADMIN\tCERTIFICATE")
				for _, c := range book.Contexts {
					used := ""
					if c.Name == book.Current {
						used = "*"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", used, c.Name, c.Admin, c.CertFile)
				}
			})
		},
	}
	return o.jsonFlag(command)
}

func newContextRemove() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "remove NAME",
		Short: "Forget a context; safe to repeat",
		Args:  cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			return o.changeContexts(command, func(b *contextBook) error {
				b.Contexts = slices.DeleteFunc(b.Contexts, func(c adminContext) bool { return c.Name == names[0] })
				if b.Current == names[0] {
					b.Current = ""
				}
				return nil
			})
		},
	}
	return o.jsonFlag(command)
}
