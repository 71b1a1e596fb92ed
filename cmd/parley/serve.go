package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"parley/cmd/parley/config"
	"parley/cmd/parley/recentlog"
	"parley/cmd/parley/server"
)

// processorsMin is the least GOMAXPROCS that a node runs with unless the operator has set it: a thread that waits for a disk
// holds its place, and with few cores too few are left for the rest.
const processorsMin = 8

func newServe() *cobra.Command {
	var path string
	command := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run a node",
		Long: "A node that belongs to no cluster yet waits for 'parley cluster init' or 'parley node join'.\n" +
			"SIGTERM and Ctrl-C end it; SIGHUP has it read the file again, and the log says what that changed and what waits for a\n" +
			"restart. Every key of the file can be set by PARLEY_SECTION__KEY in the environment.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := config.Load(path)
			if err != nil {
				return &codedError{exitUsage, err}
			}
			program, err := newProgram(c.Log)
			if err != nil {
				return &codedError{exitUsage, err}
			}
			syscall.Umask(0o077) // what the node writes is its own, also what its libraries write
			setProcessors(program.Log)
			s, err := server.New(c, program)
			if err != nil {
				return err
			}
			stop := reloadOnHangup(path, s, program.Log)
			defer stop()
			return s.Run(command.Context())
		},
	}
	command.Flags().StringVarP(&path, "config", "c", "", "the node's configuration (TOML)")
	return required(command, "config")
}

// newProgram is what the node's server is told of the process: its version, and a log whose level can change and whose last lines are kept.
func newProgram(c config.Log) (server.Program, error) {
	program := server.Program{Version: version, Level: new(slog.LevelVar), Recent: new(recentlog.Lines)}
	if err := program.SetLevel(c.Level); err != nil {
		return program, err
	}
	options := &slog.HandlerOptions{Level: program.Level}
	out := io.MultiWriter(os.Stderr, program.Recent)
	switch c.Format {
	case "text":
		program.Log = slog.New(slog.NewTextHandler(out, options))
	case "json":
		program.Log = slog.New(slog.NewJSONHandler(out, options))
	default:
		return program, fmt.Errorf("log.format must be \"text\" or \"json\", is %q", c.Format)
	}
	return program, nil
}

// reloadOnHangup has the server take over what it can of its configuration with each SIGHUP, until stop is called.
func reloadOnHangup(path string, s *server.Server, log *slog.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range hangups {
			c, err := config.Load(path)
			if err != nil {
				log.Error("the configuration is not reloaded: nothing has changed", "error", err)
				continue
			}
			s.Reload(c)
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
		<-done
	}
}

func setProcessors(log *slog.Logger) {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) >= processorsMin {
		return
	}
	before := runtime.GOMAXPROCS(processorsMin)
	log.Info("GOMAXPROCS raised, since a wait for the disk holds a processor", "from", before, "to", processorsMin)
}
