package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stats"
)

const (
	// refusedWithin is the 99th percentile of the time in which a request is refused.
	refusedWithin = time.Second
	// slower is how much slower probes may be after the load than before it. Below normal, they
	// are not slow in any case.
	slower = 3
	normal = 50 * time.Millisecond

	printedFailures = 5
)

// reportLoad counts the outcomes of the load. Only 201, and 503 with Retry-After, are allowed.
func (r *overload) reportLoad(o load.Offered, took time.Duration, rate, capacity float64) {
	var accepted, refused []time.Duration
	reasons, failures := map[string]int{}, map[string]int{}
	for _, q := range o.Requests {
		switch {
		case q.Err == nil && q.Status == http.StatusCreated:
			accepted = append(accepted, q.Answered.Sub(q.Sent))
		case q.Err == nil && q.Status == http.StatusServiceUnavailable && q.RetryAfter:
			refused = append(refused, q.Answered.Sub(q.Sent))
			reasons[q.Detail]++
		default:
			failures[fmt.Sprintf("status %d, Retry-After %t, error %v", q.Status, q.RetryAfter, q.Err)]++
		}
	}
	n := len(o.Requests)
	fmt.Fprintf(r.out, "sent: %d orders in %.1f s, %.0f/s, %.1f times the capacity; %d were not sent, because every connection was in use\n",
		n, took.Seconds(), float64(n)/took.Seconds(), float64(n)/took.Seconds()/capacity, o.Unsent)
	fmt.Fprintf(r.out, "accepted: %d, %.0f/s, %.2f times the capacity; %s\n", len(accepted), rate, rate/capacity, latencies(accepted))
	fmt.Fprintf(r.out, "refused with 503 and Retry-After: %d; %s\n", len(refused), latencies(refused))
	for reason, n := range reasons {
		fmt.Fprintf(r.out, "  %d: %s\n", n, reason)
	}
	if len(refused) == 0 {
		r.fail("nothing was refused: this was not an overload")
	}
	if p99 := percentile(refused, 0.99); p99 > refusedWithin {
		r.fail("the 99th percentile of the time to refuse a request is %s", p99)
	}
	for what, n := range failures {
		r.fail("%d requests: %s", n, what)
	}
}

// reportDrained prints when the last order of the load was final.
func (r *overload) reportDrained(ctx context.Context, end time.Time) error {
	drained, err := r.shop.SQL(ctx, fmt.Sprintf(`SELECT round((extract(epoch FROM max(updated_at)) * 1000 - %[1]d) / 1000, 1)
		FROM orders.orders WHERE extract(epoch FROM created_at) * 1000 <= %[1]d`, end.UnixMilli()))
	fmt.Fprintf(r.out, "the last order of the load was final %s s after its end\n", drained)
	return err
}

func (r *overload) reportUse(u *use) {
	fmt.Fprintf(r.out, "meanwhile: %d orders read, %d cancelled, %d failures; %s\n", u.read, len(u.cancelled), len(u.failures), latencies(u.took))
	for i, f := range u.failures {
		if i < printedFailures {
			r.fail("meanwhile: %s", f)
		}
	}
}

// probes are orders that are placed at a low rate.
type probes struct {
	start    time.Time
	requests []load.Offer
	settled  []time.Duration // from the creation of an order until it was final
}

// probe places orders at a low rate. The orders are settled when it returns.
func (r *overload) probe(ctx context.Context, duration time.Duration) (*probes, error) {
	p := &probes{start: time.Now()}
	p.requests = r.client.Offer(ctx, probeConnections, users, probeRate, duration, &r.placed).Requests
	if _, err := r.shop.Settle(ctx, settle); err != nil {
		return nil, err
	}
	// Only the last part of a probe counts. Its orders are the newest ones.
	rows, err := r.shop.SQL(ctx, fmt.Sprintf(`SELECT (extract(epoch FROM updated_at - created_at) * 1e6)::bigint FROM orders.orders ORDER BY id DESC LIMIT %d`,
		int(probeRate*probed.Seconds())))
	if err != nil {
		return nil, err
	}
	for row := range strings.FieldsSeq(rows) {
		us, err := strconv.ParseInt(row, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("time to settle an order: %w", err)
		}
		p.settled = append(p.settled, time.Duration(us)*time.Microsecond)
	}
	return p, nil
}

// reportRecovery compares the probes of the last seconds after the load with those before it.
func (r *overload) reportRecovery(before, after *probes) {
	base, _ := before.answered(0, nil)
	limit := max(slower*percentile(base, 0.99), normal)
	back := time.Duration(0)
	late, failed := after.answered(recovery, func(sent, took time.Duration, ok bool) {
		if took > limit || !ok {
			back = max(back, sent)
		}
	})
	fmt.Fprintf(r.out, "probes before: answered in %s; settled in %s\n", latencies(base), latencies(before.settled))
	fmt.Fprintf(r.out, "probes from %s to %s after the load: answered in %s; settled in %s; the last one that took longer than %s, or was refused, was sent %.1f s after the load\n",
		recovery, recovery+probed, latencies(late), latencies(after.settled), limit, back.Seconds())
	if failed > 0 {
		r.fail("%d probes were not accepted %s after the load", failed, recovery)
	}
	if p99 := percentile(late, 0.99); p99 > limit {
		r.fail("the 99th percentile of the probes is %s after the load, more than %s", p99, limit)
	}
	if p99, limit := percentile(after.settled, 0.99), max(slower*percentile(before.settled, 0.99), normal); p99 > limit {
		r.fail("the 99th percentile of the time to settle a probe is %s after the load, more than %s", p99, limit)
	}
}

// answered returns the latencies of the accepted probes that were due after the given time, and
// the number of the others. It calls each, if not nil, for all probes.
func (p *probes) answered(from time.Duration, each func(sent, took time.Duration, ok bool)) (took []time.Duration, failed int) {
	for _, q := range p.requests {
		sent, ok := q.Intended.Sub(p.start), q.Err == nil && q.Status == http.StatusCreated
		if each != nil {
			each(sent, q.Answered.Sub(q.Intended), ok)
		}
		switch {
		case sent < from:
		case ok:
			took = append(took, q.Answered.Sub(q.Intended))
		default:
			failed++
		}
	}
	return took, failed
}

func latencies(d []time.Duration) string {
	ms := func(p float64) float64 { return float64(percentile(d, p).Microseconds()) / 1e3 }
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms, max %.1f ms", ms(0.5), ms(0.99), ms(1))
}

// percentile is [stats.Percentile], or 0 if there are no values.
func percentile(d []time.Duration, p float64) time.Duration {
	v, _ := stats.Percentile(d, p)
	return v
}
