package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Failures counts requests and records those that failed. It is safe for concurrent use.
type Failures struct {
	Requests atomic.Int64

	mu     sync.Mutex
	failed []string
}

func (f *Failures) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = append(f.failed, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// All returns a description of each failed request.
func (f *Failures) All() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.failed)
}

// PlaceSteadily places orders until ctx is done, reads each of them, its user's orders and
// account, and cancels every fourth one. Each worker has one connection and pauses between
// requests. Half of the POSTs have no Idempotency-Key, so no part of the shop can repeat
// them either. No request is retried: one without the expected response has failed.
func (c *Client) PlaceSteadily(ctx context.Context, workers, users int, pause time.Duration, placed *Orders, failures *Failures) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			s := &steady{c: c, failures: failures, tick: time.NewTicker(pause)}
			defer s.tick.Stop()
			defer s.close()
			for i := w; ctx.Err() == nil; i++ {
				s.round(ctx, i, 1+(i*workers+w)%users, placed)
			}
		})
	}
	wg.Wait()
}

// steady is a worker of [Client.PlaceSteadily].
type steady struct {
	c        *Client
	p        *conn // nil if the connection ended
	failures *Failures
	tick     *time.Ticker
}

func (s *steady) round(ctx context.Context, i, user int, placed *Orders) {
	key := ""
	if i%2 == 0 {
		key = rand.Text()
	}
	_, body := s.send(ctx, http.MethodPost, "/orders/", key, orderOf(user), http.StatusCreated)
	if body == nil {
		return
	}
	id, err := placed.accept(http.StatusCreated, body, nil)
	if err != nil {
		s.failures.add("%v", err)
		return
	}
	cancels := i/2%4 == 0
	if !cancels || i%16 < 8 { // the other cancellations race with the charge
		for _, path := range []string{"/orders/" + id, fmt.Sprintf("/orders/?user_id=%d", user), fmt.Sprintf("/accounts/%d", user)} {
			s.send(ctx, http.MethodGet, path, "", nil, http.StatusOK)
		}
	}
	if !cancels {
		return
	}
	// A conflict: the shop has already cancelled the order.
	if status, _ := s.send(ctx, http.MethodPost, "/orders/"+id+"/cancel", key, nil, http.StatusAccepted, http.StatusConflict); status == http.StatusAccepted {
		placed.cancel(id)
	}
}

// send sends a request and returns its response. It returns a nil body if the request failed.
func (s *steady) send(ctx context.Context, method, path, key string, body []byte, want ...int) (int, []byte) {
	_ = wait(ctx, s.tick) // if ctx is done, the round is completed without pauses
	s.failures.Requests.Add(1)
	start := time.Now()
	status, respBody, err := s.exchange(context.WithoutCancel(ctx), method, path, key, body)
	if err == nil && !slices.Contains(want, status) {
		err = fmt.Errorf("%d %s", status, respBody)
	}
	if err != nil {
		s.close()
		s.failures.add("%s %s, key %q, after %.3f s: %v", method, path, key, time.Since(start).Seconds(), err)
		return status, nil
	}
	return status, respBody
}

func (s *steady) exchange(ctx context.Context, method, path, key string, body []byte) (int, []byte, error) {
	if s.p == nil {
		p, err := dial(ctx, s.c.base)
		if err != nil {
			return 0, nil, err
		}
		s.p = p
	}
	if err := s.p.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return 0, nil, err
	}
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, host)
	if key != "" {
		head += "Idempotency-Key: " + key + "\r\n"
	}
	if method == http.MethodPost {
		head += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	if _, err := fmt.Fprintf(s.p, "%s\r\n%s", head, body); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(s.p.in, &http.Request{Method: method})
	if err != nil {
		return 0, nil, err
	}
	respBody, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return 0, nil, err
	}
	if resp.Close {
		s.close()
	}
	return resp.StatusCode, respBody, nil
}

func (s *steady) close() {
	if s.p != nil {
		_ = s.p.Close()
		s.p = nil
	}
}
