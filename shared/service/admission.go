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

// LimitError is the error of a request that is refused because its client or user exceeds a
// limit. Nothing was done for it.
type LimitError struct {
	Limit  string // a label value
	Quota  int    // how much the limit allows
	Who    string // for the log
	Detail string // for the client
}

// Error returns the detail.
func (e *LimitError) Error() string { return e.Detail }

// Refusals counts the requests that are refused because of overload, by reason. It logs the
// first one, and then how many there were, at a bounded rate. It is safe for concurrent use.
type Refusals struct {
	log   *slog.Logger
	tally *tally
}

// NewRefusals registers the counter requests_refused_total.
func NewRefusals(log *slog.Logger, reg prometheus.Registerer) *Refusals {
	return &Refusals{log, newTally(reg, "requests_refused_total", "Requests that were refused with 503 because of overload, by reason.", "reason")}
}

// Add counts a request that was refused.
func (r *Refusals) Add(ctx context.Context, reason string) {
	if n := r.tally.add(reason); n > 0 {
		r.log.WarnContext(ctx, "admission: refusing requests with 503", "reason", reason, "refused", n)
	}
}

// Limited counts the requests that are refused because their client or user exceeds a limit.
// It logs like [Refusals].
type Limited struct {
	log   *slog.Logger
	tally *tally
}

// NewLimited registers the counter requests_limited_total.
func NewLimited(log *slog.Logger, reg prometheus.Registerer) *Limited {
	return &Limited{log, newTally(reg, "requests_limited_total", "Requests that were refused with 429 because their client or user exceeded a limit, by limit.", "limit")}
}

// Add counts a request that was refused. who exceeds the limit.
func (l *Limited) Add(ctx context.Context, limit, who string) {
	if n := l.tally.add(limit); n > 0 {
		l.log.WarnContext(ctx, "limits: refusing requests with 429", "limit", limit, "refused", n, "last", who)
	}
}

// tally counts events by a label and limits how often they are logged.
type tally struct {
	total   *prometheus.CounterVec
	mu      sync.Mutex
	byLabel map[string]*unlogged
}

type unlogged struct {
	n      int // since the last log line
	logged time.Time
}

// loggedEvery is the minimum interval between two log lines about the same label.
const loggedEvery = 10 * time.Second

func newTally(reg prometheus.Registerer, name, help, label string) *tally {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	reg.MustRegister(total)
	return &tally{total: total, byLabel: map[string]*unlogged{}}
}

// add counts an event. It returns how many there were since the last log line if another one
// is due, and otherwise 0.
func (t *tally) add(label string) int {
	t.total.WithLabelValues(label).Inc()
	t.mu.Lock()
	defer t.mu.Unlock()
	u, known := t.byLabel[label]
	if !known {
		u = &unlogged{}
		t.byLabel[label] = u
	}
	u.n++
	now := time.Now()
	if now.Sub(u.logged) < loggedEvery {
		return 0
	}
	n := u.n
	u.n, u.logged = 0, now
	return n
}
