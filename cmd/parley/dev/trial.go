package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"parley/cmd/parley/adminclient"
	"parley/httpapi"
)

// task is a command for a trial, with what it has to come to.
type task struct {
	at        *node // that is asked
	arguments []string
	// came says how often the thing was done, and what is not as it should be then. It is asked again until nothing is wrong, for a while.
	came func(ctx context.Context) (times int, err error)
}

// victim is who is killed in a trial.
type victim string

const (
	theClient victim = "the command"
	theLeader victim = "the meta leader" // which carries everything out
	theNode   victim = "the node"        // that is asked
)

// outcome is what became of a trial.
type outcome struct {
	verb, moment string
	victim       victim
	first        string // how the first run ended
	again        string // how the second did
	times        int
	wrong        error // nil: it ended well, once
	took         time.Duration
}

const (
	restartAfter = 500 * time.Millisecond // what a node that was killed is away
	commandMax   = 3 * time.Minute        // for one run of a command
	cameMax      = 90 * time.Second       // until the cluster shows what a command came to
)

// try runs a task's command and kills somebody at a moment of it, runs it again, and looks what came of both.
func (v *verbs) try(ctx context.Context, name string, t *task, at moment, who victim) outcome {
	began := time.Now()
	o := outcome{verb: name, moment: at.text, victim: who}
	if o.first, o.wrong = v.killed(ctx, t, at, who); o.wrong == nil {
		o.again, o.wrong = v.again(ctx, t)
	}
	if o.wrong == nil {
		limited, cancel := context.WithTimeout(ctx, cameMax)
		defer cancel()
		o.wrong = until(limited, "what it came to", func(ctx context.Context) (err error) {
			o.times, err = t.came(ctx)
			return err
		})
	}
	if o.wrong == nil && o.times != 1 {
		o.wrong = fmt.Errorf("it was done %d times", o.times)
	}
	o.took = time.Since(began)
	return o
}

// killed runs the command through a tollgate until it has ended, one way or the other, and everybody else is back.
func (v *verbs) killed(ctx context.Context, t *task, at moment, who victim) (first string, err error) {
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	gate, err := newTollgate(t.at.adminURL(), at)
	if err != nil {
		return "", err
	}
	command, said := v.command(ctx, t, gate.url)
	if err := command.Start(); err != nil {
		return "", errors.Join(err, gate.close())
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	select {
	case err = <-ended: // the moment did not come
		if exitOf(err) == exitNoQuorum && ctx.Err() == nil && gate.close() == nil {
			wait(ctx, restartAfter)
			return v.killed(ctx, t, at, who) // nothing was begun
		}
		return "not killed: " + endOf(err, said.String()), gate.close()
	case <-gate.struck:
	}
	if who == theClient {
		err := command.Process.Kill()
		<-ended
		gate.goOn <- true
		return "killed", errors.Join(err, gate.close())
	}
	dead, err := v.killNode(ctx, t, who)
	gate.goOn <- false
	if err == nil {
		wait(ctx, restartAfter)
		err = v.bringBack(ctx, t.at)
	}
	first = endOf(<-ended, said.String())
	if err == nil && len(v.provider.nodes) > 0 {
		err = v.settled(ctx)
	}
	return dead + " killed; " + first, errors.Join(err, gate.close())
}

// bringBack starts whoever does not run, the node that a task asks too, and waits until all serve that have something to serve.
func (v *verbs) bringBack(ctx context.Context, asked *node) error {
	if asked.process.command == nil {
		if err := asked.process.start(); err != nil {
			return err
		}
	}
	if err := until(ctx, asked.ID+" answers", func(ctx context.Context) error {
		_, err := adminclient.New(asked.adminURL()).Ready(ctx)
		return err
	}); err != nil {
		return err
	}
	if err := v.nodes.start(); err != nil {
		return err
	}
	for _, n := range v.provider.nodes {
		if err := until(ctx, n.process.name+" becomes ready, or has nothing left", func(ctx context.Context) error {
			is, member, err := v.memberAt(ctx, asked, n.ID)
			if left := !member && n != asked || is.Duty == "leaving" && is.Replicas == 0; err == nil && left {
				return nil
			}
			return isReady(ctx, n)
		}); err != nil {
			return err
		}
	}
	return nil
}

// exitOf is the exit code of a command that has ended with an error, else 0.
func exitOf(err error) int {
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		return ended.ExitCode()
	}
	return 0
}

func (v *verbs) command(ctx context.Context, t *task, admin string) (*exec.Cmd, *bytes.Buffer) {
	command := exec.CommandContext(ctx, t.at.process.executable, append(append([]string{}, t.arguments...), "--admin", admin)...)
	said := new(bytes.Buffer)
	command.Stderr = said
	return command, said
}

// killNode kills who carries the task out.
func (v *verbs) killNode(ctx context.Context, t *task, who victim) (string, error) {
	if who == theNode {
		return t.at.ID, t.at.process.kill()
	}
	leader, err := v.metaLeader(ctx)
	if err != nil {
		return "", err
	}
	return leader.ID, leader.process.kill()
}

// metaLeader is the node that leads the meta group.
func (v *verbs) metaLeader(ctx context.Context) (leader *node, err error) {
	err = until(ctx, "find who leads the meta group", func(ctx context.Context) error {
		status, err := v.nodes.status(ctx)
		if err != nil {
			return err
		}
		for _, n := range v.nodes.alive() {
			if n.ID == status.MetaLeader {
				leader = n
				return nil
			}
		}
		return fmt.Errorf("it is %q", status.MetaLeader)
	})
	return leader, err
}

// settled waits until somebody leads everything again.
func (v *verbs) settled(ctx context.Context) error {
	if _, err := v.metaLeader(ctx); err != nil {
		return err
	}
	return v.expect(ctx, "every shard has a leader", func(s httpapi.ClusterStatus) error {
		for _, shard := range serving(s) {
			if shard.Leader == "" {
				return fmt.Errorf("shard %d has none", shard.ID)
			}
		}
		return nil
	})
}

// again runs the command without anybody being killed, as often as it says that nobody could decide.
func (v *verbs) again(ctx context.Context, t *task) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	for {
		command, said := v.command(ctx, t, t.at.adminURL())
		err := command.Run()
		if exitOf(err) == exitNoQuorum && ctx.Err() == nil {
			wait(ctx, restartAfter)
			continue
		}
		if err != nil {
			err = fmt.Errorf("the same again: %w: %s", err, lastLines(said.String(), 4))
		}
		return endOf(err, said.String()), err
	}
}

// endOf is how a command has ended, in short.
func endOf(err error, said string) string {
	var ended *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &ended):
		_, why, _ := strings.Cut(said, "parley: ")
		return fmt.Sprintf("%d: %.60s", ended.ExitCode(), strings.SplitN(why, "\n", 2)[0])
	default:
		return err.Error()
	}
}

// quiet runs a command of which nothing is tried, to bring the cluster to where something can be.
func (v *verbs) quiet(ctx context.Context, arguments ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, commandMax)
	defer cancel()
	for {
		out, err := parleyAt(ctx, v.nodes.alive()[0], arguments...)
		if exitOf(err) != exitNoQuorum || ctx.Err() != nil {
			return out, err
		}
		wait(ctx, restartAfter)
	}
}

// jobs are all that the cluster keeps.
func (v *verbs) jobs(ctx context.Context) (jobs []httpapi.JobEntry, err error) {
	for _, n := range v.nodes.alive() {
		if jobs, err = adminclient.New(n.adminURL()).Jobs(ctx); err == nil {
			return jobs, nil
		}
	}
	return nil, err
}

// jobsOf counts the jobs of a kind from now on, by what it returns: those that did something. All of them have to be done.
func (v *verbs) jobsOf(ctx context.Context, kind string) (count func(ctx context.Context) (int, error), err error) {
	before, err := v.jobs(ctx)
	last := uint64(0)
	for _, j := range before {
		last = max(last, j.ID)
	}
	return func(ctx context.Context) (times int, err error) {
		jobs, err := v.jobs(ctx)
		for _, j := range jobs {
			switch {
			case j.ID <= last || j.State == httpapi.JobStatePlanned:
			case j.State != httpapi.JobStateDone:
				err = errors.Join(err, fmt.Errorf("job %d (%s) is %s: %s%s", j.ID, j.Kind, j.State, j.Text, j.Error))
			case j.Kind == kind && j.UnitsTotal > 0:
				times++
			case j.Kind != kind:
				err = errors.Join(err, fmt.Errorf("there is a job %d (%s)", j.ID, j.Kind))
			}
		}
		return times, err
	}, err
}

// expect waits until the cluster is as something should have made it.
func (v *verbs) expect(ctx context.Context, what string, look func(httpapi.ClusterStatus) error) error {
	return until(ctx, what, func(ctx context.Context) error {
		status, err := v.nodes.status(ctx)
		if err == nil {
			err = look(status)
		}
		return err
	})
}
