// Package messaging is the broker's face of the orders service: it takes the
// results of payments from payments_queue.
package messaging

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/orders/internal/order"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
)

// NewHandler handles batches of payment results and registers its metrics.
func NewHandler(orders *order.Service, reg prometheus.Registerer) broker.Handler {
	results := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payment_results_total", Help: "Payment results by what they did.",
	}, []string{"outcome"})
	latency := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "order_settle_seconds", Help: "Time from the placing of an order until it was paid or refused.",
		Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
	})
	reg.MustRegister(results, latency)
	for _, o := range []order.Outcome{order.OutcomeApplied, order.OutcomeNoted, order.OutcomeDuplicate} {
		results.WithLabelValues(string(o))
	}

	return broker.Decoded(decode, orders.Settle, database.Faults(), permanent, func(_ context.Context, r order.PaymentResult, s order.Settlement) {
		results.WithLabelValues(string(s.Outcome)).Inc()
		if s.Outcome == order.OutcomeApplied && (r.Result == order.ResultSucceeded || r.Result == order.ResultFailed) {
			latency.Observe(time.Since(s.Order.CreatedAt).Seconds())
		}
	})
}

// permanent reports whether another attempt would fail the same way.
func permanent(err error) bool {
	_, rule := errors.AsType[order.RuleError](err)
	return rule || database.IsData(err)
}

func decode(e events.Envelope) (order.PaymentResult, error) {
	var r order.PaymentResult
	var orderID string
	switch e.Type {
	case events.TypePaymentSucceeded:
		var data events.PaymentSucceeded
		if err := e.Decode(&data); err != nil {
			return r, err
		}
		orderID, r.Result = data.OrderID, order.ResultSucceeded
		r.Saga = order.Saga{PublishedAt: data.PublishedAt, ChargedAt: data.ChargedAt}
	case events.TypePaymentFailed:
		var data events.PaymentFailed
		if err := e.Decode(&data); err != nil {
			return r, err
		}
		if data.Reason == "" {
			return r, fmt.Errorf("%w: %s without a reason", events.ErrMalformed, e.Type)
		}
		orderID, r.Result, r.Reason = data.OrderID, order.ResultFailed, order.CancelReason(data.Reason)
		r.Saga = order.Saga{PublishedAt: data.PublishedAt, RefusedAt: data.RefusedAt}
	case events.TypePaymentVoided:
		var data events.PaymentVoided
		if err := e.Decode(&data); err != nil {
			return r, err
		}
		orderID, r.Result = data.OrderID, order.ResultVoided
		r.Saga = order.Saga{PublishedAt: data.PublishedAt, RefusedAt: data.RefusedAt}
	case events.TypePaymentRefunded:
		var data events.PaymentRefunded
		if err := e.Decode(&data); err != nil {
			return r, err
		}
		if data.RefundedAt.IsZero() {
			return r, fmt.Errorf("%w: %s without its time", events.ErrMalformed, e.Type)
		}
		orderID, r.Result = data.OrderID, order.ResultRefunded
		r.Saga = order.Saga{PublishedAt: data.PublishedAt, ChargedAt: data.ChargedAt, RefundedAt: data.RefundedAt}
	default:
		// Kept in the dead-letter queue rather than dropped: whoever sent it thought it mattered.
		return r, fmt.Errorf("%w: unexpected type %q", events.ErrMalformed, e.Type)
	}
	var err error
	if r.MessageID, err = uuid.Parse(e.ID); err != nil {
		return r, fmt.Errorf("%w: id: %w", events.ErrMalformed, err)
	}
	if r.OrderID, err = uuid.Parse(orderID); err != nil {
		return r, fmt.Errorf("%w: order_id: %w", events.ErrMalformed, err)
	}
	return r, nil
}
