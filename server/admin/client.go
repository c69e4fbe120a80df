package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

const (
	// clientTimeout bounds a question to a node on the same network.
	clientTimeout = 5 * time.Second
	// maxReplyBytes bounds an answer: a ring of 16384 partitions takes 3 MB.
	maxReplyBytes = 16 << 20
)

// Client asks a running node.
type Client struct {
	addr string // admin.listen of the node
	http http.Client
}

// NewClient prepares to ask the node whose admin.listen is addr. A host that
// means all interfaces, as a listener has it, means this machine here.
func NewClient(addr string) *Client {
	if host, port, err := net.SplitHostPort(addr); err == nil {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			addr = net.JoinHostPort("localhost", port)
		}
	}
	return &Client{addr: addr, http: http.Client{Timeout: clientTimeout, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// Nodes asks GET /v1/nodes.
func (c *Client) Nodes(ctx context.Context) (NodeList, error) {
	var list NodeList
	return list, c.get(ctx, "/v1/nodes", &list)
}

// Ring asks GET /v1/ring.
func (c *Client) Ring(ctx context.Context) (Ring, error) {
	var ring Ring
	return ring, c.get(ctx, "/v1/ring", &ring)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.do(ctx, http.MethodGet, path, nil, into)
}

func (c *Client) post(ctx context.Context, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(text), into)
}

func (c *Client) do(ctx context.Context, method, path string, text io.Reader, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+c.addr+path, text)
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body := json.NewDecoder(io.LimitReader(response.Body, maxReplyBytes))
	if response.StatusCode == http.StatusOK {
		if err := body.Decode(into); err != nil {
			return fmt.Errorf("read the answer of %s: %w", c.addr, err)
		}
		return nil
	}
	var p problem
	if err := body.Decode(&p); err != nil || p.Error == "" {
		return fmt.Errorf("%s answered %s", c.addr, response.Status)
	}
	return refusal(p.Error)
}

// refusal is what a node said in place of doing what it was asked.
type refusal string

func (r refusal) Error() string { return string(r) }

// IsRefusal reports whether an error is a node's own answer: it was reached, and says why not.
func IsRefusal(err error) bool {
	_, ok := errors.AsType[refusal](err)
	return ok
}
