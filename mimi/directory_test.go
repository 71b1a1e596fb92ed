package mimi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestDirectoryDocument(t *testing.T) {
	d := must(NewDirectory("https://mimi.a.example:8443/v1/", EndpointUpdate, EndpointKeyMaterial, EndpointNotify))
	d = must(d.With("bulkKeyMaterial", "https://mimi.a.example:8443/v1/ext/bulkKeyMaterial"))
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"bulkKeyMaterial":"https://mimi.a.example:8443/v1/ext/bulkKeyMaterial",` +
		`"keyMaterial":"https://mimi.a.example:8443/v1/keyMaterial/{targetUser}",` +
		`"notify":"https://mimi.a.example:8443/v1/notify/{roomId}",` +
		`"update":"https://mimi.a.example:8443/v1/update/{roomId}"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	again := must(ParseDirectory(got))
	if !slices.Equal(again.Endpoints(), d.Endpoints()) {
		t.Errorf("read %v, want %v", again.Endpoints(), d.Endpoints())
	}
	if _, exists := again.URL(EndpointGroupInfo, sampleRoom); exists {
		t.Error("an endpoint that is not listed exists")
	}
}

func TestPeerDirectory(t *testing.T) {
	d := must(ParseDirectory([]byte(`{
		"keyMaterial": "https://h.example/v1/keyMaterial/{anyName}",
		"update": "https://h.example/v1/update{roomId}",
		"notify": "https://h.example/n?room={room}&x=1",
		"meta": {"termsOfService": "https://h.example/tos"},
		"contact": "mailto:ops@h.example",
		"somethingNew": "https://h.example/new/{x}"
	}`)))
	for endpoint, want := range map[Endpoint]string{
		EndpointKeyMaterial: "https://h.example/v1/keyMaterial/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse",
		EndpointUpdate:      "https://h.example/v1/update/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse",
		EndpointNotify:      "https://h.example/n?room=mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse&x=1",
		"somethingNew":      "https://h.example/new/mimi%3A%2F%2Fa.example%2Fr%2Fclubhouse",
	} {
		if got, exists := d.URL(endpoint, sampleRoom); !exists || got != want {
			t.Errorf("%s: %s, want %s", endpoint, got, want)
		}
	}
	for _, endpoint := range []Endpoint{"meta", "contact"} {
		if got, exists := d.Template(endpoint); exists {
			t.Errorf("%s became an endpoint: %s", endpoint, got)
		}
	}
}

func TestRefusedDirectory(t *testing.T) {
	for name, document := range map[string]string{
		"empty":                 "",
		"null":                  "null",
		"list":                  "[]",
		"trailing":              "{} {}",
		"draft's missing colon": `{"proxyDownload" "https://h.example/{x}"}`,
		"http":                  `{"update": "http://h.example/update/{roomId}"}`,
		"no host":               `{"update": "https:///update/{roomId}"}`,
		"user information":      `{"update": "https://me@h.example/update/{roomId}"}`,
		"no variable":           `{"update": "https://h.example/update"}`,
		"two variables":         `{"update": "https://h.example/{a}/{b}"}`,
		"variable in the host":  `{"update": "https://{roomId}.example/update"}`,
		"reserved expansion":    `{"update": "https://h.example/update/{+roomId}"}`,
		"unclosed":              `{"update": "https://h.example/update/{roomId"}`,
		"empty variable":        `{"update": "https://h.example/update/{}"}`,
		"fragment":              `{"update": "https://h.example/#{roomId}"}`,
		"number":                `{"update": 7}`,
		"long template":         `{"update": "https://h.example/` + strings.Repeat("x", TemplateBytesMax) + `/{roomId}"}`,
		"long document":         `{"x": "` + strings.Repeat("x", DirectoryBytesMax) + `"}`,
	} {
		if d, err := ParseDirectory([]byte(document)); !isMalformed(err) {
			t.Errorf("%s: %v, %v", name, d.Endpoints(), err)
		}
	}
}

func TestDirectoryIsConstant(t *testing.T) {
	d := must(NewDirectory("https://a.example", EndpointUpdate))
	must(d.With(EndpointNotify, "https://a.example/notify/{roomId}"))
	if len(d.Endpoints()) != 1 {
		t.Errorf("With changed its receiver: %v", d.Endpoints())
	}
	if _, err := NewDirectory("https://a.example", "somethingElse"); err == nil {
		t.Error("an endpoint outside the draft got the draft's form")
	}
}

func TestExpand(t *testing.T) {
	if got, err := Expand("https://a.example/x/{y}/z", "a/b %"); err != nil || got != "https://a.example/x/a%2Fb%20%25/z" {
		t.Error(got, err)
	}
	if got, err := Expand("https://a.example/x", "unused"); err != nil || got != "https://a.example/x" {
		t.Error(got, err)
	}
	if got, err := Expand("ftp://a.example/{x}", "v"); err == nil {
		t.Error(got)
	}
}
