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

// Orders says what became of a number of POST /orders/.
type Orders struct {
	mu       sync.Mutex
	Accepted []string // ids of those that were answered with 201
	Refused  atomic.Int64
	Failed   atomic.Int64 // no answer, or one of 5xx: outcome unknown or not done
}

// Place places n orders of 1 from random users of 1 … users over the connections,
// each connection one after the other. It goes on through failures when steady is
// false, and stops at the first when it is true.
func (c *Client) Place(ctx context.Context, connections, users, n int, steady bool, into *Orders) error {
	return each(ctx, connections, n, func(int) error {
		body := fmt.Appendf(nil, `{"user_id":%d,"item":"Book","price":1}`, 1+rand.IntN(users)) //nolint:gosec // a load needs no secret numbers
		status, answer, err := c.Post(ctx, "/orders/", body)
		switch {
		case err == nil && status == http.StatusCreated:
			var o struct{ ID string }
			if err := json.Unmarshal(answer, &o); err != nil {
				return fmt.Errorf("answer: %w", err)
			}
			into.mu.Lock()
			into.Accepted = append(into.Accepted, o.ID)
			into.mu.Unlock()
			return nil
		case err == nil && status < http.StatusInternalServerError:
			into.Refused.Add(1)
			err = fmt.Errorf("order refused: %d %s", status, answer)
		default:
			into.Failed.Add(1)
			if err == nil {
				err = fmt.Errorf("order failed: %d %s", status, answer)
			}
		}
		if steady {
			return err
		}
		return nil
	})
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
