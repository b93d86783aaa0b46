package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"
)

// Need says what a missing dependency means for readiness.
type Need int

const (
	// Required is what the service cannot do without: otherwise it answers nothing useful; /readyz is 503.
	Required Need = iota
	// Degrading is what the service can do without for a while: it still accepts work; /readyz stays 200 and names it.
	Degrading
)

// Health answers the probes. The zero value is ready to use, by many goroutines.
type Health struct {
	mu       sync.Mutex
	checks   []check
	stopping atomic.Bool
	done     chan struct{} // made by whoever needs it first
}

type check struct {
	name string
	need Need
	fn   func(context.Context) error
}

// Add registers a check; fn must be quick or obey its context. Its error text
// is shown to whoever asks, so it must not hold secrets.
func (h *Health) Add(name string, need Need, fn func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, need, fn})
}

// Stopping makes /readyz answer 503 from now on, so that no new work is sent here, and
// closes [Health.Done].
func (h *Health) Stopping() {
	done := h.doneChan()
	if !h.stopping.Swap(true) {
		close(done)
	}
}

// Done is closed when the service begins to stop. An answer without an end of its own,
// such as an event stream, must end then: the stop waits for every request in hand.
func (h *Health) Done() <-chan struct{} { return h.doneChan() }

func (h *Health) doneChan() chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.done == nil {
		h.done = make(chan struct{})
	}
	return h.done
}

// Readiness is the body of /readyz.
type Readiness struct {
	Status  string            `json:"status"` // ready, degraded, unavailable or stopping
	Missing map[string]string `json:"missing,omitempty"`
}

// Ready runs every check, all at the same time, within two seconds.
func (h *Health) Ready(ctx context.Context) (code int, body Readiness) {
	h.mu.Lock()
	checks := slices.Clip(h.checks)
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()

	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			defer func() { // no server recovers on this goroutine
				if cause := recover(); cause != nil {
					errs[i] = fmt.Errorf("panic: %v", cause)
				}
			}()
			errs[i] = c.fn(ctx)
		})
	}
	wg.Wait()

	code, body = http.StatusOK, Readiness{Status: "ready", Missing: map[string]string{}}
	for i, c := range checks {
		if errs[i] == nil {
			continue
		}
		body.Missing[c.name] = errs[i].Error()
		if c.need == Required {
			code, body.Status = http.StatusServiceUnavailable, "unavailable"
		} else if code == http.StatusOK {
			body.Status = "degraded"
		}
	}
	if h.stopping.Load() {
		code, body.Status = http.StatusServiceUnavailable, "stopping"
	}
	return code, body
}

func (h *Health) routes(r gin.IRoutes) {
	Handle(r, http.MethodGet, "/livez", func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"status": "alive"}) })
	Handle(r, http.MethodGet, "/readyz", func(c *gin.Context) { c.JSON(h.Ready(c.Request.Context())) })
}

// Healthcheck asks the service that listens on addr (":8080" means this host)
// whether it is ready, for container health checks.
func Healthcheck(ctx context.Context, addr string) error {
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
	if resp.StatusCode != http.StatusOK {
		return errors.New("healthcheck: " + resp.Status)
	}
	return nil
}
