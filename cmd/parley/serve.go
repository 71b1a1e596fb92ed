package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"parley/cmd/parley/config"
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
			"SIGTERM and Ctrl-C end it. Every key of the file can be set by PARLEY_SECTION__KEY in the environment.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			c, err := config.Load(path)
			if err != nil {
				return &codedError{exitUsage, err}
			}
			log, err := newLogger(c.Log)
			if err != nil {
				return &codedError{exitUsage, err}
			}
			syscall.Umask(0o077) // what the node writes is its own, also what its libraries write
			setProcessors(log)
			s, err := server.New(c, log)
			if err != nil {
				return err
			}
			return s.Run(command.Context())
		},
	}
	command.Flags().StringVarP(&path, "config", "c", "", "the node's configuration (TOML)")
	return required(command, "config")
}

func newLogger(c config.Log) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	options := &slog.HandlerOptions{Level: level}
	switch c.Format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	default:
		return nil, fmt.Errorf("log.format must be \"text\" or \"json\", is %q", c.Format)
	}
}

func setProcessors(log *slog.Logger) {
	if os.Getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) >= processorsMin {
		return
	}
	before := runtime.GOMAXPROCS(processorsMin)
	log.Info("GOMAXPROCS raised, since a wait for the disk holds a processor", "from", before, "to", processorsMin)
}
