package mimi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"parley/mls"
)

// Endpoint is a name in a directory document: one of the draft's below, or an extension's.
type Endpoint string

// The endpoints of mimi-protocol-06 §5.1.
const (
	EndpointKeyMaterial     Endpoint = "keyMaterial"
	EndpointUpdate          Endpoint = "update"
	EndpointNotify          Endpoint = "notify"
	EndpointSubmitMessage   Endpoint = "submitMessage"
	EndpointGroupInfo       Endpoint = "groupInfo"
	EndpointRequestConsent  Endpoint = "requestConsent"
	EndpointUpdateConsent   Endpoint = "updateConsent"
	EndpointIdentifierQuery Endpoint = "identifierQuery"
	EndpointReportAbuse     Endpoint = "reportAbuse"
	EndpointProxyDownload   Endpoint = "proxyDownload"
)

// endpointVariables are the variables of the draft's templates.
var endpointVariables = map[Endpoint]string{
	EndpointKeyMaterial:     "targetUser",
	EndpointUpdate:          "roomId",
	EndpointNotify:          "roomId",
	EndpointSubmitMessage:   "roomId",
	EndpointGroupInfo:       "roomId",
	EndpointRequestConsent:  "targetUser",
	EndpointUpdateConsent:   "requesterUser",
	EndpointIdentifierQuery: "domain",
	EndpointReportAbuse:     "roomId",
	EndpointProxyDownload:   "downloadUrl",
}

// Variable is the name of the endpoint's variable in the draft; empty for an extension's.
func (e Endpoint) Variable() string { return endpointVariables[e] }

// DirectoryBytesMax bounds a directory document, and endpointsMax its entries.
const (
	DirectoryBytesMax = 64 << 10
	endpointsMax      = 256
)

// Directory is a provider's directory document (mimi-protocol-06 §5.1): a URL template for each endpoint that exists there.
// It is constant after it was made, and may be used concurrently.
type Directory struct{ templates map[Endpoint]template }

// NewDirectory lists endpoints of the draft under an https base URL, each at base/name/{variable}.
func NewDirectory(base string, endpoints ...Endpoint) (Directory, error) {
	var d Directory
	for _, e := range endpoints {
		if e.Variable() == "" {
			return Directory{}, badTemplate(e, "the draft has no such endpoint")
		}
		var err error
		if d, err = d.With(e, fmt.Sprintf("%s/%s/{%s}", strings.TrimSuffix(base, "/"), e, e.Variable())); err != nil {
			return Directory{}, err
		}
	}
	return d, nil
}

// With returns a directory that lists another endpoint, of the draft or of an extension; a template has one variable or none.
// The error is a *mls.MalformedError.
func (d Directory) With(endpoint Endpoint, urlTemplate string) (Directory, error) {
	t, err := parseTemplate(endpoint, urlTemplate)
	if err != nil {
		return Directory{}, err
	}
	if t.variable == "" && endpoint.Variable() != "" {
		return Directory{}, badTemplate(endpoint, "it has no variable")
	}
	templates := maps.Clone(d.templates)
	if templates == nil {
		templates = make(map[Endpoint]template)
	}
	templates[endpoint] = t
	return Directory{templates}, nil
}

// ParseDirectory reads a peer's document. Names that the draft does not have are kept where their value is a template, since
// they may be an extension's, and ignored otherwise; a broken template of the draft's endpoints is malformed.
func ParseDirectory(document []byte) (Directory, error) {
	if len(document) > DirectoryBytesMax {
		return Directory{}, &mls.MalformedError{Field: "directory", Reason: fmt.Sprintf("it has more than %d bytes", DirectoryBytesMax)}
	}
	var entries map[Endpoint]json.RawMessage
	if err := json.Unmarshal(document, &entries); err != nil || entries == nil {
		return Directory{}, &mls.MalformedError{Field: "directory", Reason: "it is not a JSON object"}
	}
	if len(entries) > endpointsMax {
		return Directory{}, &mls.MalformedError{Field: "directory", Reason: fmt.Sprintf("it has more than %d entries", endpointsMax)}
	}
	d := Directory{make(map[Endpoint]template, len(entries))}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		t, err := parseEntry(name, entries[name])
		switch {
		case err == nil:
			d.templates[name] = t
		case name.Variable() != "":
			return Directory{}, err
		}
	}
	return d, nil
}

func parseEntry(name Endpoint, raw json.RawMessage) (template, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil {
		return template{}, badTemplate(name, "it is not a string")
	}
	t, err := parseTemplate(name, text)
	if err == nil && t.variable == "" && name.Variable() != "" {
		return template{}, badTemplate(name, "it has no variable")
	}
	return t, err
}

// MarshalJSON writes the document, its names sorted.
func (d Directory) MarshalJSON() ([]byte, error) {
	document := make(map[Endpoint]string, len(d.templates))
	for name, t := range d.templates {
		document[name] = t.String()
	}
	return json.Marshal(document)
}

// Endpoints lists what the directory has, sorted.
func (d Directory) Endpoints() []Endpoint { return slices.Sorted(maps.Keys(d.templates)) }

// Template returns an endpoint's URL template, and whether the endpoint exists.
func (d Directory) Template(endpoint Endpoint) (string, bool) {
	t, exists := d.templates[endpoint]
	return t.String(), exists
}

// URL returns an endpoint's URL for a value, such as a room's URI, and whether the endpoint exists.
func (d Directory) URL(endpoint Endpoint, value interface{ String() string }) (string, bool) {
	t, exists := d.templates[endpoint]
	if !exists {
		return "", false
	}
	return t.expand(value.String()), true
}
