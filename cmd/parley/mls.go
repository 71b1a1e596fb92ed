package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"parley/cmd/parley/inspect"
	"parley/cmd/parley/replay"
)

func newMLS() *cobra.Command {
	command := &cobra.Command{
		Use:   "mls",
		Short: "Look into MLS files, and try another client's traffic on this hub's rules",
		Long:  "These commands work on files alone. They need no node, no configuration and no secret.",
		Args:  cobra.NoArgs,
		RunE:  func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	command.AddCommand(newMLSInspect(), newMLSReplay())
	return command
}

// inputBytesMax bounds a file that is looked into: more than the largest tree with its text encoding.
const inputBytesMax = 256 << 20

func newMLSInspect() *cobra.Command {
	var at momentFlag
	var asJSON bool
	command := &cobra.Command{
		Use:   "inspect [--json] [--at TIME] FILE…",
		Short: "Decode MLS files, verify what can be verified, show what they hold",
		Long: "Takes any MLSMessage (Welcome, GroupInfo, KeyPackage, PublicMessage, PrivateMessage), and bare GroupInfo, KeyPackage,\n" +
			"GroupContext and ratchet_tree (optional<Node> ratchet_tree<V>); as raw bytes, hexadecimal digits or base64. '-' is standard\n" +
			"input. A file is taken for the first of these that reads all of its bytes.\n\n" +
			"Files of one call are looked at together: a GroupInfo is verified with the ratchet_tree that it hashes, a tree with the\n" +
			"GroupInfo or GroupContext that goes with it, a handshake in the epoch of a GroupInfo and tree, with the Proposals that a\n" +
			"Commit names. What cannot be verified is said, with the reason.\n\n" +
			"Exit codes: 0 all are valid as far as can be told, 1 one is not, 2 a file cannot be read or the call is wrong.",
		Example: "  parley mls inspect alice.key_package\n" +
			"  parley mls inspect group_info.bin ratchet_tree.bin commit.bin\n" +
			"  parley mls inspect --json --at 2026-01-31T00:00:00Z - <welcome.base64",
		Args: cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			inputs, err := readInputs(names, command.InOrStdin())
			if err != nil {
				return &codedError{exitUsage, err}
			}
			report := inspect.Files(inputs, at.secondsOr(time.Now()))
			return settle(command.OutOrStdout(), asJSON, report, report.Valid)
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	command.Flags().Var(&at, "at", "the time at which lifetimes are judged: RFC 3339, a date, or seconds since 1970 (default: now)")
	return command
}

func newMLSReplay() *cobra.Command {
	var at momentFlag
	var asJSON bool
	command := &cobra.Command{
		Use:   "replay [--json] [--at TIME] DIR",
		Short: "Play a recorded conversation of MLS clients to this hub's rules, and compare",
		Long: "DIR holds manifest.json, which lists the steps, and the files that it names. The hub takes the group up at the step\n" +
			"create_group, at whatever epoch, and judges each message as it does when it serves. After each step it compares what the\n" +
			"step gives of epoch, tree_hash, confirmed_transcript_hash, confirmation_tag, group_context, ratchet_tree and group_info\n" +
			"with its own; what a step does not give is not compared. A Commit or Proposal sent as PrivateMessage must be refused:\n" +
			"then that step is ok. The rules of a MIMI room, such as who may add whom, are not asked.\n\n" +
			"--at is when lifetimes are judged: by default the manifest's generated_at, and where it has none, now.\n\n" +
			"Exit codes: 0 all steps are ok, 1 one differs, 2 the folder cannot be read or the call is wrong.",
		Args: cobra.ExactArgs(1),
		RunE: func(command *cobra.Command, names []string) error {
			transcript, err := replay.Load(names[0])
			if err != nil {
				return &codedError{exitUsage, err}
			}
			seconds := at.secondsOr(time.Now())
			if generated, known := transcript.GeneratedAt(); known && !at.given {
				seconds = generated
			}
			report := transcript.Play(seconds)
			return settle(command.OutOrStdout(), asJSON, report, report.Good())
		},
	}
	command.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	command.Flags().Var(&at, "at", "the time at which lifetimes are judged: RFC 3339, a date, or seconds since 1970 (default: generated_at, else now)")
	return command
}

// printable is a report with both of its forms.
type printable interface {
	WriteText(io.Writer) error
	WriteJSON(io.Writer) error
}

// settle prints a report, and makes the exit code of its verdict: the report has said all.
func settle(out io.Writer, asJSON bool, report printable, good bool) error {
	print := report.WriteText
	if asJSON {
		print = report.WriteJSON
	}
	if err := print(out); err != nil {
		return err
	}
	if !good {
		return errSaid
	}
	return nil
}

func readInputs(names []string, stdin io.Reader) ([]inspect.Input, error) {
	var inputs []inspect.Input
	usedStdin := false
	for _, name := range names {
		input := inspect.Input{Name: name}
		var err error
		switch {
		case name != "-":
			input.Content, err = readFile(name)
		case usedStdin:
			err = errors.New("standard input, '-', can be read once")
		default:
			usedStdin = true
			input.Name = "standard input"
			input.Content, err = readBounded(stdin)
		}
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, input)
	}
	return inputs, nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := readBounded(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return content, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, inputBytesMax+1))
	if err == nil && len(content) > inputBytesMax {
		err = fmt.Errorf("more than %d bytes", inputBytesMax)
	}
	return content, err
}

// momentFlag is a time on the command line; none where the flag is not given.
type momentFlag struct {
	given bool
	at    time.Time
}

func (*momentFlag) Type() string { return "TIME" }

func (m *momentFlag) String() string {
	if !m.given {
		return ""
	}
	return m.at.Format(time.RFC3339)
}

func (m *momentFlag) Set(s string) error {
	const year9999 = 253402300799
	if seconds, err := strconv.ParseInt(s, 10, 64); err == nil && seconds >= 0 && seconds <= year9999 {
		*m = momentFlag{true, time.Unix(seconds, 0).UTC()}
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil && at.Unix() >= 0 {
			*m = momentFlag{true, at}
			return nil
		}
	}
	return errors.New("want RFC 3339 (2026-01-31T12:00:00Z), a date (2026-01-31), or seconds since 1970")
}

// secondsOr is the flag's time in seconds since 1970, or another one where it was not given.
func (m *momentFlag) secondsOr(other time.Time) uint64 {
	if m.given {
		other = m.at
	}
	return uint64(max(0, other.Unix()))
}
