// Package load drives a shop with orders, for the benchmark and the fault run.
package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
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

// place places one order of 1 from a random user of 1 … users.
func (c *Client) place(ctx context.Context, users int, into *Orders) error {
	body := fmt.Appendf(nil, `{"user_id":%d,"item":"Book","price":1}`, 1+rand.IntN(users)) //nolint:gosec // a load needs no secret numbers
	status, answer, err := c.Post(ctx, "/orders/", body)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("order not accepted: %d %s", status, answer)
	}
	var o struct{ ID string }
	if err == nil {
		err = json.Unmarshal(answer, &o)
	}
	if err != nil {
		into.Failed.Add(1)
		return err
	}
	into.mu.Lock()
	defer into.mu.Unlock()
	into.accepted = append(into.accepted, o.ID)
	return nil
}

// Place places n orders over the connections, each connection one after the other
// (a closed loop), and stops at the first that is not accepted.
func (c *Client) Place(ctx context.Context, connections, users, n int, into *Orders) error {
	return each(ctx, connections, n, func(int) error { return c.place(ctx, users, into) })
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
				if c.place(ctx, users, into) == nil {
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
