package chaos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"kvstore/tests/lab"
)

// begin makes a fault.
func (w *world) begin(f fault) error {
	nodes := w.living()
	n, cut := nodes[f.node], lab.Rule{Cut: true}
	switch f.kind {
	case kill:
		w.ended(n, true)
		n.Kill()
	case killAll:
		for _, n := range nodes {
			w.ended(n, true)
		}
		var wg sync.WaitGroup
		for _, n := range nodes {
			wg.Go(n.Kill)
		}
		wg.Wait()
	case restart:
		w.ended(n, true)
		ctx, cancel := context.WithTimeout(context.Background(), lab.Patience)
		defer cancel()
		return n.Stop(ctx)
	case pause:
		return n.Signal(syscall.SIGSTOP)
	case fullDisk:
		return fill(filler(n))
	default:
		w.links(f, cut)
	}
	return nil
}

// links makes or, with the zero rule, ends a fault of the network.
func (w *world) links(f fault, r lab.Rule) {
	nodes := w.living()
	n, other := nodes[f.node].Host, nodes[f.other].Host
	if r.Cut && f.kind == delay {
		r = lab.Rule{Delay: 30 * time.Millisecond, Jitter: 100 * time.Millisecond}
	} else if r.Cut && f.kind == loss {
		r = lab.Rule{Loss: 0.15}
	}
	switch f.kind {
	case isolate, delay, loss:
		w.net.Around(n, r)
	case mute, deafen:
		for _, o := range nodes {
			if o.Host == n {
				continue
			}
			if f.kind == mute {
				w.net.Set(n, o.Host, r)
			} else {
				w.net.Set(o.Host, n, r)
			}
		}
	case unlink:
		w.net.Both(n, other, r)
	case oneWay:
		w.net.Set(n, other, r)
	case split:
		for _, o := range nodes {
			if o.Host != n && o.Host != other {
				w.net.Both(n, o.Host, r)
				w.net.Both(other, o.Host, r)
			}
		}
	}
}

// end ends a fault.
func (w *world) end(f fault) error {
	n := w.living()[f.node]
	switch f.kind {
	case kill, restart:
		w.ended(n, false)
		return n.Start()
	case killAll:
		var errs []error
		for _, n := range w.living() {
			w.ended(n, false)
			errs = append(errs, n.Start())
		}
		return errors.Join(errs...)
	case pause:
		return n.Signal(syscall.SIGCONT)
	case fullDisk:
		return os.Remove(filler(n))
	default:
		w.links(f, lab.Rule{})
	}
	return nil
}

// filler is the file that fills the disk of a node.
func filler(n *lab.Node) string { return filepath.Join(n.Dir, "filler") }

// fill writes to a file until the disk is full.
func fill(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2] // down to the last byte
		} else if err != nil {
			return err
		}
	}
	return nil
}
