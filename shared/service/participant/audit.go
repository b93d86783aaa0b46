package participant

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gozon/shared/contract/audit"
	"gozon/shared/delivery/batch"
	"gozon/shared/web/problem"
)

// auditTimeout bounds one audit, which may read all data.
const auditTimeout = 5 * time.Minute

// Auditor audits the data of a service: when it is asked to, and in intervals. It logs each
// difference once, and exports how many there are. It is safe for concurrent use.
type Auditor[R Report] struct {
	check func(ctx context.Context, full bool) (R, error)
	p     *Participant
	count prometheus.Gauge
	at    prometheus.Gauge

	wake chan struct{}
	full sync.Mutex

	mu   sync.Mutex
	next *pending[R] // the audit that has callers and has not started
}

// Report is the result of an audit. It embeds [audit.Findings].
type Report interface{ AuditFindings() audit.Findings }

type pending[R Report] struct {
	done   chan struct{}
	report R
	err    error
}

// Audit adds an auditor. check verifies everything if full is true, otherwise what is new
// since the previous call.
func Audit[R Report](p *Participant, check func(ctx context.Context, full bool) (R, error)) *Auditor[R] {
	a := &Auditor[R]{
		check: check, p: p, wake: make(chan struct{}, 1),
		count: prometheus.NewGauge(prometheus.GaugeOpts{Name: "audit_differences", Help: "Differences that the last audit has found."}),
		at:    prometheus.NewGauge(prometheus.GaugeOpts{Name: "audit_last_success_timestamp_seconds", Help: "Time of the last audit that was completed."}),
	}
	p.Metrics.MustRegister(a.count, a.at)
	p.Add("auditor", a.run)
	return a
}

// Check returns the report of an audit that starts after the call. Callers that arrive while
// an audit is running share the next one. The audit continues when ctx is done: the first one
// after an update of the service may take minutes, and no call must start it over.
func (a *Auditor[R]) Check(ctx context.Context) (R, error) {
	a.mu.Lock()
	if a.next == nil {
		a.next = &pending[R]{done: make(chan struct{})}
		select {
		case a.wake <- struct{}{}:
		default: // the wake-up of an audit that has just started
		}
	}
	next := a.next
	a.mu.Unlock()
	select {
	case <-next.done:
		return next.report, next.err
	case <-ctx.Done():
		var none R
		return none, problem.Unavailable("the audit is still running; retry in a moment")
	}
}

// Full returns the report of a full audit, which ends when ctx is done or the service shuts
// down. Only one runs at a time.
func (a *Auditor[R]) Full(ctx context.Context) (R, error) {
	if !a.full.TryLock() {
		var none R
		return none, problem.Unavailable("a full audit is already running; retry when it has ended")
	}
	defer a.full.Unlock()
	auditing, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-a.p.Health.Done():
			cancel()
		case <-auditing.Done():
		}
	}()
	report, err := a.audit(auditing, true)
	if err != nil && auditing.Err() != nil && ctx.Err() == nil {
		err = problem.Unavailable("the service is shutting down; retry in a moment")
	}
	return report, err
}

func (a *Auditor[R]) run(ctx context.Context) error {
	var due <-chan time.Time // never, if there are no audits that nobody asks for
	if a.p.auditEvery > 0 {
		tick := time.NewTicker(a.p.auditEvery)
		defer tick.Stop()
		due = tick.C
	}
	for {
		select {
		case <-a.wake:
		case <-due:
		case <-ctx.Done():
			return nil
		}
		a.mu.Lock()
		next := a.next
		a.next = nil
		a.mu.Unlock()
		if next == nil {
			next = &pending[R]{done: make(chan struct{})}
		}
		next.report, next.err = a.audit(ctx, false)
		if next.err != nil && ctx.Err() == nil {
			a.p.Log.WarnContext(ctx, "audit: failed", "error", next.err)
		}
		close(next.done)
	}
}

// audit recovers from panics, which rows that were tampered with may cause.
func (a *Auditor[R]) audit(ctx context.Context, full bool) (report R, err error) {
	ctx, cancel := context.WithTimeout(ctx, auditTimeout)
	defer cancel()
	err = batch.Guard(func() error {
		report, err = a.check(ctx, full)
		return err
	})
	if err != nil {
		return report, err
	}
	f := report.AuditFindings()
	for _, d := range f.Found {
		a.p.Log.ErrorContext(ctx, "audit: difference found", "id", d.ID, "kind", d.Kind, "detail", d.Detail)
	}
	for _, d := range f.Resolved {
		a.p.Log.InfoContext(ctx, "audit: difference resolved", "id", d.ID, "kind", d.Kind, "detail", d.Detail)
	}
	a.count.Set(float64(len(f.Differences)))
	a.at.SetToCurrentTime()
	return report, nil
}
