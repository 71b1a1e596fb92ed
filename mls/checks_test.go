package mls_test

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/mls"
	"parley/mls/mlstest"
)

// A check's row is something legal that is spoilt in one place, with all that hangs on that place made right again: signed and
// hashed anew. So nothing but the check can refuse it. TestWithoutChecks takes the checks out, one after the other, and sees the
// rows accepted.

// check is a row of the table.
type check struct {
	group    string // a heading of the table
	section  string // of the refusal; "syntax" where it is a *MalformedError
	mutation string
	reason   string // part of the refusal, or of the malformed field and its reason
	// twice says what refuses the row once the check is gone; empty where nothing does.
	twice string
	judge func() error
}

// room is a simulated group, and a hub that has it.
type room struct {
	*mlstest.Group
	hub  *mls.PublicGroup
	list *[]check
	name string
	made map[string]bool // signatures of messages, where a fuzz target keeps them
}

func newRoom(t tester, list *[]check, c mlstest.Config) room {
	t.Helper()
	group := must(mlstest.New(c))(t)
	return room{Group: group, hub: must(group.Public())(t), list: list}
}

// under is the room with its next checks under a heading.
func (r room) under(heading string) room {
	r.name = heading
	return r
}

// add puts a row into the table.
func (r room) add(section, mutation, reason string, judge func() error) *check {
	*r.list = append(*r.list, check{group: r.name, section: section, mutation: mutation, reason: reason, judge: judge})
	return &(*r.list)[len(*r.list)-1]
}

// also notes what else refuses a row.
func (c *check) also(other string) { c.twice = other }

// commit is a row of a Commit with what comes with it.
func (r room) commit(section, mutation, reason string, plan mlstest.Plan) *check {
	return r.add(section, mutation, reason, func() error { return r.judge(r.Input(), plan) })
}

// judge carries a plan out and lets the hub judge its bytes.
func (r room) judge(in mls.CommitInput, plan mlstest.Plan) error {
	step, err := r.Commit(plan)
	if err != nil {
		return fmt.Errorf("the plan cannot be carried out: %w", err)
	}
	return r.take(in, step)
}

// take lets the hub read and judge what a committer hands in.
func (r room) take(in mls.CommitInput, step *mlstest.Step) error {
	m, err := mls.ParseMLSMessage(mls.MLSMessage{Body: step.Message}.Marshal())
	if err != nil {
		return err
	}
	read := mlstest.Step{Message: m.Body.(*mls.PublicMessage)}
	if read.GroupInfo, err = mls.ParseGroupInfo(step.GroupInfo.Marshal()); err != nil {
		return err
	}
	if step.Welcome != nil {
		welcome, err := mls.ParseWelcome(step.Welcome.Marshal())
		if err != nil {
			return err
		}
		read.Welcome = &welcome
	}
	_, err = read.Check(r.hub, in)
	return err
}

// proposal is a row of a Proposal by itself.
func (r room) proposal(section, mutation, reason string, from mls.Sender, body mls.Content, change ...func(*mls.PublicMessage)) *check {
	return r.add(section, mutation, reason, func() error {
		m, _, err := r.Propose(from, body, change...)
		if err != nil {
			return fmt.Errorf("the Proposal cannot be made: %w", err)
		}
		_, err = r.hub.VerifyProposal(m, mlstest.Now)
		return err
	})
}

// refused sees whether an error is the row's refusal.
func (c check) refused(err error) bool {
	var malformed *mls.MalformedError
	var invalid *mls.InvalidError
	switch {
	case errors.As(err, &invalid):
		return invalid.Section == c.section && strings.Contains(invalid.Reason, c.reason)
	case errors.As(err, &malformed):
		return c.section == "syntax" && strings.Contains(malformed.Error(), c.reason)
	case errors.As(err, new(*mls.WrongEpochError)), errors.As(err, new(*mls.UnknownProposalsError)):
		return strings.HasSuffix(err.Error(), "("+c.section+")") && strings.Contains(err.Error(), c.reason)
	default:
		return false
	}
}

// part is a part of a row, which must be there.
func part[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// allChecks is the table.
func allChecks(t tester) (list []check) {
	t.Helper()
	plain := newRoom(t, &list, mlstest.Config{Suite: 1, Seed: 1, Members: 6, Parents: true, Epoch: 5, ExternalSenders: 1})
	demanding := newRoom(t, &list, demandingConfig())
	plain.syntaxChecks()
	plain.framingChecks()
	plain.keyPackageChecks()
	plain.credentialChecks()
	demanding.supportChecks()
	plain.contextChecks()
	plain.proposalChecks()
	plain.listChecks()
	plain.externalChecks()
	plain.pathChecks()
	demanding.componentChecks()
	plain.bundleChecks()
	plain.treeChecks()
	return list
}

// TestCheckTable has, for each check, a row that it refuses.
func TestCheckTable(t *testing.T) {
	names := make(map[string]bool)
	for _, c := range allChecks(t) {
		name := c.section + ": " + c.mutation
		if names[name] {
			t.Errorf("two rows are named %q", name)
		}
		names[name] = true
		t.Run(name, func(t *testing.T) {
			switch err := c.judge(); {
			case err == nil:
				t.Error("accepted")
			case !c.refused(err):
				t.Errorf("refused by another check: %v", err)
			}
		})
	}
}

var rewrite = flag.Bool("rewrite", false, "write docs/mls-checks.md anew")

// TestCheckDocument holds docs/mls-checks.md to the table.
func TestCheckDocument(t *testing.T) {
	path := filepath.Join("..", "docs", "mls-checks.md")
	want := checkDocument(allChecks(t))
	if *rewrite {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(must(os.ReadFile(path))(t)); got != want {
		t.Errorf("%s is not of this table; see -rewrite", path)
	}
}
