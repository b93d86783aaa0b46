// Package load places orders in a shop, for the benchmark and the fault run.
package load

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Client sends requests to a shop over persistent connections. It is safe for concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client for the shop at the base URL that opens at most the given
// number of connections.
func NewClient(base string, connections int) *Client {
	return &Client{base, &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections, DisableCompression: true},
	}}
}

// Post sends body, with an Idempotency-Key if key is not empty. It returns the status and the
// body of the response.
func (c *Client) Post(ctx context.Context, path, key string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("request: %w", err)
	}
	req.Host = host
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return c.do(req)
}

func (c *Client) do(req *http.Request) (int, []byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("%s %s: %w", req.Method, req.URL.Path, err)
	}
	return resp.StatusCode, body, nil
}

// OpenAccounts opens an account for each of the users 1 to users. The balance of each
// account is in major units.
func (c *Client) OpenAccounts(ctx context.Context, users, balance int) error {
	return each(ctx, 64, users, func(i int) error {
		status, body, err := c.Post(ctx, "/accounts/", "", fmt.Appendf(nil, `{"user_id":%d,"balance":%d}`, i+1, balance))
		if err == nil && status != http.StatusCreated {
			err = fmt.Errorf("open account %d: %d %s", i+1, status, body)
		}
		return err
	})
}

// Orders records the results of a load. It is safe for concurrent use.
type Orders struct {
	mu                  sync.Mutex
	accepted, cancelled []string
	// Retries counts the requests that were sent again, because there was no response, it
	// was a 5xx, or the first request was still in flight.
	Retries atomic.Int64
}

// Accepted returns the ids of the orders that were accepted with 201.
func (o *Orders) Accepted() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.accepted)
}

// Cancelled returns the ids of the orders whose cancellation was accepted with 202.
func (o *Orders) Cancelled() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cancelled)
}

// newOrder returns the body of an order with the price 1 from a random user.
func newOrder(users int) []byte {
	return orderOf(1 + rand.IntN(users)) //nolint:gosec // not a secret
}

func orderOf(user int) []byte {
	return fmt.Appendf(nil, `{"user_id":%d,"item":"Book","price":1}`, user)
}

// accept records the order in a response and returns its id.
func (o *Orders) accept(status int, body []byte, err error) (string, error) {
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("order not accepted: %d %s", status, body)
	}
	if err != nil {
		return "", err
	}
	// Decoding the JSON would take a third of the load generator's CPU time.
	_, rest, found := bytes.Cut(body, []byte(`"id":"`))
	quoted, _, closed := bytes.Cut(rest, []byte(`"`))
	if !found || !closed {
		return "", fmt.Errorf("order without an id: %s", body)
	}
	id := string(quoted)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.accepted = append(o.accepted, id)
	return id, nil
}

// cancel records that the cancellation of an order was accepted.
func (o *Orders) cancel(id string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cancelled = append(o.cancelled, id)
}

// Place places n orders of random users over the given number of connections, one order at
// a time on each (a closed loop). It stops at the first order that is not accepted. It writes
// to raw connections instead of using an http.Client: on a small machine, the load generator
// must not take CPU time from the shop that it measures.
func (c *Client) Place(ctx context.Context, connections, users, n int, placed *Orders) error {
	return c.overConnections(ctx, connections, n, func(p *conn, _ int) error {
		_, err := placed.accept(p.place(newOrder(users)))
		return err
	})
}

// PlaceInTurn is like Place, but the users take turns: order i is of user 1 + i mod users.
func (c *Client) PlaceInTurn(ctx context.Context, connections, users, n int, placed *Orders) error {
	return c.overConnections(ctx, connections, n, func(p *conn, i int) error {
		_, err := placed.accept(p.place(orderOf(1 + i%users)))
		return err
	})
}

// overConnections calls fn for 0 to n-1, at any time at most once for each connection.
func (c *Client) overConnections(ctx context.Context, connections, n int, fn func(p *conn, i int) error) error {
	pool := make(chan *conn, connections)
	for range connections {
		p, err := dial(ctx, c.base)
		if err != nil {
			return err
		}
		defer p.Close()
		pool <- p
	}
	return each(ctx, connections, n, func(i int) error {
		p := <-pool
		defer func() { pool <- p }()
		return fn(p, i)
	})
}

// PlaceThroughFaults places n orders and cancels every fourth one. Each worker pauses between
// requests. A request without a definite response is retried with the same key until it
// has one, so all n orders are eventually accepted.
func (c *Client) PlaceThroughFaults(ctx context.Context, workers, users, n int, pause time.Duration, placed *Orders) error {
	return each(ctx, workers, n, func(i int) error {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		key := crand.Text()
		status, body, err := c.postUntilDefinite(ctx, tick, placed, "/orders/", key, newOrder(users))
		if err != nil {
			return err
		}
		id, err := placed.accept(status, body, nil)
		if err != nil || i%4 != 0 {
			return errors.Join(err, wait(ctx, tick))
		}
		if i%8 == 0 { // cancel the others immediately, so that they race with the charge
			if err := wait(ctx, tick); err != nil {
				return err
			}
		}
		status, body, err = c.postUntilDefinite(ctx, tick, placed, "/orders/"+id+"/cancel", key, nil)
		switch {
		case err != nil:
			return err
		case status == http.StatusAccepted:
			placed.cancel(id)
		case status != http.StatusConflict: // a conflict: the shop had already cancelled it
			return fmt.Errorf("cancel %s: %d %s", id, status, body)
		}
		return wait(ctx, tick)
	})
}

// postUntilDefinite sends a request until the response shows that it was processed or
// rejected.
func (c *Client) postUntilDefinite(ctx context.Context, tick *time.Ticker, placed *Orders, path, key string, body []byte) (int, []byte, error) {
	for {
		status, respBody, err := c.Post(ctx, path, key, body)
		inFlight := status == http.StatusConflict && bytes.Contains(respBody, []byte("/problems/request-in-flight"))
		if err == nil && status < 500 && !inFlight {
			return status, respBody, nil
		}
		placed.Retries.Add(1)
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

// each calls fn for 0 to n-1 on the given number of workers. It stops after the first error
// and returns it.
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
