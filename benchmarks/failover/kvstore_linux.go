package main

import (
	"context"

	"kvstore/tests/lab"
)

// nodes is a cluster of kvstore.
type nodes []*lab.Node

func startKvstore(ctx context.Context, n *lab.Net, program, dir string) (system, error) {
	all, err := n.Cluster(ctx, program, dir, 3)
	if err != nil {
		nodes(all).close()
		return nil, err
	}
	return nodes(all), nil
}

func (n nodes) close() {
	for _, node := range n {
		node.Kill()
	}
}

func (n nodes) victim() *lab.Server { return &n[1].Server }

func (n nodes) prepare(context.Context) error { return nil }

func (n nodes) whole(ctx context.Context) error { return lab.AwaitWhole(ctx, n) }

func (n nodes) newClient(number int) requester {
	return newPlain(lab.Addresses(n), number)
}

// plain is a client of whichever node answers.
type plain struct{ lab.Client }

func newPlain(addresses []string, at int) *plain {
	return &plain{lab.Client{Addresses: addresses, At: at, DialWithin: dialWithin, ReplyWithin: replyWithin}}
}

func (p *plain) close() { p.Close() }

func (p *plain) do(args ...string) (lab.Reply, error) { return p.Do(args...) }
