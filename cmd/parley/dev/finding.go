package dev

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// finding is a line of an account: what was promised, what was looked at, and the evidence against the promise.
type finding struct {
	promise string
	checked string
	broken  []string
}

// errBroken: the account does not balance.
var errBroken = errors.New("a promise was broken")

// evidenceMax is how much evidence is printed for each promise.
const evidenceMax = 10

// printFindings writes the table, and the evidence below it; the error says which promises were broken.
func printFindings(out io.Writer, findings []finding) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "\npromise\tlooked at\tbroken")
	for _, f := range findings {
		fmt.Fprintf(table, "%s\t%s\t%d\n", f.promise, f.checked, len(f.broken))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	var wrong []error
	for _, f := range findings {
		if len(f.broken) == 0 {
			continue
		}
		wrong = append(wrong, fmt.Errorf("%w: %s", errBroken, f.promise))
		fmt.Fprintf(out, "\nBROKEN: %s\n", f.promise)
		for _, evidence := range f.broken[:min(len(f.broken), evidenceMax)] {
			fmt.Fprintf(out, "  %s\n", evidence)
		}
		if more := len(f.broken) - evidenceMax; more > 0 {
			fmt.Fprintf(out, "  and %d more\n", more)
		}
	}
	return errors.Join(wrong...)
}
