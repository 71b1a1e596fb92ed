package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// exitNoQuorum is what parley's commands end with where the cluster could not decide, so that they are to be tried again.
const exitNoQuorum = 5

// parleyAt runs one of the program's own commands against a node, as an operator would, and returns what it printed as JSON.
func parleyAt(ctx context.Context, at *node, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, at.process.executable, append(arguments, "--json", "--admin", at.adminURL())...)
	var out, said bytes.Buffer
	command.Stdout, command.Stderr = &out, &said
	if err := command.Run(); err != nil {
		return nil, fmt.Errorf("parley %s: %w: %s", strings.Join(arguments, " "), err, lastLines(said.String(), 3))
	}
	return out.Bytes(), nil
}

// command runs a command against one of the nodes that are there, again where there was no quorum.
func (r *reshaping) command(ctx context.Context, arguments ...string) (out []byte, err error) {
	r.run.show.note("$ parley %s", strings.Join(arguments, " "))
	for {
		out, err = parleyAt(ctx, r.present[0], arguments...)
		var ended *exec.ExitError
		if !errors.As(err, &ended) || ended.ExitCode() != exitNoQuorum || ctx.Err() != nil {
			return out, err
		}
		r.run.show.note("%v", err)
		wait(ctx, time.Second)
	}
}

// lastLines are the last of a text, in one.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
