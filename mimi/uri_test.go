package mimi

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"parley/mls"
)

func TestCanonicalURI(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"mimi://a.example/r/clubhouse", "mimi://a.example/r/clubhouse"},
		{"MIMI://A.Example/r/Club", "mimi://a.example/r/Club"},
		{"mimi://a.example/r/%63lub", "mimi://a.example/r/club"},
		{"mimi://a.example/r/a%2fb", "mimi://a.example/r/a%2Fb"},
		{"mimi://a.example/r/a%3ab", "mimi://a.example/r/a%3Ab"},
		{"mimi://a.example/r/a:b@c", "mimi://a.example/r/a:b@c"},
		{"mimi://a.example/r/jos\u00e9", "mimi://a.example/r/jos%C3%A9"},
		{"mimi://a.example/r/jos%c3%a9", "mimi://a.example/r/jos%C3%A9"},
		{"mimi://a.example/r/one/two", "mimi://a.example/r/one/two"},
		{"mimi://localhost/r/x", "mimi://localhost/r/x"},
		{"mimi://xn--bcher-kva.example/r/x", "mimi://xn--bcher-kva.example/r/x"},
	} {
		got, err := ParseRoomURI(c.in)
		if err != nil || got.String() != c.want {
			t.Errorf("%q: %q, %v; want %q", c.in, got, err, c.want)
		}
		again, err := ParseRoomURI(got.String())
		if err != nil || again != got {
			t.Errorf("the canonical form of %q is not its own: %q, %v", c.in, again, err)
		}
	}
}

func TestRefusedURI(t *testing.T) {
	for name, in := range map[string]string{
		"empty":               "",
		"other scheme":        "https://a.example/r/x",
		"no scheme":           "a.example/r/x",
		"no domain":           "mimi:///r/x",
		"no path":             "mimi://a.example",
		"no identifier":       "mimi://a.example/r/",
		"no slash":            "mimi://a.example/r",
		"a user":              "mimi://a.example/u/x",
		"upper-case kind":     "mimi://a.example/R/x",
		"port":                "mimi://a.example:443/r/x",
		"user information":    "mimi://me@a.example/r/x",
		"query":               "mimi://a.example/r/x?y",
		"fragment":            "mimi://a.example/r/x#y",
		"space":               "mimi://a.example/r/x y",
		"control":             "mimi://a.example/r/x\x00",
		"encoded control":     "mimi://a.example/r/x%0A",
		"cut percent":         "mimi://a.example/r/x%4",
		"wrong percent":       "mimi://a.example/r/x%zz",
		"not UTF-8":           "mimi://a.example/r/\xff",
		"encoded not UTF-8":   "mimi://a.example/r/%ff",
		"dot segment":         "mimi://a.example/r/../u",
		"encoded dot segment": "mimi://a.example/r/%2e%2E/u",
		"empty segment":       "mimi://a.example/r/x//y",
		"final slash":         "mimi://a.example/r/x/",
		"final dot":           "mimi://a.example./r/x",
		"IPv4":                "mimi://127.0.0.1/r/x",
		"IPv6":                "mimi://[::1]/r/x",
		"raw international":   "mimi://b\u00fccher.example/r/x",
		"Kelvin sign":         "mimi://a.example\u212a/r/x",
		"underscore":          "mimi://a_b.example/r/x",
		"hyphen first":        "mimi://-a.example/r/x",
		"long label":          "mimi://" + strings.Repeat("a", 64) + ".example/r/x",
		"long domain":         "mimi://" + strings.Repeat("a.", 127) + "b/r/x",
		"long":                "mimi://a.example/r/" + strings.Repeat("x", URIBytesMax),
		"long when encoded":   "mimi://a.example/r/" + strings.Repeat("\u00e9", URIBytesMax/4),
	} {
		got, err := ParseRoomURI(in)
		var malformed *mls.MalformedError
		if !errors.As(err, &malformed) {
			t.Errorf("%s: %q taken as %q, error %v", name, in, got, err)
		}
		if !got.IsZero() {
			t.Errorf("%s: a value comes with the error: %q", name, got)
		}
	}
}

func TestURIKinds(t *testing.T) {
	user, err := ParseUserURI("mimi://B.example/u/bob")
	if err != nil || user.Provider().String() != "b.example" {
		t.Fatal(user, err)
	}
	client, err := ParseClientURI("mimi://b.example/d/bob/phone")
	if err != nil || client.Provider() != user.Provider() {
		t.Fatal(client, err)
	}
	if _, err := ParseUserURI(client.String()); err == nil {
		t.Error("a client URI was taken for a user URI")
	}
	if (RoomURI{}).Provider() != (Provider{}) {
		t.Error("no room has a provider")
	}
}

func TestURIsAreMapKeys(t *testing.T) {
	rooms := map[RoomURI]int{}
	for _, spelling := range []string{"mimi://a.example/r/x%7E", "MIMI://A.EXAMPLE/r/x~"} {
		room, err := ParseRoomURI(spelling)
		if err != nil {
			t.Fatal(err)
		}
		rooms[room]++
	}
	if len(rooms) != 1 {
		t.Errorf("two spellings make %d keys", len(rooms))
	}
}

func TestIdentityURI(t *testing.T) {
	if id, err := ParseIdentityURI([]byte("mimi://b.example/u/bob")); err != nil || id != mustUser("mimi://b.example/u/bob") {
		t.Error(id, err)
	}
	if id, err := ParseIdentityURI([]byte("mimi://b.example/d/bob1")); err != nil || id != mustClient("mimi://b.example/d/bob1") {
		t.Error(id, err)
	}
	for _, in := range []string{"", "bob", "mimi://b.example/r/room", "mimi://b.example/u/", "mimi://b.example/d/%"} {
		if id, err := ParseIdentityURI([]byte(in)); err == nil || id != nil {
			t.Errorf("%q taken as %v", in, id)
		}
	}
}

func TestPaths(t *testing.T) {
	room := mustRoom("mimi://a.example/r/caf%C3%A9%2Fbar/annex")
	segment := PathSegment(room)
	if want := "mimi%3A%2F%2Fa.example%2Fr%2Fcaf%25C3%25A9%252Fbar%2Fannex"; segment != want {
		t.Errorf("PathSegment: %s, want %s", segment, want)
	}
	for name, path := range map[string]string{
		"encoded":              segment,
		"unescaped by router":  room.String(),
		"scheme-less":          "a.example/r/caf%C3%A9%2Fbar/annex",
		"encoded, scheme-less": "a.example%2Fr%2Fcaf%25C3%25A9%252Fbar%2Fannex",
		"cleaned":              "mimi:/a.example/r/caf%C3%A9%2Fbar/annex",
		"leading slash":        "/a.example/r/caf%C3%A9%2Fbar/annex",
		"upper-case":           "MIMI://A.example/r/caf%c3%a9%2fbar/annex",
	} {
		if got, err := RoomURIFromPath(path); err != nil || got != room {
			t.Errorf("%s: %q gives %q, %v", name, path, got, err)
		}
	}
	for _, path := range []string{"", "%", "a.example", "a.example/u/bob", strings.Repeat("a", 4*URIBytesMax)} {
		if got, err := RoomURIFromPath(path); err == nil || !got.IsZero() {
			t.Errorf("%q taken as %q", path, got)
		}
	}
	if user, err := UserURIFromPath("b.example/u/bob"); err != nil || user != mustUser("mimi://b.example/u/bob") {
		t.Error(user, err)
	}
	if client, err := ClientURIFromPath("mimi%3a%2f%2fb.example%2fd%2fb1"); err != nil || client != mustClient("mimi://b.example/d/b1") {
		t.Error(client, err)
	}
}

func TestURIText(t *testing.T) {
	room := mustRoom("mimi://a.example/r/x")
	text, err := room.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back RoomURI
	if err := back.UnmarshalText(text); err != nil || back != room {
		t.Error(back, err)
	}
	if err := back.UnmarshalText([]byte("nonsense")); err == nil || back != room {
		t.Error("a bad text was taken or changed the value", back, err)
	}
	if err := back.UnmarshalText(nil); err != nil || !back.IsZero() {
		t.Error(back, err)
	}
}

// TestNamesOnTheWire: each kind of name is written as opaque<V> and read back, and empty where that is allowed.
func TestNamesOnTheWire(t *testing.T) {
	names := func(w *mls.Writer) {
		sampleRoom.AppendTo(w)
		sampleBob.AppendTo(w)
		sampleClient.AppendTo(w)
		mustProvider("a.example").AppendTo(w)
	}
	r := mls.NewReader("names", write(names))
	room, user, client, provider := ReadRoomURI(r, "r"), ReadUserURI(r, "u"), ReadClientURI(r, "d"), ReadProvider(r, "p")
	if err := r.Close(); err != nil || room != sampleRoom || user != sampleBob || client != sampleClient || provider.String() != "a.example" {
		t.Error(room, user, client, provider, err)
	}
	r = mls.NewReader("names", write(names))
	room, user, client, provider = ReadOptionalRoomURI(r, "r"), ReadOptionalUserURI(r, "u"), ReadOptionalClientURI(r, "d"), ReadOptionalProvider(r, "p")
	if err := r.Close(); err != nil || room.IsZero() || user.IsZero() || client.IsZero() || provider.IsZero() {
		t.Error(room, user, client, provider, err)
	}
	r = mls.NewReader("none", []byte{0, 0, 0, 0})
	room, user, client, provider = ReadOptionalRoomURI(r, "r"), ReadOptionalUserURI(r, "u"), ReadOptionalClientURI(r, "d"), ReadOptionalProvider(r, "p")
	if err := r.Close(); err != nil || !room.IsZero() || !user.IsZero() || !client.IsZero() || !provider.IsZero() {
		t.Error(room, user, client, provider, err)
	}
	for field, read := range map[string]func(r *mls.Reader){
		"r": func(r *mls.Reader) { ReadRoomURI(r, "r") },
		"u": func(r *mls.Reader) { ReadUserURI(r, "u") },
		"d": func(r *mls.Reader) { ReadClientURI(r, "d") },
		"p": func(r *mls.Reader) { ReadProvider(r, "p") },
	} {
		r := mls.NewReader("none", []byte{0})
		read(r)
		var malformed *mls.MalformedError
		if err := r.Close(); !errors.As(err, &malformed) || malformed.Field != "none."+field {
			t.Errorf("an empty name is taken or blamed on another field than %s: %v", field, err)
		}
	}
}

func TestNamesInJSON(t *testing.T) {
	type names struct {
		Room      RoomURI
		User      UserURI
		Client    ClientURI
		Provider  Provider
		Providers map[Provider]int
	}
	in := names{sampleRoom, sampleBob, sampleClient, mustProvider("a.example"), map[Provider]int{mustProvider("b.example"): 1}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out names
	if err := json.Unmarshal(text, &out); err != nil || !reflect.DeepEqual(in, out) {
		t.Errorf("%s gives %v, %v", text, out, err)
	}
	if err := json.Unmarshal([]byte(`{"Provider":"","User":""}`), &out); err != nil || !out.Provider.IsZero() || !out.User.IsZero() {
		t.Error(out, err)
	}
	for _, bad := range []string{`{"Provider":"a b"}`, `{"Client":"mimi://a.example/u/x"}`, `{"User":7}`} {
		if err := json.Unmarshal([]byte(bad), &out); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestProvidersSort(t *testing.T) {
	list := []Provider{mustProvider("b.example"), mustProvider("a.example"), {}}
	slices.SortFunc(list, Provider.Compare)
	if !list[0].IsZero() || list[1].String() != "a.example" {
		t.Error(list)
	}
}

func TestFromHeader(t *testing.T) {
	provider := mustProvider("a.example")
	if got, err := ParseFromHeader(FromHeader(provider)); err != nil || got != provider {
		t.Error(got, err)
	}
	if got, err := ParseFromHeader("MIMI@A.example"); err != nil || got != provider {
		t.Error(got, err)
	}
	for _, in := range []string{"", "a.example", "bob@a.example", "mimi@", "Mimi <mimi@a.example>", "mimi@a.example, mimi@b.example"} {
		if got, err := ParseFromHeader(in); err == nil {
			t.Errorf("%q taken as %q", in, got)
		}
	}
}

func FuzzURI(f *testing.F) {
	f.Add("mimi://a.example/r/clubhouse")
	f.Add("MIMI://A.example/r/%63%c3%A9/x")
	f.Fuzz(func(t *testing.T, in string) {
		room, err := ParseRoomURI(in)
		if err != nil {
			return
		}
		if again, err := ParseRoomURI(room.String()); err != nil || again != room {
			t.Fatalf("%q is not canonical: %q, %v", room, again, err)
		}
		for _, path := range []string{PathSegment(room), room.String(), strings.TrimPrefix(room.String(), schemePrefix)} {
			if back, err := RoomURIFromPath(path); err != nil || back != room {
				t.Fatalf("path %q gives %q, %v", path, back, err)
			}
		}
	})
}

func mustProvider(s string) Provider { return must(ParseProvider(s)) }
func mustRoom(s string) RoomURI      { return must(ParseRoomURI(s)) }
func mustUser(s string) UserURI      { return must(ParseUserURI(s)) }
func mustClient(s string) ClientURI  { return must(ParseClientURI(s)) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
