package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// useEvery is the interval of the reads and cancellations during the load.
const useEvery = 50 * time.Millisecond

// use is what happened to orders that were read and cancelled during the load.
type use struct {
	took      []time.Duration
	failures  []string
	read      int
	cancelled []string // orders whose cancellation was accepted
}

// useMeanwhile reads orders that are placed already, and cancels every fourth one, until the
// returned function is called. None of these requests may fail or be refused.
func (r *overload) useMeanwhile(ctx context.Context) (stop func() *use) {
	u, done := &use{}, make(chan struct{})
	running, cancel := context.WithCancel(ctx)
	go func() {
		defer close(done)
		tick := time.NewTicker(useEvery)
		defer tick.Stop()
		for i, id := range r.placed.Accepted() {
			select {
			case <-tick.C:
			case <-running.Done():
				return
			}
			if i%4 == 0 {
				status, body, err := u.timed(func() (int, []byte, error) { return r.client.Post(ctx, "/orders/"+id+"/cancel", "", nil) })
				if u.expect(http.StatusAccepted, id, status, body, err) {
					u.cancelled = append(u.cancelled, id)
				}
				continue
			}
			status, body, err := u.timed(func() (int, []byte, error) { return r.client.Get(ctx, "/orders/"+id) })
			if u.expect(http.StatusOK, id, status, body, err) {
				u.read++
			}
		}
	}()
	return func() *use { cancel(); <-done; return u }
}

// timed sends a request and records how long it took.
func (u *use) timed(send func() (int, []byte, error)) (int, []byte, error) {
	start := time.Now()
	defer func() { u.took = append(u.took, time.Since(start)) }()
	return send()
}

// expect reports whether a response has the status, and records a failure if it has not.
func (u *use) expect(want int, id string, status int, body []byte, err error) bool {
	if err == nil && status != want {
		err = fmt.Errorf("order %s: %d %s", id, status, body)
	}
	if err != nil {
		u.failures = append(u.failures, err.Error())
	}
	return err == nil
}
