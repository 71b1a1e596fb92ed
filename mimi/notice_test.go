package mimi

import (
	"reflect"
	"testing"

	"parley/mls"
)

func sampleNotices() []Notice {
	return []Notice{
		Verdict{Receipt: Receipt{1, 31: 2}, Code: VerdictEpochTooOld, Current: 7, Reason: "the epoch has left the window"},
		Verdict{Code: VerdictAccepted, AcceptedMillis: 1234},
		ProposalFate{Ref: "reference", End: ProposalDropped, Epoch: 3},
		RoomDestroyed{},
		PolicyChanged{Epoch: 4, Changes: PreauthorizationChanged | RolesChanged},
		VoiceChanged{Epoch: 4, Gained: []UserURI{sampleAlice}, Lost: []UserURI{sampleBob, sampleAlice}},
		UserDeleted{User: sampleBob, Millis: 9},
		StreamGap{Items: 3, FirstMillis: 4, LastMillis: 5},
		UnknownNotice{Kind: 200, Bytes: []byte("of a later program")},
	}
}

func TestNotices(t *testing.T) {
	for _, n := range sampleNotices() {
		encoded := MarshalNotice(n)
		got, err := ParseNotice(encoded)
		if err != nil {
			t.Errorf("%T: %v", n, err)
			continue
		}
		if string(MarshalNotice(got)) != string(encoded) || got.NoticeKind() != n.NoticeKind() {
			t.Errorf("%T came back as %#v", n, got)
		}
		for cut := range encoded {
			if _, err := ParseNotice(encoded[:cut]); err == nil {
				t.Errorf("%T: %d of %d octets were taken", n, cut, len(encoded))
			}
		}
	}
}

// What a later program adds is skipped, and does not spoil what stands behind it.
func TestUnknownNoticeIsSkipped(t *testing.T) {
	var w mls.Writer
	AppendNotice(&w, UnknownNotice{Kind: 200, Bytes: []byte("x")})
	AppendNotice(&w, RoomDestroyed{})
	r := mls.NewReader("notices", w.Bytes())
	first, second := ReadNotice(r), ReadNotice(r)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, UnknownNotice{Kind: 200, Bytes: []byte("x")}) || second != (RoomDestroyed{}) {
		t.Errorf("%#v, %#v", first, second)
	}
}

func TestNoticeRefusals(t *testing.T) {
	for name, raw := range map[string][]byte{
		"a verdict without a code":     MarshalNotice(Verdict{}),
		"an end that is none":          MarshalNotice(ProposalFate{End: 3}),
		"more behind the notice's end": {byte(NoticeRoomDestroyed), 1, 0},
		"a reason that is no text":     append(MarshalNotice(Verdict{Code: VerdictInvalid})[:2+32+1+16], 1, 0xff),
	} {
		if n, err := ParseNotice(raw); err == nil {
			t.Errorf("%s: %#v", name, n)
		}
	}
}

func FuzzNotice(f *testing.F) {
	for _, n := range sampleNotices() {
		f.Add(MarshalNotice(n))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := ParseNotice(raw)
		if err == nil && string(MarshalNotice(n)) != string(raw) {
			t.Errorf("%x came back as %x", raw, MarshalNotice(n))
		}
	})
}
