package main

import (
	"testing"

	"github.com/spf13/cobra"
)

// forPeople are commands whose output is not for programs.
var forPeople = map[string]bool{"parley serve": true, "parley dev": true}

// Every command can print what a program reads, says in a line what it is for, and takes no word that it ignores.
func TestEveryVerb(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(command *cobra.Command) {
		path := command.CommandPath()
		if command.Short == "" && command.HasParent() {
			t.Errorf("%s: no word on what it is for", path)
		}
		if !command.HasSubCommands() {
			if command.Flags().Lookup("json") == nil && !forPeople[path] {
				t.Errorf("%s has no --json", path)
			}
			if command.Args == nil {
				t.Errorf("%s takes any words", path)
			}
		}
		for _, sub := range command.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}
