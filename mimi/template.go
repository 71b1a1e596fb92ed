package mimi

import (
	"fmt"
	"net/url"
	"strings"

	"parley/mls"
)

// TemplateBytesMax bounds an endpoint's URL template.
const TemplateBytesMax = 2048

// template is an https URL with at most one variable, as text before and after it. A variable has one place, whatever it is
// called: the drafts name it differently from figure to figure.
type template struct {
	before, after string
	variable      string // its name; empty where there is none, and then all text is in before
}

// parseTemplate reads a template for an endpoint. The draft's `…/update{roomId}` lacks a slash, which it gets.
func parseTemplate(endpoint Endpoint, text string) (template, error) {
	if len(text) > TemplateBytesMax {
		return template{}, badTemplate(endpoint, fmt.Sprintf("it has more than %d bytes", TemplateBytesMax))
	}
	t := template{before: text}
	if before, rest, found := strings.Cut(text, "{"); found {
		name, after, closed := strings.Cut(rest, "}")
		if !closed || !isVariableName(name) || strings.ContainsAny(after, "{}") {
			return template{}, badTemplate(endpoint, "it has something other than one plain {variable}")
		}
		t = template{before: before, after: after, variable: name}
		if endpoint != "" && strings.HasSuffix(before, "/"+string(endpoint)) {
			t.before += "/"
		}
	}
	if !isHTTPS(t.before) {
		return template{}, badTemplate(endpoint, "it does not begin with an https origin")
	}
	if _, err := url.Parse(t.before + t.after); err != nil || strings.Contains(text, "#") {
		return template{}, badTemplate(endpoint, "it is not a URL without a fragment")
	}
	return t, nil
}

func badTemplate(endpoint Endpoint, reason string) error {
	field := "template"
	if endpoint != "" {
		field = "directory." + string(endpoint)
	}
	return &mls.MalformedError{Field: field, Reason: reason}
}

// isHTTPS: the origin is complete, so that a variable can stand in the path or the query only.
func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && strings.HasPrefix(u.Path, "/")
}

func isVariableName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !isUnreserved(c) || c == '-' || c == '~' {
			return false
		}
	}
	return name != ""
}

// expand puts a value in the variable's place, percent-encoded as one segment.
func (t template) expand(value string) string {
	if t.variable == "" {
		return t.before
	}
	return t.before + escapeSegment(value) + t.after
}

func (t template) String() string {
	if t.variable == "" {
		return t.before
	}
	return t.before + "{" + t.variable + "}" + t.after
}

// Expand puts a value in the place of a template's variable, whatever that is called, percent-encoded as one path segment. A
// template without a variable stands for itself. The error is a *mls.MalformedError.
func Expand(text, value string) (string, error) {
	t, err := parseTemplate("", text)
	if err != nil {
		return "", err
	}
	return t.expand(value), nil
}
