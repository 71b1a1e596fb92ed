package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// stopGrace is how long a node may take to stop by itself before it is killed.
const stopGrace = 10 * time.Second

// process is one node, run as a child. Its log goes to a file in its own folder. Not safe for concurrent use.
type process struct {
	name       string
	executable string
	config     string // path
	logPath    string
	command    *exec.Cmd
	ended      chan error    // receives Wait's answer once
	before     time.Duration // processor time of those that ran before
}

func newProcess(name, executable, folder string) *process {
	return &process{
		name:       name,
		executable: executable,
		config:     filepath.Join(folder, "parley.toml"),
		logPath:    filepath.Join(folder, "node.log"),
	}
}

// start runs the node. The kernel kills it when this process dies, however it dies, so that no node is left behind.
func (p *process) start() error {
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	command := exec.Command(p.executable, "serve", "--config", p.config)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		// The death signal comes when the thread that started the child ends, so the thread stays until the child is gone.
		runtime.LockOSThread()
		defer log.Close()
		if err := command.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		ended <- command.Wait()
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.command, p.ended = command, ended
	return nil
}

// kill ends the node at once, as a power cut would for the process: nothing is flushed, nobody is told.
func (p *process) kill() error {
	if err := p.command.Process.Kill(); err != nil {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.ended
	p.gone()
	return nil
}

// stop asks the node to end and waits; after stopGrace it is killed and that is an error.
func (p *process) stop() error {
	if p.command == nil {
		return nil
	}
	defer p.gone()
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case err := <-p.ended:
		if err != nil {
			return fmt.Errorf("%s ended with %w (see %s)", p.name, err, p.logPath)
		}
		return nil
	case <-time.After(stopGrace):
		killed := p.command.Process.Kill()
		<-p.ended
		return errors.Join(fmt.Errorf("%s did not stop within %s and was killed (see %s)", p.name, stopGrace, p.logPath), killed)
	}
}

// alive reports an error once the node has ended by itself.
func (p *process) alive() error {
	select {
	case err := <-p.ended:
		p.gone()
		return fmt.Errorf("%s ended by itself: %v (see %s)", p.name, err, p.logPath)
	default:
		return nil
	}
}

// gone notes that the process has ended and was waited for.
func (p *process) gone() {
	if state := p.command.ProcessState; state != nil {
		p.before += state.UserTime() + state.SystemTime()
	}
	p.command = nil
}

// spent is the processor time that the node has used since its first start, in the kernel and outside.
func (p *process) spent() (time.Duration, error) {
	if p.command == nil {
		return p.before, nil
	}
	now, err := processorTime(p.command.Process.Pid)
	return p.before + now, err
}

// until asks again and again whether something has become true, until the context ends; it returns the last reason why not.
func until(ctx context.Context, what string, ask func(context.Context) error) error {
	const pause = 20 * time.Millisecond
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (last: %v)", what, ctx.Err(), err)
		case <-ticker.C:
		}
	}
}
