package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster"
	"kvstore/config"
)

// closeTimeout is how long the engine may take to close after the last client
// has been answered, or not, within server.drain_timeout.
const closeTimeout = 10 * time.Second

// signalPause is how much later than the first a signal has to come to mean
// impatience: tools such as timeout(1) signal the process and its group, which
// arrives twice.
const signalPause = 250 * time.Millisecond

// impatient closes the channel it returns at the first of signals that comes
// after signalPause, and ends with done.
func impatient(signals <-chan os.Signal, done <-chan struct{}) <-chan struct{} {
	hurry := make(chan struct{})
	begun := time.Now()
	go func() {
		for {
			select {
			case <-signals:
				if time.Since(begun) >= signalPause {
					close(hurry)
					return
				}
			case <-done:
				return
			}
		}
	}()
	return hurry
}

// runServer runs a node until a signal, the SHUTDOWN command or the cluster's
// refusal to take it in.
func runServer(s *shell, args []string) error {
	v := newInvocation("server")
	file := v.String("config", "", "")
	if err := v.parse(s, args); err != nil {
		return err
	}
	c, read, err := s.load(*file, v.settings)
	if err != nil {
		return err
	}
	if err := checkListeners(c); err != nil {
		return err
	}
	secure, err := loadTLS(c)
	if err != nil {
		return err
	}
	tuneCollector(s, c)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	live := config.NewLive(c)
	log, level := newLogger(s.stderr, c.Log.Format, c.Log.Level)
	live.Subscribe("log.level", func(c *config.Config) { level.set(c.Log.Level) })
	for {
		n, err := startNode(live, read, secure, log)
		if err != nil {
			return explain(c, err)
		}
		why, refused := n.await(signals)
		log.Info().Str("why", why).Msg("stopping")
		stopped := stopWithin(n, c.Server.DrainTimeout, signals, log)
		if stopped == nil && errors.Is(refused, cluster.ErrOldPlace) {
			log.Warn().Msg("the directory was emptied: the node takes its old place in the ring, and is filled by the others")
			continue
		}
		if errors.Is(refused, cluster.ErrLeft) && stopped == nil {
			_, err := fmt.Fprintf(s.stderr, "kvstore: %s was decommissioned and has left the cluster with all it held handed over; its directory %s can be deleted\n", c.Node.Name, c.Storage.Dir)
			return err
		}
		return errors.Join(explain(c, refused), stopped)
	}
}

// await blocks until the node has to stop, and says why.
func (n *node) await(signals <-chan os.Signal) (why string, refused error) {
	joined := n.cluster.Joined()
	for {
		select {
		case got := <-signals:
			return got.String(), nil
		case <-n.asked:
			return "SHUTDOWN", nil
		case err := <-n.cluster.Refused():
			return "refused", err
		case <-joined:
			joined = nil
			n.log.Info().Uint64("epoch", uint64(n.cluster.Ring().Epoch)).Int("members", len(n.cluster.Ring().Members)).Msg("serving")
		}
	}
}

// stopWithin stops n in order. A second signal, or far too long a time, ends the
// process without waiting any more: everything acknowledged is in the log.
func stopWithin(n *node, drain time.Duration, signals <-chan os.Signal, log zerolog.Logger) error {
	done := make(chan struct{})
	defer close(done)
	stopped := make(chan error, 1)
	go func() { stopped <- n.stop(drain) }() // ends with the process if it does not end by itself
	select {
	case err := <-stopped:
		if err != nil {
			return fmt.Errorf("stop: %w", err)
		}
		log.Info().Msg("stopped")
		return nil
	case <-impatient(signals, done):
		return errors.New("stopped at once by a second signal")
	case <-time.After(drain + closeTimeout):
		return fmt.Errorf("stopped after %v without having closed everything", drain+closeTimeout)
	}
}

// stop answers the clients that are being served, within drain, then leaves the
// cluster and closes the engine.
func (n *node) stop(drain time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	err := n.server.Shutdown(ctx)
	closing, cancelClosing := context.WithTimeout(context.Background(), closeTimeout)
	defer cancelClosing()
	err = errors.Join(err, n.cluster.Shutdown(closing))
	n.loops.Close()
	if n.admin != nil {
		err = errors.Join(err, n.admin.Shutdown(closing))
	}
	return err
}
