package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"parley/cmd/parley/dev"
)

func newDev() *cobra.Command {
	options := dev.Options{Exclusive: dev.ExclusiveDefault()}
	command := &cobra.Command{
		Use:   "dev",
		Short: "Start two providers on this machine and play a real conversation",
		Long: "Starts provider a.example as three nodes and b.example as one, as separate processes on loopback with real TLS\n" +
			"and disks, plays a conversation that real MLS clients recorded, kills a leader in the middle of it, settles the\n" +
			"account, and stays up until Ctrl-C. With --once it ends after the account, with 1 if anything was not as expected.\n\n" +
			"The scenario failover goes on after that: the leader of the room's shard is killed again and again.\n\n" +
			"The scenario exclusive starts a.example alone. Simulated clients contend for what can be had once, through all nodes,\n" +
			"while leaders are killed: Commits race for epochs, some with guests that they bring in or take out, KeyPackages are\n" +
			"claimed until none is left, joiners want the GroupInfo and join with it. Everything is asked for twice. Then the nodes\n" +
			"are stopped, and the log on each node's disk and everything that anybody was told are held to one another: one Commit\n" +
			"an epoch and no gap, no KeyPackage in two answers, no two leases at a time, every retry answered alike, every Commit\n" +
			"and Welcome delivered once. It ends with 0 if all of it holds, and names the evidence if not.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return &codedError{exitUsage, err}
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
	command.Flags().IntVar(&options.Kills, "kills", dev.KillsDefault,
		"how often a leader is killed: in the scenario failover after the conversation has done so once, and in the scenario exclusive")
	size := &options.Exclusive
	command.Flags().IntVar(&size.Epochs, "epochs", size.Epochs, "scenario exclusive: how many epochs each room goes through at least")
	command.Flags().IntVar(&size.Users, "users", size.Users, "scenario exclusive: of how many users KeyPackages are claimed")
	command.Flags().IntVar(&size.KeyPackages, "key-packages", size.KeyPackages, "scenario exclusive: how many each of a user's two clients has")
	command.Flags().DurationVar(&size.AtMost, "at-most", size.AtMost, "scenario exclusive: when the contest is given up if it is not over")
	return command
}
