// Package inspect looks into files of MLS (RFC 9420) as a hub does that holds no secret: it decodes them, checks all that can be
// checked, and says what they hold, what was checked and what could not be. Files of one call are looked at together: a
// GroupInfo needs its tree, and a message the group it was sent in.
package inspect

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"parley/mls"
)

// Input is a file's name and content.
type Input struct {
	Name    string
	Content []byte
}

// Report is what was found in files, in their order.
type Report struct {
	At    time.Time `json:"at"` // at which lifetimes are judged
	Valid bool      `json:"valid"`
	Files []File    `json:"files"`
}

// File is what was found in one file. It is valid where nothing is wrong with it as far as can be told.
type File struct {
	Name     string `json:"file"`
	Encoding string `json:"encoding"`
	Bytes    int    `json:"bytes"`
	// Form is the structure that read all of the bytes: an MLSMessage, or one of those that can stand bare. Empty for none.
	Form string `json:"form,omitempty"`
	// Type is what it is, or what the MLSMessage holds.
	Type string `json:"type,omitempty"`
	// AlsoForms are forms that would have read all of the bytes as well, and come later in the order in which they are tried.
	AlsoForms  []string     `json:"also_forms,omitempty"`
	Valid      bool         `json:"valid"`
	Problems   []Problem    `json:"problems,omitempty"`
	Content    Record       `json:"content,omitempty"`
	Verified   []string     `json:"verified,omitempty"`
	Unverified []Unverified `json:"not_verified,omitempty"`
	Notes      []string     `json:"notes,omitempty"`

	object object
}

// Unverified is what could not be checked, and why.
type Unverified struct {
	What string `json:"what"`
	Why  string `json:"why"`
}

// Files inspects files at a time in seconds since 1970, up to the year 9999.
func Files(inputs []Input, atSeconds uint64) Report {
	report := Report{At: time.Unix(int64(atSeconds), 0).UTC(), Valid: true, Files: make([]File, len(inputs))}
	files := report.Files
	for i, input := range inputs {
		files[i] = open(input)
	}
	s := surroundings{atSeconds: atSeconds}
	s.collect(files)
	for i := range files {
		if files[i].Form != "" {
			files[i].Content = describe(files[i].object)
			s.check(&files[i])
		}
		files[i].Valid = len(files[i].Problems) == 0
		report.Valid = report.Valid && files[i].Valid
	}
	return report
}

// open decodes a file.
func open(input Input) File {
	d := decode(input.Content)
	f := File{Name: input.Name, Encoding: d.encoding, Bytes: d.bytes}
	if len(input.Content) == 0 {
		f.Problems = []Problem{{Reason: "the file is empty"}}
		return f
	}
	if len(d.objects) == 0 {
		f.Problems = d.problems
		return f
	}
	f.object = d.objects[0]
	f.Form, f.Type = f.object.form.name, f.object.kind()
	for _, also := range d.objects[1:] {
		f.AlsoForms = append(f.AlsoForms, also.form.name)
	}
	return f
}

func (f *File) verified(format string, args ...any) {
	f.Verified = append(f.Verified, fmt.Sprintf(format, args...))
}

func (f *File) unverified(what, why string) {
	f.Unverified = append(f.Unverified, Unverified{what, why})
}

func (f *File) note(format string, args ...any) {
	f.Notes = append(f.Notes, fmt.Sprintf(format, args...))
}

// wrong adds a problem, of an error of package mls.
func (f *File) wrong(err error) {
	f.Problems = append(f.Problems, problemOf(err, f.object.form.section))
}

// refuse adds a problem that this package has found.
func (f *File) refuse(section, format string, args ...any) {
	f.wrong(&mls.InvalidError{Section: section, Reason: fmt.Sprintf(format, args...)})
}

// WriteJSON prints the report as one document.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// WriteText prints the report for a person; of several files, the last line counts the valid ones.
func (r Report) WriteText(w io.Writer) error {
	var out strings.Builder
	valid := 0
	for _, f := range r.Files {
		f.writeText(&out)
		if f.Valid {
			valid++
		}
	}
	if len(r.Files) > 1 {
		fmt.Fprintf(&out, "%d files, %d valid\n", len(r.Files), valid)
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (f File) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s: %s, %d bytes", f.Name, f.title(), f.Bytes)
	if f.Encoding != encodings[0].name {
		fmt.Fprintf(w, " in %s", f.Encoding)
	}
	fmt.Fprintln(w)
	f.Content.writeText(w, "  ")
	f.writeLines(w, "verified", f.Verified)
	var missing []string
	for _, u := range f.Unverified {
		missing = append(missing, u.What+": "+u.Why)
	}
	f.writeLines(w, "not verified", missing)
	f.writeLines(w, "note", f.Notes)
	if f.Valid {
		fmt.Fprint(w, "  VALID\n\n")
		return
	}
	var problems []string
	for _, p := range f.Problems {
		problems = append(problems, p.String())
	}
	f.writeLines(w, "INVALID", problems)
	fmt.Fprintln(w)
}

func (f File) writeLines(w io.Writer, heading string, lines []string) {
	for _, line := range lines {
		writeField(w, "  ", Field{heading, line})
		heading = ""
	}
}

func (f File) title() string {
	switch {
	case f.Form == "":
		return "nothing that can be read"
	case f.Form == f.Type:
		return "bare " + f.Type
	default:
		return f.Form + " with a " + f.Type
	}
}

// WhatIs names what bytes hold, in few words; empty for nothing that can be read.
func WhatIs(content []byte) string {
	f := open(Input{Content: content})
	if f.Form == "" {
		return ""
	}
	return f.title()
}
