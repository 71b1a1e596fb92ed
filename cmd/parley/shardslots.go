package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"parley/fsm"
	"parley/httpapi"
)

// shardSlotVerbs are the commands below "shard" that change which shard has which slots.
func shardSlotVerbs() []*cobra.Command {
	return []*cobra.Command{newShardSplit(), newShardMerge(), newShardMoveSlot()}
}

func newShardSplit() *cobra.Command {
	var w waiting
	var request httpapi.ShardSplit
	var as uint32
	command := &cobra.Command{
		Use:   "split SHARD",
		Short: "Open a shard and move half of another's slots to it, by what they have",
		Long: "The new shard gets its replicas where the old one has its own, or where --replicas says. Requests for what moves wait for some\n" +
			"milliseconds meanwhile. To ask for the same again while the job goes on is the same job; with --as also when it is done.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			shard, err := shardNumber(args)
			if err != nil {
				return err
			}
			request.NewShard = fsm.ShardID(as)
			job, err := w.client().SplitShard(command.Context(), shard, request)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().Uint32Var(&as, "as", 0, "the number of the new shard (0: the next that no shard has had)")
	command.Flags().StringSliceVar(&request.Replicas, "replicas", nil, "the nodes of the new shard, who is to lead it first")
	return w.flags(command)
}

func newShardMerge() *cobra.Command {
	var w waiting
	var into []string
	command := &cobra.Command{
		Use:   "merge SHARD --into SHARD[,SHARD...]",
		Short: "Move all slots of a shard to others, and end it",
		Long: "The others get the slots in equal numbers. The shard's number is not used again. Its replicas are stopped and cleared when it has\n" +
			"nothing left. To ask for the same again is the same job, also when it is done.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			shard, err := shardNumber(args)
			if err != nil {
				return err
			}
			var request httpapi.ShardMerge
			for _, text := range into {
				to, err := shardNumber([]string{text})
				if err != nil {
					return err
				}
				request.Into = append(request.Into, to)
			}
			job, err := w.client().MergeShard(command.Context(), shard, request)
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().StringSliceVar(&into, "into", nil, "the shards that get the slots")
	if err := command.MarkFlagRequired("into"); err != nil {
		panic(err) // it is named above
	}
	return w.flags(command)
}

func newShardMoveSlot() *cobra.Command {
	var w waiting
	var to uint32
	command := &cobra.Command{
		Use:     "move-slot SLOT[-SLOT]... --to SHARD",
		Aliases: []string{"move-slots"},
		Short:   "Move slots to a shard",
		Long: fmt.Sprintf("Slots are numbers from 0 to %d; with a hyphen between two, all from the one to the other. Those that are there stay.\n"+
			"To ask for the same again is safe.", fsm.SlotCount-1),
		Args: cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, args []string) error {
			slots, err := slotNumbers(args)
			if err != nil {
				return err
			}
			job, err := w.client().MoveSlots(command.Context(), httpapi.SlotMove{Slots: slots, To: fsm.ShardID(to)})
			if err != nil {
				return coded(err)
			}
			return w.follow(command, job)
		},
	}
	command.Flags().Uint32Var(&to, "to", 0, "the shard that gets them")
	if err := command.MarkFlagRequired("to"); err != nil {
		panic(err) // it is named above
	}
	return w.flags(command)
}

// slotNumbers reads slots, and ranges of them, of a command line.
func slotNumbers(texts []string) (slots []fsm.SlotID, err error) {
	for _, text := range texts {
		first, last, ranged := strings.Cut(text, "-")
		if !ranged {
			last = first
		}
		from, wrong := strconv.ParseUint(first, 10, 16)
		to, also := strconv.ParseUint(last, 10, 16)
		if wrong != nil || also != nil || from > to || to >= fsm.SlotCount {
			return nil, &codedError{exitUsage, fmt.Errorf("%q is no slot, nor a range of them", text)}
		}
		for slot := from; slot <= to; slot++ {
			slots = append(slots, fsm.SlotID(slot))
		}
	}
	return slots, nil
}
