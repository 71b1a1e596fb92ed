package main

import (
	"cmp"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"parley/httpapi"
)

// auditPageMost is how many entries one request brings.
const auditPageMost = 1000

func newAudit() *cobra.Command {
	var o operation
	var last int
	var before uint64
	command := &cobra.Command{
		Use:   "audit",
		Short: "Show who has changed what, and what came of it, the newest first",
		Long: "Every change that somebody asks for at an admin listener, taken or refused, by the name that he gave (--by). The cluster keeps\n" +
			"the last 10,000.",
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			entries := []httpapi.AuditEntry{}
			for len(entries) < last {
				page, err := o.client().Audit(command.Context(), before, min(last-len(entries), auditPageMost))
				if err != nil {
					return coded(err)
				}
				if len(page) == 0 {
					break
				}
				entries = append(entries, page...)
				before = page[len(page)-1].Sequence
			}
			return o.print(command.OutOrStdout(), entries, func(w *tabwriter.Writer) {
				fmt.Fprintln(w, "ENTRY\tTIME\tBY\tVERB\tWHAT\tCAME OF IT")
				for _, e := range entries {
					came := "done"
					if !e.Done {
						came = "refused: " + e.Came
					}
					fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", e.Sequence, e.Time.Format(time.RFC3339), cmp.Or(e.By, "?"), e.Verb, short(e.What), short(came))
				}
			})
		},
	}
	command.Flags().IntVar(&last, "last", 50, "how many entries")
	command.Flags().Uint64Var(&before, "before", 0, "only entries with a smaller number (0: all)")
	return o.flags(command)
}

// shortMost is how much of a text a table shows; --json has all of it.
const shortMost = 100

// short cuts a text that would make a table's column too wide to be read.
func short(text string) string {
	if runes := []rune(text); len(runes) > shortMost {
		return string(runes[:shortMost-1]) + "…"
	}
	return text
}
