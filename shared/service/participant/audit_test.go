package participant

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/contract/audit"
	"gozon/shared/service"
)

type report struct {
	run int
	audit.Findings
}

// startAuditor starts an auditor whose audits take a minute and end with the result of check.
func startAuditor(t *testing.T, check func(run int, full bool) (report, error)) *Auditor[report] {
	t.Helper()
	p := &Participant{Health: &service.Health{}, Metrics: prometheus.NewRegistry(), Log: service.NewLogger(t.Output(), 0, "test")}
	runs := 0
	a := Audit(p, func(ctx context.Context, full bool) (report, error) {
		runs++
		run := runs
		select {
		case <-time.After(time.Minute):
		case <-ctx.Done():
			return report{}, ctx.Err()
		}
		return check(run, full)
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.parts[0].Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	return a
}

// Callers get an audit that starts after their call. Those that arrive during one share the
// next.
func TestAuditsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := startAuditor(t, func(run int, full bool) (report, error) {
			if full {
				return report{}, errors.New("full")
			}
			return report{run: run}, nil
		})
		var calls errgroup.Group
		call := func(want int) {
			calls.Go(func() error {
				r, err := a.Check(t.Context())
				if err == nil && r.run != want {
					err = errors.New("another audit")
				}
				return err
			})
			synctest.Wait()
		}
		call(1)
		call(2)
		call(2)
		require.NoError(t, calls.Wait())
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Check(impatient)
		require.ErrorContains(t, err, "still running")
		call(4) // the audit of the impatient caller is not started over
		require.NoError(t, calls.Wait())
	})
}

func TestOnlyOneFullAuditRunsAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := startAuditor(t, func(_ int, full bool) (report, error) {
			if !full {
				return report{}, errors.New("not full")
			}
			return report{Findings: audit.Findings{Differences: make([]audit.Difference, 2)}}, nil
		})
		var first errgroup.Group
		first.Go(func() error { _, err := a.Full(t.Context()); return err })
		synctest.Wait()
		_, err := a.Full(t.Context())
		require.ErrorContains(t, err, "already running")
		require.NoError(t, first.Wait())
		require.InDelta(t, 2, testutil.ToFloat64(a.count), 0)

		var last errgroup.Group
		last.Go(func() error { _, err := a.Full(t.Context()); return err })
		synctest.Wait()
		a.p.Health.Stopped()
		require.ErrorContains(t, last.Wait(), "shutting down")
	})
}

// A failed or panicking audit is reported to its callers, and the next one runs.
func TestAuditFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := startAuditor(t, func(run int, _ bool) (report, error) {
			switch run {
			case 1:
				return report{}, errors.New("down")
			case 2:
				panic("row")
			}
			return report{run: run}, nil
		})
		_, err := a.Check(t.Context())
		require.ErrorContains(t, err, "down")
		_, err = a.Check(t.Context())
		require.ErrorContains(t, err, "row")
		require.Zero(t, testutil.ToFloat64(a.at))
		r, err := a.Check(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, r.run)
		require.NotZero(t, testutil.ToFloat64(a.at))
	})
}
