package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// process is a child as its parent sees it.
type process struct {
	cmd    *exec.Cmd
	orders io.WriteCloser
	// patience is how long an answer may take before the child counts as hung.
	patience time.Duration
	encoder  *json.Encoder
	answers  *json.Decoder
}

// start runs this program as a child and returns what it says when its setup is done.
func (b *bench) start(ctx context.Context, s setup, engine, dir string) (*process, answer, error) {
	s.Engine, s.Dir, s.Time, s.Profiles = engine, dir, b.options.time, b.options.profiles
	self, err := os.Executable()
	if err != nil {
		return nil, answer{}, err
	}
	cmd := exec.CommandContext(ctx, self, childFlag)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, answer{}, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, answer{}, err
	}
	if err := cmd.Start(); err != nil {
		return nil, answer{}, fmt.Errorf("start a child: %w", err)
	}
	p := &process{cmd: cmd, patience: b.options.patience(), orders: in, encoder: json.NewEncoder(in), answers: json.NewDecoder(out)}
	a, err := p.do(s)
	if err != nil {
		p.kill()
		return nil, a, fmt.Errorf("set %s up: %w", engine, err)
	}
	return p, a, nil
}

// do sends a setup or an order and waits for the answer.
func (p *process) do(what any) (a answer, err error) {
	// A killed child closes its output, which ends the wait.
	hung := time.AfterFunc(p.patience, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	if err := p.encoder.Encode(what); err != nil {
		return a, fmt.Errorf("tell the child: %w", err)
	}
	if err := p.answers.Decode(&a); err != nil {
		return a, fmt.Errorf("hear from the child: %w", err)
	}
	if a.Error != "" {
		return a, errors.New(a.Error)
	}
	return a, nil
}

// end has the child close its engine; the data stays.
func (p *process) end() error {
	hung := time.AfterFunc(p.patience, func() { _ = p.cmd.Process.Kill() })
	defer hung.Stop()
	return joinFirst(p.orders.Close(), p.cmd.Wait())
}

// kill ends the child as a crash would, and leaves the data.
func (p *process) kill() {
	// It may have ended already; what Wait says of a killed process is known.
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func joinFirst(err, next error) error {
	if err != nil {
		return err
	}
	return next
}

func asDuration(n int) time.Duration { return time.Duration(n) }
