package fsm_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

const formatsPath = "testdata/formats.pinned"

// logsOfAll are the logs of all transcripts, and of lives that use what these do not.
func logsOfAll(t *testing.T) (logs []named[[][]byte]) {
	t.Helper()
	for _, path := range transcripts(t) {
		_, entries := play(t, readTranscript(t, path))
		logs = append(logs, named[[][]byte]{filepath.Base(path), entries})
	}
	logs = append(logs, named[[][]byte]{"busy", busyIn(t, fsm.FormatExclusive).log})

	w := newWholeOf(t, fourthSettings(hub))
	parent := w.openParent(alice, bob, carol)
	d := w.openDependant("sub", club, alice, bob, zoe)
	w.carry()
	w.relist(d, "without zoe", alice, bob)
	w.settle(d, zoe)
	w.relist(parent, "without bob", alice)
	w.carry()
	logs = append(logs, named[[][]byte]{"dependence", w.log})

	w = newWholeOf(t, fourthSettings(hub))
	w.apply(upload(alice, client("alice1"), "one", "two", "for the last resort"))
	long := claimOf(alice, "long")
	long.ReplayMillis = 1 << 40
	w.apply(long)
	h := newHubHistory(t, "theirs@b.example", 5)
	w.apply(fsm.RecordKeyPackageRefs{Room: h.room.URI, Refs: []fsm.KeyPackageRoute{
		{Ref: ref("one"), Provider: hub, User: alice, Client: client("alice1"), NotAfter: 1 << 40},
		{Ref: ref("two"), Provider: hub, User: alice, Client: client("alice1"), NotAfter: 1 << 40},
	}})
	welcome := h.welcome("one")
	w.apply(fsm.ReceiveFanout{Room: h.room.URI, Hub: peer, BodyHash: hashOf("welcome"), Messages: []fsm.FanoutItem{{Hash: welcome.Hash, Bytes: welcome.Bytes}}})
	w.carry()
	for _, item := range w.items(hub) {
		w.apply(fsm.Acknowledge{At: item.Slot, Destination: hub, Sequences: []uint64{item.Sequence}})
	}
	logs = append(logs, named[[][]byte]{"inventories", w.log})

	empty := fsm.EncodeEntry(fsm.Entry{StampMillis: 1000, Commands: []fsm.Command{
		fsm.EnterSettings{Version: 1, Settings: fourthSettings(hub)}, fsm.OwnSlots{Shard: 1, Generation: 1, First: 1, Last: 0},
	}})
	return append(logs, named[[][]byte]{"birth without slots", [][]byte{empty}})
}

// inFormat is a log as it would be in a shard that is of another format from its settings on.
func inFormat(t *testing.T, entries [][]byte, format fsm.Format) (changed []fsm.Entry) {
	t.Helper()
	for _, encoded := range entries {
		e, err := fsm.DecodeEntry(encoded)
		check(t, err)
		for i, c := range e.Commands {
			if enter, yes := c.(fsm.EnterSettings); yes {
				enter.Settings.Format = format
				e.Commands[i] = enter
			}
		}
		changed = append(changed, e)
	}
	return changed
}

// A shard of an older format decides, keeps and tells what programs decided that knew no newer one: such a program may apply the same log
// at the same time, on another node. So none of this ever changes, nor what such a shard comes to when it is raised. A new transcript gets new lines; a
// line that is there is right, unless the transcript or the default settings have changed.
func TestOlderFormatsStayAsTheyWere(t *testing.T) {
	var now strings.Builder
	for _, l := range logsOfAll(t) {
		for format := fsm.FormatFirst; format < fsm.FormatNewest; format++ {
			store, happened := fsmtest.NewStore(), sha256.New()
			digests, index := [][32]byte{}, uint64(0)
			apply := func(e fsm.Entry) {
				index++
				result, err := fsm.Apply(store, index, fsm.EncodeEntry(e))
				check(t, err)
				for _, o := range result.Outcomes {
					happened.Write(fsm.EncodeOutcome(o))
				}
				fmt.Fprintln(happened, result.Touched, result.Urgent, result.Posted, result.Departing, result.Queues, result.Format)
			}
			for _, e := range inFormat(t, l.value, format) {
				apply(e)
			}
			digests = append(digests, digest(t, store))
			for _, raised := range []fsm.Format{format + 1, fsm.FormatResize} {
				settings := fourthSettings(hub)
				settings.Format = raised
				apply(fsm.Entry{Commands: []fsm.Command{fsm.EnterSettings{Version: 1<<40 + uint64(len(digests)), Settings: settings}}})
				digests = append(digests, digest(t, store))
			}
			happened.Write(fmt.Append(nil, digests))
			fmt.Fprintf(&now, "%s in format %d: %x\n", l.name, format, happened.Sum(nil))
		}
	}
	if *rewrite {
		check(t, os.WriteFile(formatsPath, []byte(now.String()), 0o644))
		return
	}
	pinned, err := os.ReadFile(formatsPath)
	check(t, err)
	if diff := cmp.Diff(string(pinned), now.String()); diff != "" {
		t.Errorf("older formats changed:\n%s", diff)
	}
}
