package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"parley/cmd/parley/dev"
)

func newDev() *cobra.Command {
	var options dev.Options
	command := &cobra.Command{
		Use:   "dev",
		Short: "Start two providers on this machine and play a real conversation",
		Long: "Starts provider a.example as three nodes and b.example as one, as separate processes on loopback with real TLS\n" +
			"and disks, plays a conversation that real MLS clients recorded, kills a leader in the middle of it, settles the\n" +
			"account, and stays up until Ctrl-C. With --once it ends after the account, with 1 if anything was not as expected.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if !slices.Contains(dev.Scenarios(), options.Scenario) {
				return &codedError{exitUsage, fmt.Errorf("--scenario: there are %s", strings.Join(dev.Scenarios(), ", "))}
			}
			if options.Kills < 1 {
				return &codedError{exitUsage, fmt.Errorf("--kills: at least 1, not %d", options.Kills)}
			}
			executable, err := os.Executable()
			if err != nil {
				return err
			}
			options.Executable, options.Out = executable, command.OutOrStdout()
			return dev.Run(command.Context(), options)
		},
	}
	command.Flags().StringVar(&options.Folder, "dir", ".parley", "folder for certificates, configurations and data; emptied at the start")
	command.Flags().BoolVar(&options.Once, "once", false, "end after the scenario")
	command.Flags().StringVar(&options.Scenario, "scenario", dev.Scenarios()[0], "what to play: "+strings.Join(dev.Scenarios(), ", "))
	command.Flags().IntVar(&options.Kills, "kills", dev.KillsDefault, "how often the scenario failover kills a leader after the conversation has done so once")
	return command
}
