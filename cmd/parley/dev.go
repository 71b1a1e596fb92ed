package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"

	"parley/cmd/parley/dev"
)

func newDev() *cobra.Command {
	options := dev.Options{Exclusive: dev.ExclusiveDefault(), Bulk: dev.BulkDefault(), Resize: dev.ResizeDefault(), Verbs: dev.VerbsDefault()}
	asJSON := false
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
			"and Welcome delivered once. It ends with 0 if all of it holds, and names the evidence if not.\n\n" +
			"The scenario bulk starts both providers as three nodes each. Simulated users of both send each other letters in 200 rooms,\n" +
			"half of them hosted at each, in bulk, while their epochs change; one letter in 97 is wrong and has to be rejected. A node that\n" +
			"delivers is killed, all of b.example is away for five seconds, and one node of a.example is left alone, which holds what it\n" +
			"takes. Half of what is for the other's rooms goes through a provider's own queue. When nothing is under way any more everything that\n" +
			"was submitted is held to everything that arrived: nothing lost, nothing out of order, every rejection told. It ends with\n" +
			"the rates, what each node used of the processors, and 0 if all of it holds. --json leaves the figures on standard output, and\n" +
			"says the rest on standard error.\n\n" +
			"The scenario resize has both at the same time, in a reduced form, while an operator changes a.example with parley's own\n" +
			"commands: two nodes join its three, its 6 shards become 12, they are spread over five nodes, a node is killed for good and\n" +
			"another takes its place, two leave. Beside them a client in each of 16 rooms commits without a pause. It ends with what each\n" +
			"step took and the longest time for which any of these rooms could have nothing decided, and with 0 if both accounts balance.\n\n" +
			"The scenario verbs tries each long command at each moment of its course: the command is killed with SIGKILL, or the node that\n" +
			"leads the meta group and carries out what is asked for. Then the same command is given again. It ends with a table of all trials,\n" +
			"and with 0 if each of them ended well, and what was asked for was done once.",
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
			if asJSON {
				options.Out, options.Summary = command.ErrOrStderr(), command.OutOrStdout()
			}
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
	load := &options.Bulk
	command.Flags().IntVar(&load.Rooms, "rooms", load.Rooms, "scenario bulk: in how many rooms letters are sent")
	command.Flags().IntVar(&load.Rate, "rate", load.Rate, "scenario bulk: how many letters a second are submitted, all together")
	command.Flags().Float64Var(&load.Seconds, "seconds", load.Seconds, "scenario bulk: for how long")
	command.Flags().IntVar(&load.Shards, "shards", load.Shards, "scenario bulk: shards of each cluster; 0 means as many as a cluster has by default")
	command.Flags().BoolVar(&load.Single, "single", load.Single, "scenario bulk: one letter a request, as the draft has it, to compare with")
	command.Flags().StringVar(&load.Delivery, "delivery", load.Delivery, "scenario bulk: compare what a leader and its followers use of the processors where load comes in at, and is\n"+
		"delivered by: "+strings.Join(dev.Deliveries(), ", "))
	command.Flags().BoolVar(&load.Calm, "calm", load.Calm, "scenario bulk: nobody is killed or stopped")
	command.Flags().StringSliceVar(&options.Verbs.Only, "verb", nil, "scenario verbs: only this (repeatable) of: "+strings.Join(dev.VerbNames(), ", "))
	command.Flags().BoolVar(&asJSON, "json", false, "scenarios bulk, resize and verbs: leave the figures as JSON on standard output")
	return command
}
