package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// Need is the effect of a failing check on readiness.
type Need int

const (
	// Required checks must pass for the service to be useful. If one fails, /readyz responds 503.
	Required Need = iota
	// Degrading checks may fail for a while: the service still accepts work. /readyz responds
	// 200 and lists them.
	Degrading
)

// Health answers the probes. The zero value is ready to use. Its methods may be called by
// multiple goroutines.
type Health struct {
	mu       sync.Mutex
	checks   []check
	stopping atomic.Bool
	done     chan struct{} // created by doneChan on first use

	checking sync.Mutex // held while the checks run, and for the fields below
	until    time.Time  // when the result below expires
	code     int
	body     Readiness
}

type check struct {
	name string
	need Need
	fn   func(context.Context) error
}

// Add registers a check. fn must return quickly or respect its context. The text of its
// error is part of the response of /readyz, so it must not contain secrets.
func (h *Health) Add(name string, need Need, fn func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, need, fn})
}

// Stopping makes /readyz respond 503 from now on. Each response then closes its connection,
// so that clients stop sending requests to this replica.
func (h *Health) Stopping() { h.stopping.Store(true) }

// Stopped closes [Health.Done]. It is called once, when no new requests are accepted.
func (h *Health) Stopped() { close(h.doneChan()) }

// Done returns a channel that is closed when no new requests are accepted. An endless
// response, such as an event stream, must end then, because the shutdown waits for every
// request in flight.
func (h *Health) Done() <-chan struct{} { return h.doneChan() }

func (h *Health) doneChan() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done == nil {
		h.done = make(chan struct{})
	}
	return h.done
}

// How long the result of the checks is reported. That a service is not ready is checked again
// soon: it may just be starting, and others wait for it.
const (
	readyFor    = time.Second
	notReadyFor = 100 * time.Millisecond
)

// Readiness is the body of /readyz.
type Readiness struct {
	Status   string            `json:"status"`            // ready, degraded, unavailable or stopping
	NotReady map[string]string `json:"missing,omitempty"` // error text by check
}

// Ready returns the status code and the body of /readyz. Anybody may call it at any rate, so
// the checks run at most once per [readyFor], or [notReadyFor], and concurrent callers share a
// run. Only "stopping" is reported at once.
func (h *Health) Ready() (code int, body Readiness) {
	if h.stopping.Load() {
		return http.StatusServiceUnavailable, Readiness{Status: "stopping"}
	}
	h.checking.Lock()
	defer h.checking.Unlock()
	if !time.Now().Before(h.until) {
		h.code, h.body = h.check()
		valid := readyFor
		if h.code != http.StatusOK {
			valid = notReadyFor
		}
		h.until = time.Now().Add(valid)
	}
	return h.code, h.body
}

// check runs all checks concurrently, with a timeout of two seconds. Its context is not that
// of a request: the client may disconnect, but others wait for the result too.
func (h *Health) check() (code int, body Readiness) {
	h.mu.Lock()
	checks := slices.Clip(h.checks)
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			defer func() { // net/http does not recover panics on this goroutine
				if cause := recover(); cause != nil {
					errs[i] = fmt.Errorf("panic: %v", cause)
				}
			}()
			errs[i] = c.fn(ctx)
		})
	}
	wg.Wait()
	code, body = http.StatusOK, Readiness{Status: "ready", NotReady: map[string]string{}}
	for i, c := range checks {
		if errs[i] == nil {
			continue
		}
		body.NotReady[c.name] = errs[i].Error()
		if c.need == Required {
			code, body.Status = http.StatusServiceUnavailable, "unavailable"
		} else if code == http.StatusOK {
			body.Status = "degraded"
		}
	}
	return code, body
}

func (h *Health) routes(r gin.IRoutes) {
	Handle(r, http.MethodGet, "/livez", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "alive"}) })
	Handle(r, http.MethodGet, "/readyz", func(c *gin.Context) { c.JSON(h.Ready()) })
}

// Healthcheck writes the response of /readyz of the service at addr to w. It returns nil if the
// status is 200. An addr without a host, such as ":8080", means this host. Container health
// checks use it.
func Healthcheck(ctx context.Context, addr string, w io.Writer) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/readyz", http.NoBody)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("healthcheck: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New("healthcheck: " + resp.Status)
	}
	return nil
}
