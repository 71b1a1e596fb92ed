package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

// Report is what became of each step.
type Report struct {
	Folder    string `json:"folder"`
	Suite     string `json:"suite,omitempty"`
	Generator string `json:"generator,omitempty"`
	// At is when lifetimes were judged.
	At    time.Time `json:"at"`
	Steps []Result  `json:"steps"`
	Count int       `json:"count"`
	OK    int       `json:"ok"`
}

// Result is a step's. It is ok where there is no difference.
type Result struct {
	Step  int    `json:"step"` // from 1
	Kind  string `json:"kind"`
	Who   string `json:"who,omitempty"`
	File  string `json:"file,omitempty"` // what was sent
	OK    bool   `json:"ok"`
	Found string `json:"found,omitempty"` // what the hub made of it, in a line
	// Differences are between what the transcript says and what the hub came to. Notes change nothing.
	Differences []Difference `json:"differences,omitempty"`
	Notes       []string     `json:"notes,omitempty"`
}

// Difference is one field of a step: what the transcript has, and what the hub.
type Difference struct {
	Field    string `json:"field"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

func (r *Result) differs(field, expected, got string) {
	r.Differences = append(r.Differences, Difference{field, expected, got})
}

func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// Good reports whether every step was ok.
func (r Report) Good() bool { return r.OK == r.Count }

// WriteJSON prints the report as one document.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// kindWidth is the column in which a step's verdict stands.
const kindWidth = 34

// WriteText prints a line for each step, its differences below it, and last how many were ok.
func (r Report) WriteText(w io.Writer) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%s", r.Folder)
	for _, part := range []string{r.Suite, r.Generator} {
		if part != "" {
			fmt.Fprintf(&out, ", %s", part)
		}
	}
	fmt.Fprintf(&out, ", as of %s\n", r.At.Format(time.RFC3339))
	for _, step := range r.Steps {
		step.writeText(&out)
	}
	fmt.Fprintf(&out, "%d steps, %d ok\n", r.Count, r.OK)
	_, err := io.WriteString(w, strings.Map(visible, out.String()))
	return err
}

// visible keeps a manifest from playing with the terminal.
func visible(c rune) rune {
	if c == '\n' || unicode.IsPrint(c) {
		return c
	}
	return unicode.ReplacementChar
}

func (r Result) writeText(w io.Writer) {
	kind := r.Kind
	if r.Who != "" {
		kind += " " + r.Who
	}
	if r.OK {
		fmt.Fprintf(w, "%4d  %-*s ok      %s\n", r.Step, kindWidth, kind, r.Found)
	} else {
		fmt.Fprintf(w, "%4d  %-*s DIFFERS %s\n", r.Step, kindWidth, kind, strings.Trim(r.File+": "+r.Found, ": "))
	}
	for _, d := range r.Differences {
		fmt.Fprintf(w, "        %s\n          expected  %s\n          got       %s\n", d.Field, d.Expected, d.Got)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "        note: %s\n", n)
	}
}
