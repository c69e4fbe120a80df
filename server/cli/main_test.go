package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"kvstore/server/admin"
)

const (
	// roleVariable makes the test binary behave as kvstore itself.
	roleVariable = "KVTEST_ROLE"
	// fakeVariable makes its server a fakeNode in a cluster of so many nodes.
	fakeVariable = "KVTEST_FAKE_NODES"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "kvstore" {
		kvstore()
	}
	testscript.Main(m, map[string]func(){"kvstore": kvstore, "await": await})
}

// kvstore is the program, with a fake node in place of a real one if so asked.
func kvstore() {
	if count, err := strconv.Atoi(os.Getenv(fakeVariable)); err == nil && os.Args[1] == "server" {
		if err := fakeNode(os.Args[2:], count); err != nil {
			fmt.Fprintln(os.Stderr, "kvstore: "+err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// await waits until somebody listens on an address.
func await() {
	for range 2000 {
		if c, err := net.Dial("tcp", os.Args[1]); err == nil {
			c.Close()
			return
		}
		time.Sleep(5 * time.Millisecond) // another process's socket gives no event
	}
	fmt.Fprintln(os.Stderr, "await: nobody listens on "+os.Args[1])
	os.Exit(1)
}

// fakeNode serves admin.listen as a node of a formed cluster would, until it is
// told to stop. With a node.rack of "broken" it does not start, with one of
// "deaf" it ignores SIGTERM.
func fakeNode(args []string, count int) error {
	s := &shell{environ: os.Environ()}
	v := newInvocation("server")
	file := v.String("config", "", "")
	if err := v.parse(s, args); err != nil {
		return err
	}
	c, _, err := s.load(*file, v.settings)
	if err != nil {
		return err
	}
	if c.Node.Rack == "broken" {
		return errors.New("the disk is made of cheese")
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, os.Interrupt)
	source := fakeSource{count: count, name: c.Node.Name, address: c.Server.Listen}
	server, err := admin.New(admin.Options{Listen: c.Admin.Listen, Source: source, Logger: zerolog.Nop(),
		Hot: func(_ context.Context, top int) admin.Hot { return fakeHot(top) }})
	if err != nil {
		return err
	}
	for <-stop; c.Node.Rack == "deaf"; <-stop {
	}
	return server.Shutdown(context.Background())
}

// fakeHot is what is hot at a fake node.
func fakeHot(top int) admin.Hot {
	h := admin.Hot{HalfLife: 5, Members: 3, Silent: 1, Reads: 9000.4, Writes: 7.25, Keys: []admin.HotKey{
		{Key: "user:7", Bytes: 6, Reads: 4503.6, Share: 0.5, Slot: 2780, Partition: 43, Replicas: []string{"n2", "n1"}},
		{Key: `a\xff b`, Base64: "Yf8gYg==", Bytes: 70000, Beginning: true, Database: 15, Reads: 0, Writes: 7.25, Share: 0.0008, Partition: 1, Replicas: []string{"n1"}},
	}, Partitions: []admin.HotPartition{{Partition: 43, Reads: 4600, Writes: 1, Share: 0.511, Replicas: []string{"n2", "n1"}}}}
	h.Keys = h.Keys[:min(top, len(h.Keys))]
	return h
}

// fakeSource is a cluster that has formed: this node and count-1 others.
type fakeSource struct {
	count         int
	name, address string
}

func (f fakeSource) Ready() error   { return nil }
func (f fakeSource) Healthy() error { return nil }

func (f fakeSource) Nodes() admin.NodeList {
	list := admin.NodeList{Cluster: "kvstore", ClusterID: "c1", Self: "0", Process: os.Getpid(), Ready: true, Epoch: 2, Partitions: 4}
	for i := range f.count {
		list.Nodes = append(list.Nodes, admin.Node{ID: strconv.Itoa(i), Name: "other", State: "alive", Member: true, DC: "dc1", Rack: "rack1", Replicas: 4, Primaries: 1})
	}
	list.Nodes[0].Name, list.Nodes[0].Address = f.name, f.address
	return list
}

func (f fakeSource) Ring() admin.Ring {
	ring := admin.Ring{ClusterID: "c1", Epoch: 2, Slots: 16384, Members: f.Nodes().Nodes}
	for i := range 4 {
		ring.Partitions = append(ring.Partitions, admin.Partition{Partition: i, FirstSlot: i * 4096, LastSlot: i*4096 + 4095, Replicas: []string{"0"}})
	}
	return ring
}

func (f fakeSource) Merge(context.Context, []admin.Node) error { return nil }
