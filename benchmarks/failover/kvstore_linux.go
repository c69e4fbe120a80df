package main

import (
	"context"
	"errors"
	"slices"

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
	return &plain{addresses: slices.Clone(lab.Addresses(n)), at: number}
}

// plain is a client that is connected to one node, and to the next when that fails.
type plain struct {
	addresses []string
	at        int
	conn      *lab.Conn
}

func (p *plain) String() string { return p.addresses[p.at%len(p.addresses)] }

func (p *plain) close() {
	if p.conn != nil {
		p.conn.Close()
		p.conn = nil
	}
}

func (p *plain) do(args ...string) (reply lab.Reply, err error) {
	for tries := 0; p.conn == nil; tries++ {
		if p.conn, err = lab.Dial(p.addresses[p.at%len(p.addresses)], dialWithin); err != nil {
			if p.at++; tries == len(p.addresses) {
				return reply, err
			}
		}
	}
	if reply, err = p.conn.Do(replyWithin, args...); err != nil {
		p.close()
		p.at++
		return reply, err
	}
	if reply.Error {
		err = errors.New(reply.Text)
	}
	return reply, err
}
