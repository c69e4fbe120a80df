package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"kvstore/cluster"
	"kvstore/cluster/coordinator"
	"kvstore/cluster/ring"
	"kvstore/cluster/rpc"
	"kvstore/storage/vfs"
)

// machine is one computer: a disk that stays, and processes that come and go.
// It belongs to the loop: everything here happens in events.
type machine struct {
	w     *World
	index int
	disk  *vfs.Mem
	boots int // loss of power so far; names the boot
	skew  time.Duration
	right time.Duration // the skew while its clock goes as it should
	rand  *rand.Rand    // of its disk's losses

	process *process    // nil while it is down
	known   ring.NodeID // of its node, once it was open
	lives   int
	wanted  bool       // it is to be up
	out     bool       // it has no part in the cluster; see members.go
	leaving bool       // its node has said that it has no part in the cluster
	seen    *ring.Ring // that the node had last
	lostAt  time.Time
	// behind says that it has lost more than what was not synced, and that
	// nobody has seen it level with the others since.
	behind bool
	rotten bool  // files of its disk that are only read at a start may be damaged
	spare  image // the disk before this one; it has none when there was none
}

// process is one life of a machine's server.
type process struct {
	machine *machine
	life    int
	node    *cluster.Node // nil until it has opened
	rpc     *Transport
	gossip  *gossipEnd
	killed  bool
	trap    atomic.Pointer[trap]
	gone    chan struct{} // closed when it ends, in order or not
	refusal error         // why it has to end, as the node said
}

func (m *machine) name() string            { return fmt.Sprintf("n%d", m.index) }
func (m *machine) addr(port string) string { return fmt.Sprintf("10.0.0.%d:%s", m.index+1, port) }

// directory is where a machine keeps its data.
const directory = "/data"

// options are those of a machine's server.
func (m *machine) options(p *process) cluster.Options {
	w := m.w
	o := cluster.Options{
		Dir: directory, Storage: w.c.Storage,
		Name: m.name(), ClusterName: "sim", Rack: m.rack(), DC: m.centre(), AwaitCommit: w.c.Waits && w.formed,
		Gossip: m.addr("7946"), RPC: m.addr("7000"), Client: m.addr("6379"),
		Partitions: w.c.Partitions, Ops: w.ops, Logger: zerolog.Nop(),
		Replication: cluster.Replication{
			N:      w.c.N,
			Levels: coordinator.Levels{R: coordinator.Quorum, W: coordinator.Quorum, Mode: coordinator.Strict},
		},
		Transport: func(_ rpc.Handler, o rpc.Options) (cluster.Transport, error) {
			if p.killed {
				return nil, errDead
			}
			p.rpc = w.net.listen(m.index, o)
			return p.rpc, nil
		},
		Repair:          cluster.Repair{Period: w.c.Period, Delay: w.c.Delay},
		HintBytes:       w.c.HintBytes,
		GossipTransport: p.gossip,
		GossipStretch:   w.c.Stretch,
		BootID:          fmt.Sprintf("boot-%d", m.boots),
		Now:             func() time.Time { return time.Now().Add(m.skew) },
		Mended:          w.mended,
		HotReads:        0.02, // most of what is read again within a minute
	}
	o.Storage.ScrubPeriod = w.c.Period
	o.Storage.FS = &vfs.Faulty{FS: m.disk.View(), Inject: p.inject}
	if w.c.Log != nil {
		o.Logger = zerolog.New(zerolog.ConsoleWriter{Out: w.c.Log, NoColor: true, TimeFormat: "05.000"}).With().Timestamp().Str("on", m.name()).Logger()
		o.Storage.Logger = o.Logger
	}
	for c := range w.c.Centres {
		o.Replication.PerDC = append(o.Replication.PerDC, ring.DCReplicas{DC: centre(c), N: w.c.Each})
	}
	// The first one founds the ring. After that nobody is to found another.
	for _, other := range w.machines {
		if other != m && (w.formed || other.index == 0) {
			o.Join = append(o.Join, other.addr("7946"))
		}
	}
	return o
}

// centre names a data centre.
func centre(c int) string { return fmt.Sprintf("dc%d", c) }

// centre is the data centre of a machine.
func (m *machine) centre() string { return centre(m.index % max(m.w.c.Centres, 1)) }

func (m *machine) rack() string {
	if m.w.c.Racks > 0 {
		return fmt.Sprintf("r%d", m.index%m.w.c.Racks)
	}
	return fmt.Sprintf("r%d", m.index)
}

// start starts a process, unless the machine has no part in the cluster any more: what
// took it down may have been on its way to start it when it departed. Opening takes its
// time; opened is its end.
func (m *machine) start() {
	if m.out {
		return
	}
	m.wanted = true
	if m.process != nil || m.leaving {
		return
	}
	m.lives++
	p := &process{machine: m, life: m.lives, gone: make(chan struct{})}
	m.process = p
	end, err := m.w.gossip.NewTransport(m.addr("7946"))
	if err != nil {
		m.w.fail("stands", "machine %s: %v", m.name(), err)
		return
	}
	p.gossip = &gossipEnd{Transport: end, sent: &m.w.gossiped}
	o := m.options(p)
	m.w.note("%s starts", m.name())
	m.w.background.Go(func() {
		node, err := cluster.Open(o)
		m.w.loop.after(0, func() { m.opened(p, node, err) })
	})
}

func (m *machine) opened(p *process, node *cluster.Node, err error) {
	if p.killed {
		if node != nil {
			m.w.bury(node)
		}
		return
	}
	switch {
	case err == nil:
	case m.damaged(err):
		m.repair(p, err)
		return
	case m.excused(err):
		m.w.note("%s does not start: %v", m.name(), err)
		m.end(time.Millisecond)
		m.w.loop.after(5*time.Second, func() {
			if m.wanted {
				m.start()
			}
		})
		return
	default:
		m.w.fail("stands", "machine %s does not start: %v", m.name(), err)
		return
	}
	if p.node = node; m.known == 0 {
		m.known = node.Self().ID // a place is kept, whoever takes it
	}
	m.listen(p)
	m.w.note("%s is open, %v incarnation %x", m.name(), node.Self().ID, node.Self().Incarnation)
}

// up returns the machine's node, nil when it takes no requests.
func (m *machine) up() *cluster.Node {
	if p := m.process; p != nil && p.node != nil && p.node.Ring() != nil {
		return p.node
	}
	return nil
}

// id is the node's id, once it was open.
func (m *machine) id() ring.NodeID {
	if p := m.process; p != nil && p.node != nil {
		return p.node.Self().ID
	}
	return 0
}

// kill ends the process as kill -9 does: what was written stays, connections
// break at once.
func (m *machine) kill() {
	if m.process == nil {
		return
	}
	m.w.note("%s is killed", m.name())
	m.disk.Kill()
	m.end(time.Millisecond)
}

// cutPower ends the process and loses what was not synced. The others hear
// nothing any more.
func (m *machine) cutPower() {
	m.w.note("%s loses power", m.name())
	m.disk.Crash(m.rand)
	m.lostPower()
}

// lostPower ends the process after its disk has lost what was not synced.
func (m *machine) lostPower() {
	m.boots++
	m.w.lost++
	m.lostAt = time.Now()
	m.end(silence)
}

// end lets go of the process.
func (m *machine) end(noticed time.Duration) {
	p := m.process
	if p == nil {
		return
	}
	m.process = nil
	p.killed = true
	if p.node != nil {
		close(p.gone)
	}
	m.w.net.Forget(m.index)
	if p.rpc != nil {
		p.rpc.kill(noticed)
	}
	if err := p.gossip.kill(); err != nil {
		m.w.fail("stands", "machine %s: %v", m.name(), err)
	}
	m.w.disconnect(p)
	if p.node != nil {
		m.w.bury(p.node)
	}
}

// stop ends the process in order, then calls done.
func (m *machine) stop(done func()) {
	p := m.process
	if p == nil || p.node == nil {
		done()
		return
	}
	m.w.note("%s stops", m.name())
	m.w.disconnect(p)
	node := p.node
	m.w.background.Go(func() {
		err := node.Shutdown(context.Background())
		m.w.loop.after(0, func() {
			if m.process == p {
				m.process = nil
				if err != nil && !m.excused(err) {
					m.w.fail("stands", "machine %s does not stop in order: %v", m.name(), err)
				}
			}
			done()
		})
	})
	p.node = nil // takes no more requests
	close(p.gone)
}

// bury ends the goroutines of a killed process. Whatever they still try fails.
func (w *World) bury(node *cluster.Node) {
	w.background.Go(func() { _ = node.Shutdown(context.Background()) })
}
