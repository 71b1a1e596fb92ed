package fsm_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
	"parley/mimi"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into testdata instead of comparing with it")

// A transcript in testdata is a sequence of blocks with an empty line between them:
//
//	at 1000              an entry with this stamp, and under it its commands
//	message club m1 by=alice
//	----
//	accepted 1000 epoch 0
//	touched ...          outboxes that got an item
//
//	show outbox club b.example
//	----
//	...
//
// What stands under the line is what happened. `go test ./fsm -run Transcripts -rewrite` writes it anew. Lines beginning with #
// are kept.
type block struct {
	input []string // with comments
	want  string
}

func readTranscript(t *testing.T, path string) (blocks []block) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range strings.Split(strings.TrimSpace(string(data)), "\n\n") {
		input, want, _ := strings.Cut(strings.TrimSpace(text)+"\n", "\n----\n")
		blocks = append(blocks, block{strings.Split(strings.TrimSpace(input), "\n"), want})
	}
	return blocks
}

func (b block) commands() (lines []string) {
	for _, l := range b.input {
		if !strings.HasPrefix(l, "#") {
			lines = append(lines, l)
		}
	}
	return lines
}

// play runs a transcript on a fresh store and returns what happened in each block and the entries of its log.
func play(t *testing.T, blocks []block) (happened []string, entries [][]byte) {
	t.Helper()
	store, s := fsmtest.NewStore(), newScript()
	for _, b := range blocks {
		lines := b.commands()
		if len(lines) == 0 {
			happened = append(happened, "")
			continue
		}
		if show, yes := strings.CutPrefix(lines[0], "show "); yes {
			happened = append(happened, describe(t, store, parseLine(show)))
			continue
		}
		index := uint64(len(entries) + 1)
		e := fsm.Entry{StampMillis: atoi(strings.TrimPrefix(lines[0], "at "))}
		for _, l := range lines[1:] {
			e.Commands = append(e.Commands, s.command(l))
		}
		encoded := fsm.EncodeEntry(e)
		result, err := fsm.Apply(store, index, encoded)
		if err != nil {
			t.Fatalf("%s: %v", strings.Join(lines, "\n"), err)
		}
		if err := fsm.VerifyState(store); err != nil {
			t.Fatalf("after %s: %v", strings.Join(lines, "\n"), err)
		}
		var out strings.Builder
		for i, o := range result.Outcomes {
			s.adopt(index, e.Commands[i], o)
			fmt.Fprintln(&out, outcomeText(o))
		}
		for _, ref := range result.Touched {
			fmt.Fprintf(&out, "touched %d %s\n", ref.Slot, ref.Destination)
		}
		for _, d := range result.Dropped {
			fmt.Fprintf(&out, "dropped of %s for %s: %+v\n", d.Room, d.Destination, d.Gap)
		}
		happened, entries = append(happened, out.String()), append(entries, encoded)
	}
	return happened, entries
}

func TestTranscripts(t *testing.T) {
	for _, path := range transcripts(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			blocks := readTranscript(t, path)
			happened, entries := play(t, blocks)
			if *rewrite {
				writeTranscript(t, path, blocks, happened)
				return
			}
			for i, b := range blocks {
				if happened[i] != b.want {
					t.Errorf("%s\n---- happened:\n%s---- expected:\n%s", strings.Join(b.input, "\n"), happened[i], b.want)
				}
			}
			if len(entries) == 0 {
				t.Error("the transcript has no entries")
			}
		})
	}
}

func transcripts(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	return paths
}

func writeTranscript(t *testing.T, path string, blocks []block, happened []string) {
	t.Helper()
	var out strings.Builder
	for i, b := range blocks {
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(strings.Join(b.input, "\n") + "\n")
		if len(b.commands()) > 0 {
			out.WriteString("----\n" + happened[i])
		}
	}
	if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func outcomeText(o fsm.Outcome) string {
	switch o := o.(type) {
	case fsm.Accepted:
		return fmt.Sprintf("accepted %d epoch %d", o.Millis, o.Epoch)
	case fsm.WrongEpoch:
		return fmt.Sprintf("wrong epoch, current %d winner %s", o.Current, hex.EncodeToString(o.Winner[:4]))
	case fsm.Claimed:
		var out strings.Builder
		fmt.Fprintf(&out, "claimed %s", o.Code)
		for _, c := range o.Clients {
			fmt.Fprintf(&out, "\n  %s %s %s until %d", c.Client, c.Code, c.KeyPackage, c.NotAfter)
		}
		return out.String()
	case fsm.BatchDecided:
		return batchText(o)
	case fsm.ClaimThrottled:
		return fmt.Sprintf("throttled at %d until %d: %s", o.NowMillis, o.UntilMillis, o.Reason)
	default:
		return strings.TrimPrefix(fmt.Sprintf("%T%+v", o, o), "fsm.")
	}
}

// describe shows a part of the state.
func describe(t *testing.T, r fsm.Reader, l line) string {
	t.Helper()
	var out strings.Builder
	switch l.verb {
	case "digest":
		sum, err := fsm.Digest(r)
		check(t, err)
		fmt.Fprintln(&out, hex.EncodeToString(sum[:]))
	case "submission":
		describeSubmission(t, r, l, &out)
	case "joins":
		describeJoins(t, r, l, &out)
	case "room":
		describeRoom(t, r, room(l.words[0]), &out)
	case "proposal":
		at, _, err := fsm.ReadRoom(r, room(l.words[0]))
		check(t, err)
		p, found, err := fsm.ReadProposalRecord(r, at.URI, at.GroupID, code64(l.words[1]), refOfProposal(l.words[2]))
		check(t, err)
		fmt.Fprintf(&out, "%v %+v\n", found, p)
	case "outbox":
		p, err := fsm.ReadOutboxPosition(r, slotNamed(l.words[0]), provider(l.words[1]))
		check(t, err)
		fmt.Fprintf(&out, "next %d waiting %d\n", p.Next, p.Waiting)
		check(t, fsm.ReadOutbox(r, slotNamed(l.words[0]), provider(l.words[1]), l.number("from", 0), func(item fsm.OutboxItem) (bool, error) {
			fmt.Fprintf(&out, "%d %s of %s at %d\n", item.Sequence, item.Room, item.Hub, item.Millis)
			for _, n := range item.Notes {
				fmt.Fprintf(&out, "  %T%+v\n", n, n)
			}
			if len(item.Body) == 0 {
				return true, nil
			}
			messages, err := mimi.ParseFanout(item.Body)
			for _, m := range messages {
				fmt.Fprintf(&out, "  %s\n", fanoutText(m))
			}
			return true, err
		}))
	case "rooms":
		describeRooms(t, r, slotNamed(l.words[0]), provider(l.words[1]), &out)
	case "internal":
		check(t, fsm.InternalQueues(r, slotOf(l.words[0]), func(q fsm.InternalQueue) (bool, error) {
			fmt.Fprintf(&out, "%d to %d: next %d waiting %d\n", q.From, q.To, q.Next, q.Waiting)
			return true, fsm.ReadInternal(r, q.From, q.To, func(item fsm.InternalItem) (bool, error) {
				fmt.Fprintf(&out, "  %d %+v\n", item.Sequence, item.Effect)
				return true, nil
			})
		}))
		fmt.Fprintln(&out, "end")
	case "pieces":
		n, err := fsm.ReadPieceBytes(r, slotOf(l.words[0]))
		check(t, err)
		fmt.Fprintf(&out, "%d bytes\n", n)
	case "inventory":
		clients, found, err := fsm.ReadInventory(r, user(l.words[0]))
		check(t, err)
		fmt.Fprintf(&out, "%v\n", found)
		for _, c := range clients {
			fmt.Fprintf(&out, "%s %d single-use, %d last-resort\n", c.Client, c.SingleUse, c.LastResort)
		}
	case "stocks":
		read, err := fsm.ReadStocks(r, user(l.words[0]))
		check(t, err)
		fmt.Fprintf(&out, "%v\n", read.Known)
		for _, c := range read.Clients {
			fmt.Fprintf(&out, "%s %d reserved\n", c.Client, c.Reserved)
			for _, s := range c.Stocks {
				fmt.Fprintf(&out, "  suite %d last resort %v: %d, expiring from %d to %d\n", s.Suite, s.LastResort, s.Count, s.Earliest, s.Latest)
			}
		}
	case "consents":
		page, err := fsm.ReadConsents(r, user(l.words[0]), optional(l.options["of"], user), nil, 100)
		check(t, err)
		fmt.Fprintf(&out, "policy %s in force %s, %d entries\n", page.Policy, page.InForce, page.Count)
		for _, e := range page.Entries {
			fmt.Fprintf(&out, "%d for %s in %q since %d\n", e.Consent, e.Requester, e.Room, e.Millis)
		}
	case "route":
		route, found, err := fsm.ReadRoute(r, room(l.words[0]), ref(l.words[1]))
		check(t, err)
		holder, known, err := fsm.ReadClientUser(r, room(l.words[0]), client("bob1@b.example"))
		check(t, err)
		fmt.Fprintf(&out, "%v %s; client %v %s\n", found, route.Provider, known, holder)
	default:
		t.Fatalf("nothing shows %s", l.verb)
	}
	return out.String()
}

func describeRoom(t *testing.T, r fsm.Reader, uri mimi.RoomURI, out *strings.Builder) {
	t.Helper()
	state, found, err := fsm.ReadRoom(r, uri)
	check(t, err)
	if !found {
		fmt.Fprintln(out, "no room")
		return
	}
	fmt.Fprintf(out, "epoch %d first %d incarnation %d\n", state.Epoch, state.FirstEpoch, state.Incarnation)
	for _, p := range state.Participants {
		since, _, err := fsm.ReadParticipantSince(r, uri, p.User)
		check(t, err)
		fmt.Fprintf(out, "%s role %d since %d\n", p.User, p.Role, since)
	}
	fmt.Fprintf(out, "followed by %v\n", state.Destinations)
	pending, err := fsm.ReadAllPending(r, uri)
	check(t, err)
	for _, p := range pending {
		fmt.Fprintf(out, "pending %s at %d\n", p.Ref, p.AcceptedMillis)
	}
	if lease, held, err := fsm.ReadLease(r, uri); held || err != nil {
		check(t, err)
		fmt.Fprintf(out, "lease %d of %s %s until %d\n", lease.Token, lease.Requester, lease.Client, lease.UntilMillis)
	}
}

// describeRooms shows an outbox by its rooms.
func describeRooms(t *testing.T, r fsm.Reader, slot fsm.SlotID, destination mimi.Provider, out *strings.Builder) {
	t.Helper()
	p, err := fsm.ReadOutboxPosition(r, slot, destination)
	check(t, err)
	fmt.Fprintf(out, "indexed %v: %d items, %d handshakes, %d rooms, from %d at %d; dropped %d\n",
		p.Indexed(), p.Waiting, p.Handshakes, p.Rooms, p.First, p.OldestMillis, p.Dropped)
	check(t, fsm.OutboxRooms(r, slot, destination, fsm.RoomsPart{}, func(room fsm.OutboxRoom) (bool, error) {
		fmt.Fprintf(out, "%s: %d items, %d handshakes, from %d at %d:", room.Room, room.Items, room.Handshakes, room.First, room.OldestMillis)
		items, _, err := fsm.ReadRoomOutbox(r, slot, destination, room, 100, 1<<20)
		for _, item := range items {
			fmt.Fprintf(out, " %d", item.Sequence)
		}
		fmt.Fprintln(out)
		return true, err
	}))
	fmt.Fprint(out, "with handshakes:")
	check(t, fsm.OutboxRooms(r, slot, destination, fsm.RoomsPart{Urgent: true}, func(room fsm.OutboxRoom) (bool, error) {
		fmt.Fprintf(out, " %s", room.Room)
		return true, nil
	}))
	fmt.Fprintln(out)
}

func fanoutText(m mimi.FanoutMessage) string {
	switch e := m.Event.(type) {
	case mimi.FanoutApplication:
		return fmt.Sprintf("%d message %s of epoch %d", m.Millis, e.Message.Ciphertext, e.Message.Epoch)
	case mimi.FanoutWelcome:
		return fmt.Sprintf("%d welcome for %q", m.Millis, e.Welcome.Refs())
	case mimi.FanoutProposals:
		return fmt.Sprintf("%d proposals %s", m.Millis, labels(e.Proposals))
	case mimi.FanoutCommit:
		return fmt.Sprintf("%d commit %s", m.Millis, labels(e.MLSMessages()))
	default:
		return fmt.Sprintf("%T", e)
	}
}
