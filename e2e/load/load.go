// Package load drives a shop with orders, for the benchmark and the fault run.
package load

import (
	"bufio"
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/json"
	"errors"
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

// Post sends body, with an Idempotency-Key when key is not empty, and returns the status
// and the answer.
func (c *Client) Post(ctx context.Context, path, key string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
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
		status, body, err := c.Post(ctx, "/accounts/", "", fmt.Appendf(nil, `{"user_id":%d,"balance":%d}`, i+1, balance))
		if err == nil && status != http.StatusCreated {
			err = fmt.Errorf("open account %d: %d %s", i+1, status, body)
		}
		return err
	})
}

// Orders says what became of the orders that were placed. It is safe for concurrent use.
type Orders struct {
	mu                  sync.Mutex
	accepted, cancelled []string
	// Repeated counts the requests that were sent again, for their answer did not come
	// or was that nothing is known or was done.
	Repeated atomic.Int64
}

// Accepted are the ids of the orders that were answered with 201.
func (o *Orders) Accepted() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.accepted)
}

// Cancelled are the ids of the orders whose cancellation was answered with 202.
func (o *Orders) Cancelled() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cancelled)
}

// newOrder is the body of an order of 1 from a random user of 1 … users.
func newOrder(users int) []byte {
	return fmt.Appendf(nil, `{"user_id":%d,"item":"Book","price":1}`, 1+rand.IntN(users)) //nolint:gosec // a load needs no secret numbers
}

// accept notes the order of an answer, and returns its id.
func (o *Orders) accept(status int, answer []byte, err error) (string, error) {
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("order not accepted: %d %s", status, answer)
	}
	var order struct{ ID string }
	if err == nil {
		err = json.Unmarshal(answer, &order)
	}
	if err != nil {
		return "", err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.accepted = append(o.accepted, order.ID)
	return order.ID, nil
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
		_, err := into.accept(p.post("/orders/", newOrder(users)))
		return err
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

// PlaceThroughFaults places n orders and cancels every fourth of them, each worker one
// order in every pause. It sends whatever is not answered again, with the same key, until
// it is: every one of the n is accepted in the end.
func (c *Client) PlaceThroughFaults(ctx context.Context, workers, users, n int, pause time.Duration, into *Orders) error {
	return each(ctx, workers, n, func(i int) error {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		key := crand.Text()
		status, answer, err := c.insist(ctx, tick, into, "/orders/", key, newOrder(users))
		if err != nil {
			return err
		}
		id, err := into.accept(status, answer, nil)
		if err != nil || i%4 != 0 {
			return errors.Join(err, wait(ctx, tick))
		}
		if i%8 == 0 { // the others race with the charge
			if err := wait(ctx, tick); err != nil {
				return err
			}
		}
		status, answer, err = c.insist(ctx, tick, into, "/orders/"+id+"/cancel", key, nil)
		switch {
		case err != nil:
			return err
		case status == http.StatusAccepted:
			into.mu.Lock()
			into.cancelled = append(into.cancelled, id)
			into.mu.Unlock()
		case status != http.StatusConflict: // it was refused before
			return fmt.Errorf("cancel %s: %d %s", id, status, answer)
		}
		return wait(ctx, tick)
	})
}

// insist sends a request until it is answered with what is known to be done or refused.
func (c *Client) insist(ctx context.Context, tick *time.Ticker, into *Orders, path, key string, body []byte) (int, []byte, error) {
	for {
		status, answer, err := c.Post(ctx, path, key, body)
		inFlight := status == http.StatusConflict && bytes.Contains(answer, []byte("/problems/request-in-flight"))
		if err == nil && status < 500 && !inFlight {
			return status, answer, nil
		}
		into.Repeated.Add(1)
		if err := wait(ctx, tick); err != nil {
			return 0, nil, err
		}
	}
}

func wait(ctx context.Context, tick *time.Ticker) error {
	select {
	case <-tick.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
