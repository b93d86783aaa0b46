package service

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limit bounds the requests in flight. It is safe for concurrent use.
type Limit struct {
	limit    int64
	inFlight atomic.Int64
}

// NewLimit returns a limit and registers the gauge requests_in_flight with the given labels.
func NewLimit(limit int, reg prometheus.Registerer, labels prometheus.Labels) *Limit {
	l := &Limit{limit: int64(limit)}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "requests_in_flight", Help: "Requests that are being processed, without event streams and probes.", ConstLabels: labels,
	}, func() float64 { return float64(l.inFlight.Load()) }))
	return l
}

// Enter admits a request, unless the limit is reached. The caller of an admitted request
// calls [Limit.Leave] when it is completed.
func (l *Limit) Enter() bool {
	if l.inFlight.Add(1) > l.limit {
		l.inFlight.Add(-1)
		return false
	}
	return true
}

// Leave ends an admitted request.
func (l *Limit) Leave() { l.inFlight.Add(-1) }

// OverloadError is the error of a request that is refused because of overload. Nothing was
// done for it.
type OverloadError struct {
	Reason string // a label value
	Detail string // for the client
}

// Error returns the detail.
func (e *OverloadError) Error() string { return e.Detail }

// refusalsLogged is the minimum interval between two log lines with the same reason.
const refusalsLogged = 10 * time.Second

// Refusals counts the refused requests by reason. It logs the first one, and then how many
// there were, at a bounded rate. It is safe for concurrent use.
type Refusals struct {
	log   *slog.Logger
	total *prometheus.CounterVec

	mu       sync.Mutex
	byReason map[string]*refused
}

type refused struct {
	n      int // since the last log line
	logged time.Time
}

// NewRefusals registers the counter requests_refused_total.
func NewRefusals(log *slog.Logger, reg prometheus.Registerer) *Refusals {
	r := &Refusals{log: log, byReason: map[string]*refused{}, total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "requests_refused_total", Help: "Requests that were refused with 503 because of overload, by reason.",
	}, []string{"reason"})}
	reg.MustRegister(r.total)
	return r
}

// Add counts a request that was refused.
func (r *Refusals) Add(ctx context.Context, reason string) {
	r.total.WithLabelValues(reason).Inc()
	if n := r.unlogged(reason); n > 0 {
		r.log.WarnContext(ctx, "admission: refusing requests with 503", "reason", reason, "refused", n)
	}
}

// unlogged adds a refused request. It returns how many there were since the last log line if
// another one is due, and otherwise 0.
func (r *Refusals) unlogged(reason string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, known := r.byReason[reason]
	if !known {
		b = &refused{}
		r.byReason[reason] = b
	}
	b.n++
	now := time.Now()
	if now.Sub(b.logged) < refusalsLogged {
		return 0
	}
	n := b.n
	b.n, b.logged = 0, now
	return n
}
