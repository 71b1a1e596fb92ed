package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
)

// Population is a running program of MLS clients. It answers one frame after the other; not for concurrent use.
type Population struct {
	Name    string
	Suites  []uint16
	members int // as many as a group of them may have
	can     []string

	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

// frame is one line on the pipe, or a Proposal within it: `do` or `kind`, and what belongs to it. Bytes travel as base64.
type frame map[string]any

// answer is what a population says to a frame. What it has no use for is empty.
type answer struct {
	Error     string
	Hello     *hello
	Message   []byte
	Welcome   []byte
	GroupInfo []byte `json:"group_info"`
	Members   []member
}

type hello struct {
	Name    string
	Suites  []uint16
	Members int
	Can     []string
}

// member is how one client sees its group.
type member struct {
	Client        int
	Leaf          uint32
	Epoch         uint64
	Context       []byte `json:"group_context"`
	Tree          []byte `json:"ratchet_tree"`
	Authenticator []byte `json:"epoch_authenticator"`
}

// Start runs a population's program, which is to be ended with Close.
func Start(command ...string) (*Population, error) {
	p := &Population{process: exec.Command(command[0], command[1:]...)}
	p.process.Stderr = os.Stderr
	var err error
	if p.in, err = p.process.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open the population's input: %w", err)
	}
	out, err := p.process.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("open the population's output: %w", err)
	}
	p.out = bufio.NewReader(out)
	if err := p.process.Start(); err != nil {
		return nil, fmt.Errorf("start the population: %w", err)
	}
	told, err := p.do(frame{"do": "hello"})
	if err == nil && (told.Hello == nil || len(told.Hello.Suites) == 0) {
		err = errors.New("the population did not say what it is")
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.Name, p.Suites, p.members, p.can = told.Hello.Name, told.Hello.Suites, told.Hello.Members, told.Hello.Can
	return p, nil
}

// Close ends the program and waits for it.
func (p *Population) Close() error {
	if err := p.in.Close(); err != nil {
		return fmt.Errorf("close the population's input: %w", err)
	}
	if err := p.process.Wait(); err != nil {
		return fmt.Errorf("end the population: %w", err)
	}
	return nil
}

// does reports whether the clients can make such Proposals or Commits.
func (p *Population) does(kind string) bool { return slices.Contains(p.can, kind) }

// do has one frame carried out. That a client refused is an error, as is a pipe that broke.
func (p *Population) do(f frame) (*answer, error) {
	line, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encode a frame: %w", err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		return nil, fmt.Errorf("write to the population: %w", err)
	}
	line, err = p.out.ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("read from the population: %w", err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, fmt.Errorf("read the population's answer: %w", err)
	}
	if a.Error != "" {
		return nil, fmt.Errorf("the population refuses to %v: %s", f["do"], a.Error)
	}
	return &a, nil
}
