package fsm_test

import (
	"bytes"
	"errors"
	"testing"

	"parley/fsm"
	"parley/fsm/fsmtest"
)

// formatOf is the format of a state.
func formatOf(t *testing.T, r fsm.Reader) fsm.Format {
	t.Helper()
	format, err := fsm.ReadFormat(r)
	check(t, err)
	return format
}

// A format rises with the settings that ask for it and stays, whatever later settings say.
func TestFormatRises(t *testing.T) {
	store := fsmtest.NewStore()
	if got := formatOf(t, store); got != fsm.FormatFirst {
		t.Errorf("a new state is of format %d", got)
	}
	for i, want := range []struct {
		settings fsm.Settings
		format   fsm.Format
	}{{firstSettings(hub), 1}, {secondSettings(hub), 2}, {firstSettings(hub), 2}} {
		entry := fsm.Entry{StampMillis: 1, Commands: []fsm.Command{fsm.EnterSettings{Version: uint64(i + 1), Settings: want.settings}}}
		result, err := fsm.Apply(store, uint64(i+1), fsm.EncodeEntry(entry))
		check(t, err)
		if formatOf(t, store) != want.format || result.Format != want.format {
			t.Errorf("settings %d lead to format %d, which Apply calls %d", i+1, formatOf(t, store), result.Format)
		}
		settings, _, err := fsm.ReadSettings(store)
		check(t, err)
		if settings.Format != want.settings.Format {
			t.Errorf("settings %d came back with format %d", i+1, settings.Format)
		}
	}
}

// A program meets a newer format in the log, in its state and in a snapshot, and stops each time with what the matter is.
func TestUnknownFormat(t *testing.T) {
	newer := secondSettings(hub)
	newer.Format = fsm.FormatNewest + 1
	raise := fsm.EncodeEntry(fsm.Entry{Commands: []fsm.Command{fsm.EnterSettings{Version: 1, Settings: newer}}})
	raised := fsmtest.NewStore()
	check(t, raised.Set([]byte{0xff, 0xff, 6}, []byte{1, 0, 0, 0, byte(fsm.FormatNewest) + 1}))
	var stream bytes.Buffer
	check(t, fsm.WriteSnapshot(&stream, raised))

	_, inLog := fsm.Apply(fsmtest.NewStore(), 1, raise)
	_, inState := fsm.Apply(raised, 1, fsm.EncodeEntry(fsm.Entry{Commands: []fsm.Command{fsm.Fence{}}}))
	inSnapshot := fsm.ReadSnapshot(&stream, func(_, _ []byte) error { return nil })
	for where, err := range map[string]error{"the log": inLog, "the state": inState, "a snapshot": inSnapshot} {
		if unknown := (*fsm.UnknownFormatError)(nil); !errors.As(err, &unknown) || unknown.Format != fsm.FormatNewest+1 {
			t.Errorf("in %s it is %v", where, err)
		}
	}
}
