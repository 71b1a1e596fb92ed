package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"parley/cmd/parley/adminclient"
	"parley/fsm"
	"parley/httpapi"
)

// scenarioVerbs kills who asks for something long, and who carries it out.
const scenarioVerbs = "verbs"

// Verbs says which trials the scenario verbs has.
type Verbs struct {
	Only   []string // of VerbNames; none: all
	Brief  bool     // one moment for each victim, and no more nodes than three
	Shards int      // at the beginning
}

// VerbsDefault is the long form.
func VerbsDefault() Verbs { return Verbs{Shards: 6} }

// Validate says what is wrong.
func (o Verbs) Validate() error {
	for _, name := range o.Only {
		if !slices.Contains(VerbNames(), name) {
			return fmt.Errorf("--verb: there are %s", strings.Join(VerbNames(), ", "))
		}
	}
	if o.Shards < 2 || o.Shards > 64 {
		return errors.New("there must be 2 to 64 shards at the beginning")
	}
	return nil
}

// verb is something long that an operator may want.
type verb struct {
	name    string
	prepare func(v *verbs, ctx context.Context) (*task, error) // brings the cluster to where there is something to do
	moments []moment
	victims []victim
	each    func(v *verbs, ctx context.Context) error // has trials of its own; nil for none
}

// verbs is the scenario under way.
type verbs struct {
	run      *run
	size     Verbs
	provider *provider
	nodes    *operator
	outcomes []outcome
	turn     int         // counts trials that go to and fro
	number   fsm.ShardID // the highest that a shard has had
	gone     []*node     // the cluster's, when it is stopped
}

// both are the usual victims.
var both = []victim{theClient, theLeader}

// The moments of a command that begins a job, and of one that is answered when all is done.
var (
	ofJob     = []moment{beforeRequest, behindRequest, whileItWaits, halfWay, behindTheEnd}
	ofOneStep = []moment{beforeRequest, behindRequest, whileItWaits, behindTheEnd}
	ofAnswer  = []moment{beforeRequest, behindRequest}
)

// allVerbs are in an order in which the later ones find what the earlier ones leave. From the first that ends the cluster on, it is gone.
func allVerbs() []verb {
	return slices.Concat(shardVerbs(), nodeVerbs(), planVerbs(), careVerbs(), endVerbs())
}

// VerbNames are those of the verbs that can be tried.
func VerbNames() (names []string) {
	for _, one := range allVerbs() {
		names = append(names, one.name)
	}
	return names
}

// tryVerbs tries one verb after the other, and tells how each trial ended.
func (r *run) tryVerbs(ctx context.Context, size Verbs, summary io.Writer) error {
	v := &verbs{run: r, size: size, provider: r.hub(), nodes: &operator{r.hub()}}
	if !size.Brief {
		limited, cancel := context.WithTimeout(ctx, commandMax)
		_, err := v.join(limited)
		cancel()
		if err != nil {
			return err
		}
	}
	for _, one := range allVerbs() {
		if len(size.Only) > 0 && !slices.Contains(size.Only, one.name) {
			continue
		}
		if err := v.tryAll(ctx, one); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", one.name, err), v.report(r.out, summary))
		}
	}
	return v.report(r.out, summary)
}

// tryAll tries a verb at each of its moments.
func (v *verbs) tryAll(ctx context.Context, one verb) error {
	v.run.show.heading("%s", one.name)
	if one.each != nil {
		return one.each(v, ctx)
	}
	for _, who := range one.victims {
		for _, at := range one.moments {
			if v.size.Brief && at.text != one.brief() {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, commandMax)
			t, err := one.prepare(v, limited)
			cancel()
			if err != nil {
				return fmt.Errorf("prepare: %w", err)
			}
			o := v.try(ctx, one.name, t, at, who)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			v.tell(o)
		}
	}
	return nil
}

// brief is the one moment of the short form: when something has just been begun.
func (one verb) brief() string {
	for _, at := range one.moments {
		if at.text == behindApplied.text {
			return at.text
		}
	}
	return behindRequest.text
}

// tell keeps an outcome, and shows it.
func (v *verbs) tell(o outcome) {
	v.outcomes = append(v.outcomes, o)
	verdict := "well, once"
	if o.wrong != nil {
		verdict = "WRONG: " + o.wrong.Error()
	}
	v.run.show.done(o.took, fmt.Sprintf("%s, %s", o.victim, o.moment), fmt.Sprintf("%s; again %s; %s", o.first, o.again, verdict))
}

// trialFigures are those of one trial, as the summary has them.
type trialFigures struct {
	Verb   string `json:"verb"`
	Moment string `json:"moment"`
	Killed string `json:"killed"`
	First  string `json:"first"`
	Again  string `json:"again"`
	Times  int    `json:"times"`
	Wrong  string `json:"wrong,omitempty"`
	Millis int64  `json:"millis"`
}

var errNotWell = errors.New("it did not end well, once")

// report prints the table; the error says what did not end well.
func (v *verbs) report(out, summary io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nverb\tkilled\tmoment\tended\tagain\tdone\ttook\tverdict")
	var wrong []error
	var figures []trialFigures
	missed := 0
	for _, o := range v.outcomes {
		f := trialFigures{Verb: o.verb, Moment: o.moment, Killed: string(o.victim), First: o.first, Again: o.again, Times: o.times, Millis: o.took.Milliseconds()}
		verdict := "well, once"
		if strings.HasPrefix(o.first, "not killed") {
			missed++
		}
		if o.wrong != nil {
			verdict, f.Wrong = "WRONG", o.wrong.Error()
			wrong = append(wrong, fmt.Errorf("%w: %s, %s killed %s: %w", errNotWell, o.verb, o.victim, o.moment, o.wrong))
		}
		figures = append(figures, f)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", o.verb, o.victim, o.moment, o.first, o.again, o.times, o.took.Round(100*time.Millisecond), verdict)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if summary != nil {
		encoder := json.NewEncoder(summary)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(figures); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	_, err := fmt.Fprintf(out, "\n%d trials: each ended well, and what was asked for was done once. In %d of them the command had ended before its moment came.\n",
		len(v.outcomes), missed)
	return err
}

// join starts a node more and has it join.
func (v *verbs) join(ctx context.Context) (*node, error) {
	n, err := v.begin(ctx)
	if err != nil {
		return nil, err
	}
	err = until(ctx, n.ID+" joins", func(ctx context.Context) error {
		_, err := parleyAt(ctx, n, "node", "join", "--seed", v.provider.nodes[0].Cluster)
		return err
	})
	if err != nil {
		return nil, err
	}
	v.provider.nodes = append(v.provider.nodes, n)
	return n, v.nodes.ready(ctx)
}

// begin starts a node that belongs to no cluster yet, and is not one of the provider's so far.
func (v *verbs) begin(ctx context.Context) (*node, error) {
	n, err := v.provider.add()
	if err != nil {
		return nil, err
	}
	v.lose(n)
	if err := n.process.start(); err != nil {
		return nil, err
	}
	return n, until(ctx, n.ID+" answers", func(ctx context.Context) error {
		if err := n.process.alive(); err != nil {
			return err
		}
		_, err := adminclient.New(n.adminURL()).Ready(ctx)
		return err
	})
}

// lose takes a node from those that there are.
func (v *verbs) lose(n *node) {
	v.provider.nodes = slices.DeleteFunc(v.provider.nodes, func(other *node) bool { return other == n })
}

// shardIn finds one of the cluster's that serve.
func shardIn(s httpapi.ClusterStatus, wanted func(httpapi.ShardStatus) bool) (httpapi.ShardStatus, error) {
	for _, shard := range serving(s) {
		if wanted(shard) {
			return shard, nil
		}
	}
	return httpapi.ShardStatus{}, errors.New("there is no such shard")
}
