// Command parley runs and operates a MIMI hub. See README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"parley/fsm"
)

// version is set by the linker.
var version = "unversioned"

// The exit codes of every command.
const (
	exitOK          = 0
	exitError       = 1
	exitUsage       = 2
	exitUnsafe      = 3 // refused as unsafe
	exitStillRuns   = 4 // timed out, and the work goes on
	exitNoQuorum    = 5
	exitInterrupted = 130
)

// codedError carries an exit code through cobra.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// errSaid ends a command with exitError whose output has said all there is to say.
var errSaid = errors.New("the output says what is wrong")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

func run(ctx context.Context, arguments []string) int {
	root := newRoot()
	root.SetArgs(arguments)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if errors.Is(err, errSaid) {
		return exitError
	}
	fmt.Fprintln(os.Stderr, "parley:", err)
	var coded *codedError
	switch {
	case errors.As(err, &coded):
		return coded.code
	case misused(err):
		fmt.Fprintf(os.Stderr, "See '%s --help'\n", command.CommandPath())
		return exitUsage
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitError
	}
}

// misused recognises cobra's own complaints about a command line, which have no type.
func misused(err error) bool {
	for _, start := range []string{"unknown command", "required flag(s)", "accepts ", "requires at least", "invalid argument", "if any flags in the group"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "parley",
		Short: "A highly available MIMI hub",
		Long: "Parley is the hub that a messaging provider runs so that its users can share end-to-end encrypted\n" +
			"rooms with users of other providers (MIMI over MLS, RFC 9420).",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(command *cobra.Command, err error) error {
		return &codedError{exitUsage, fmt.Errorf("%w\nSee '%s --help'", err, command.CommandPath())}
	})
	root.AddCommand(
		newServe(), newDev(), newCluster(), newNode(), newShard(), newPeer(), newToken(), newCerts(), newKeyring(), newMLS(), newVersion(),
		newJob(), newAudit(), newRebalance(), newResize(), newBackup(), newRecover(),
		newCheck(), newFsck(), newConfig(), newDoctor(), newDebug(), newUpgrade(), newTop(), newContext(), newReady(),
	)
	return root
}

func newVersion() *cobra.Command {
	var o operation
	command := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			is := map[string]any{"version": version, "format": fsm.FormatNewest}
			return o.print(command.OutOrStdout(), is, func(w *tabwriter.Writer) { fmt.Fprintln(w, "parley", version) })
		},
	}
	return o.jsonFlag(command)
}
