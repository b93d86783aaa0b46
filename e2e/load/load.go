// Package load drives a shop with orders, for the benchmark and the fault run.
package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Client talks to one shop over many kept connections. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient talks to the shop at base.
func NewClient(base string, connections int) *Client {
	return &Client{base, &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true},
	}}
}

// Post sends body and returns the status and the answer.
func (c *Client) Post(ctx context.Context, path string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", path, err)
	}
	return resp.StatusCode, answer, nil
}

// OpenAccounts opens the accounts 1 … users with a balance each, in major units.
func (c *Client) OpenAccounts(ctx context.Context, users, balance int) error {
	return each(ctx, 64, users, func(i int) error {
		status, body, err := c.Post(ctx, "/accounts/", fmt.Appendf(nil, `{"user_id":%d,"balance":%d}`, i+1, balance))
		if err == nil && status != http.StatusCreated {
			err = fmt.Errorf("open account %d: %d %s", i+1, status, body)
		}
		return err
	})
}

// Orders says what became of the orders that were placed. It is safe for concurrent use.
type Orders struct {
	mu       sync.Mutex
	accepted []string
	Failed   atomic.Int64 // not accepted: not done, or of unknown outcome
}

// Accepted are the ids of the orders that were answered with 201.
func (o *Orders) Accepted() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.accepted)
}

// newOrder is the body of an order of 1 from a random user of 1 … users.
func newOrder(users int) []byte {
	return fmt.Appendf(nil, `{"user_id":%d,"item":"Book","price":1}`, 1+rand.IntN(users)) //nolint:gosec // a load needs no secret numbers
}

// answered notes what became of an order.
func (o *Orders) answered(status int, answer []byte, err error) error {
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("order not accepted: %d %s", status, answer)
	}
	var order struct{ ID string }
	if err == nil {
		err = json.Unmarshal(answer, &order)
	}
	if err != nil {
		o.Failed.Add(1)
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.accepted = append(o.accepted, order.ID)
	return nil
}

// Place places n orders over a number of connections, each one order after the other
// (a closed loop), and stops at the first that is not accepted. It writes and reads
// its connections itself: on a small machine the load must not cost what it measures.
func (c *Client) Place(ctx context.Context, connections, users, n int, into *Orders) error {
	pool := make(chan *conn, connections)
	for range connections {
		p, err := dial(ctx, c.base)
		if err != nil {
			return err
		}
		defer p.Close()
		pool <- p
	}
	return each(ctx, connections, n, func(int) error {
		p := <-pool
		defer func() { pool <- p }()
		return into.answered(p.post("/orders/", newOrder(users)))
	})
}

// conn is one kept connection, for one caller at a time.
type conn struct {
	net.Conn
	host string
	in   *bufio.Reader
}

func dial(ctx context.Context, base string) (*conn, error) {
	host := strings.TrimPrefix(base, "http://")
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &conn{c, host, bufio.NewReader(c)}, nil
}

func (c *conn) post(path string, body []byte) (int, []byte, error) {
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", path, err)
	}
	if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, c.host, len(body), body); err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", path, err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("post %s: %w", path, err)
	}
	return resp.StatusCode, answer, nil
}

// PlaceThroughFaults places orders, each worker one in every pause, until n were
// accepted. What fails is counted and not tried again: its outcome is unknown.
func (c *Client) PlaceThroughFaults(ctx context.Context, workers, users, n int, pause time.Duration, into *Orders) error {
	var accepted atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for accepted.Load() < int64(n) {
				if into.answered(c.Post(ctx, "/orders/", newOrder(users))) == nil {
					accepted.Add(1)
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// each runs fn for 0 … n−1 on a number of workers and returns the first error.
func each(ctx context.Context, workers, n int, fn func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, workers)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := fn(i); err != nil {
					failed <- err
					cancel()
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}
