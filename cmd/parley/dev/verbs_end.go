package dev

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"parley/cmd/parley/adminclient"
	"parley/httpapi"
)

// endVerbs are for a cluster that is gone: its nodes are stopped before the first of them.
func endVerbs() []verb {
	return []verb{
		{
			name: "backup restore", prepare: (*verbs).toRestore, victims: []victim{theClient, theNode},
			moments: []moment{beforeRequest, behindRequest, {"behind the one that begins it", begunRestore}},
		},
		{name: "recover", each: (*verbs).recoverEach},
	}
}

// ends stops the cluster, once, with a backup of it.
func (v *verbs) ends(ctx context.Context) error {
	if v.gone != nil {
		return nil
	}
	if _, err := v.quiet(ctx, "backup", "create", v.backups()); err != nil {
		return err
	}
	if err := v.nodes.stopAll(); err != nil {
		return err
	}
	v.gone, v.provider.nodes = v.provider.nodes, nil
	return nil
}

// toRestore has a new cluster of one node made of the last backup.
func (v *verbs) toRestore(ctx context.Context) (*task, error) {
	if err := v.ends(ctx); err != nil {
		return nil, err
	}
	n, err := v.begin(ctx)
	if err != nil {
		return nil, err
	}
	arguments := []string{"backup", "restore", v.backups(), "--id", n.ID, "--shards", "2", "--replicas", "1"}
	return &task{at: n, arguments: arguments, came: func(ctx context.Context) (times int, err error) {
		asked := adminclient.New(n.adminURL())
		status, err := asked.Status(ctx)
		if err == nil && status.Generation != 2 {
			err = fmt.Errorf("the cluster is in generation %d", status.Generation)
		}
		jobs, failed := asked.Jobs(ctx)
		for _, j := range jobs {
			if j.Kind == "restore" {
				times++
			}
			if j.State != httpapi.JobStateDone {
				failed = fmt.Errorf("job %d is %s", j.ID, j.State)
			}
		}
		if err = errors.Join(err, failed); err == nil && times > 0 {
			err = n.process.stop()
		} else if err == nil {
			err = errors.New("there is no such job")
		}
		return times, err
	}}, nil
}

// recoverEach recovers the cluster from what one of its nodes has, and kills that at each of its steps, as it names them.
func (v *verbs) recoverEach(ctx context.Context) error {
	if err := v.ends(ctx); err != nil {
		return err
	}
	survivor, lost := v.gone[0], []string{}
	was, err := v.generationOf(ctx, filepath.Join(survivor.Folder, "data"))
	if err != nil {
		return err
	}
	for _, n := range v.gone[1:] {
		lost = append(lost, n.ID)
	}
	for step := 0; ; step++ {
		began := time.Now()
		data := filepath.Join(v.run.layout.folder, fmt.Sprintf("recovered-%d", step))
		if err := os.CopyFS(data, os.DirFS(filepath.Join(survivor.Folder, "data"))); err != nil {
			return err
		}
		arguments := []string{"recover", "--data", data, "--lost", strings.Join(lost, ","), "--yes"}
		point, err := v.killedAtLine(ctx, step, arguments...)
		if err != nil || point == "" { // it had no such step any more
			return errors.Join(err, os.RemoveAll(data))
		}
		o := outcome{verb: "recover", moment: point, victim: theClient, first: "killed", took: time.Since(began)}
		var said bytes.Buffer
		_, failed := v.output(ctx, &said, arguments...)
		if o.again = endOf(failed, said.String()); failed != nil {
			failed = fmt.Errorf("%w: %s", failed, lastLines(said.String(), 3))
		}
		o.times, o.wrong = v.generationOf(ctx, data)
		o.times -= was
		if o.wrong = errors.Join(failed, o.wrong); o.wrong == nil && o.times != 1 {
			o.wrong = fmt.Errorf("the generation rose by %d", o.times)
		}
		o.took = time.Since(began)
		v.tell(o)
		if err := os.RemoveAll(data); err != nil || v.size.Brief {
			return err
		}
	}
}

// generationOf is that of a directory.
func (v *verbs) generationOf(ctx context.Context, data string) (int, error) {
	out, err := v.output(ctx, io.Discard, "recover", "survey", "--data", data)
	if err != nil {
		return 0, err
	}
	var survey struct {
		Generation int `json:"generation"`
	}
	err = json.Unmarshal(out, &survey)
	return survey.Generation, err
}

// killedAtLine runs a command and kills it at so many steps, as it writes them to its standard error. The step is empty where it ended before.
func (v *verbs) killedAtLine(ctx context.Context, step int, arguments ...string) (point string, err error) {
	command := exec.CommandContext(ctx, v.provider.executable, arguments...)
	said, err := command.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := command.Start(); err != nil {
		return "", err
	}
	var last string
	for lines := bufio.NewScanner(said); lines.Scan(); {
		last = lines.Text()
		if !strings.HasPrefix(last, "recover.") {
			continue
		}
		if step--; step < 0 {
			point = last
			err = command.Process.Kill()
			break
		}
	}
	if ended := command.Wait(); point == "" && ended != nil {
		return "", fmt.Errorf("%w: %s", ended, last)
	}
	return point, err
}

// output runs one of the program's commands.
func (v *verbs) output(ctx context.Context, said io.Writer, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(ctx, v.provider.executable, arguments...)
	command.Stderr = said
	return command.Output()
}
