package mls

import (
	"bytes"
	"errors"
	"testing"
)

// appendUpdates is a component whose updates are appended to its data; the update "bad" is refused.
func appendUpdates(current []byte, updates [][]byte) ([]byte, error) {
	for _, u := range updates {
		if string(u) == "bad" {
			return nil, errors.New("bad update")
		}
		current = append(bytes.Clone(current), u...)
	}
	return current, nil
}

func update(id ComponentID, data string) Proposal {
	return AppDataUpdate{Component: id, Operation: ComponentUpdate{Update: []byte(data)}}
}

func remove(id ComponentID) Proposal {
	return AppDataUpdate{Component: id, Operation: ComponentRemove{}}
}

func TestAppDataUpdate(t *testing.T) {
	before := AppDataDictionary{{ID: 5, Data: []byte("five")}, {ID: 9, Data: []byte("nine")}}
	for name, c := range map[string]struct {
		proposals []Proposal
		want      AppDataDictionary
		section   string // where refused
	}{
		"none":            {nil, before, ""},
		"changed":         {[]Proposal{update(5, "+"), update(9, "!"), update(5, "-")}, AppDataDictionary{{5, []byte("five+-")}, {9, []byte("nine!")}}, ""},
		"in between":      {[]Proposal{update(7, "seven")}, AppDataDictionary{{5, []byte("five")}, {7, []byte("seven")}, {9, []byte("nine")}}, ""},
		"removed":         {[]Proposal{remove(5)}, AppDataDictionary{{9, []byte("nine")}}, ""},
		"removed twice":   {[]Proposal{remove(5), remove(5)}, nil, "mls-extensions AppDataUpdate"},
		"absent removed":  {[]Proposal{remove(7)}, nil, "mls-extensions AppDataUpdate"},
		"then removed":    {[]Proposal{update(5, "+"), remove(5)}, nil, "mls-extensions AppDataUpdate"},
		"removed, then":   {[]Proposal{remove(5), update(5, "+")}, nil, "mls-extensions AppDataUpdate"},
		"unknown":         {[]Proposal{update(6, "six")}, nil, "mls-extensions AppDataUpdate"},
		"bad":             {[]Proposal{update(5, "bad")}, nil, "mls-extensions AppDataUpdate"},
		"ephemeral":       {[]Proposal{AppEphemeral{Component: 7}}, before, ""},
		"other ephemeral": {[]Proposal{AppEphemeral{Component: 6}}, nil, "mls-extensions AppEphemeral"},
		"app_ack":         {[]Proposal{AppEphemeral{ComponentAppAck, AppAck{{0, 1, 1}}.Marshal()}}, before, ""},
		"backward ack":    {[]Proposal{AppEphemeral{ComponentAppAck, AppAck{{0, 2, 1}}.Marshal()}}, nil, "mls-extensions AppEphemeral"},
		"checked":         {[]Proposal{AppEphemeral{8, []byte("good")}}, before, ""},
		"bad ephemeral":   {[]Proposal{AppEphemeral{8, []byte("bad")}}, nil, "mls-extensions AppEphemeral"},
	} {
		t.Run(name, func(t *testing.T) {
			w, founder := newWorld(t, 1, Extension{ExtensionAppDataDictionary, before.Marshal()}, Extension{0xf000, []byte("kept")})
			commit := Commit{Proposals: inline(c.proposals...)}
			if len(c.proposals) == 0 {
				commit.Path = w.path(founder, w.group.Tree().clone())
			}
			in := w.input()
			in.Components = map[ComponentID]ComponentApplier{5: appendUpdates, 7: appendUpdates, 9: appendUpdates}
			in.Ephemerals = map[ComponentID]EphemeralCheck{8: func(data []byte) error {
				_, err := appendUpdates(nil, [][]byte{data})
				return err
			}}
			staged, err := w.group.Stage(w.message(founder, MemberSender{}, commit), in)
			if c.section != "" {
				wantSection(t, err, c.section)
				return
			}
			w.ok(err)
			extensions := staged.After.Context().Extensions
			if extensions[0].Type != ExtensionAppDataDictionary || !bytes.Equal(extensions[0].Data, c.want.Marshal()) || len(extensions) != 2 {
				t.Errorf("the extensions are %v, want %v first", extensions, c.want)
			}
			if got, _ := w.group.Context().Extensions.Get(ExtensionAppDataDictionary); !bytes.Equal(got, before.Marshal()) {
				t.Error("staging changed the group itself")
			}
		})
	}
}

// TestDictionaryAppended adds the dictionary to a group without one: last (mls-extensions).
func TestDictionaryAppended(t *testing.T) {
	w, founder := newWorld(t, 1, Extension{0xf000, nil})
	in := w.input()
	in.Components = map[ComponentID]ComponentApplier{5: appendUpdates}
	staged := w.accept(w.message(founder, MemberSender{}, Commit{Proposals: inline(update(5, "five"))}), in)
	want := Extensions{{0xf000, []byte{}}, {ExtensionAppDataDictionary, AppDataDictionary{{5, []byte("five")}}.Marshal()}}
	if got := staged.After.Context().Extensions; !bytes.Equal(got.Marshal(), want.Marshal()) {
		t.Errorf("extensions %v, want %v", got, want)
	}
}

// TestGuardedDictionary changes the dictionary by a GroupContextExtensions where the group requires app_data_update.
func TestGuardedDictionary(t *testing.T) {
	required := Extension{ExtensionRequiredCapabilities, RequiredCapabilities{Proposals: []ProposalType{ProposalAppDataUpdate}}.Marshal()}
	dictionary := Extension{ExtensionAppDataDictionary, AppDataDictionary{{5, []byte("five")}}.Marshal()}
	changed := Extension{ExtensionAppDataDictionary, AppDataDictionary{{5, []byte("6")}}.Marshal()}
	w, founder := newWorld(t, 1, required, dictionary)
	stage := func(l Extensions) error {
		_, err := w.group.Stage(w.message(founder, MemberSender{}, Commit{
			Path: w.path(founder, w.group.Tree().clone()), Proposals: inline(GroupContextExtensions{l})}), w.input())
		return err
	}
	wantSection(t, stage(Extensions{required, changed}), "mls-extensions AppDataUpdate")
	wantSection(t, stage(Extensions{required}), "mls-extensions AppDataUpdate")
	w.ok(stage(Extensions{{0xf000, nil}, dictionary}))
}
