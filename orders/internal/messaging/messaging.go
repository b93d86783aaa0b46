// Package messaging consumes the decisions of the payments service from payments_queue.
package messaging

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/orders/internal/order"
	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/inbox"
)

// NewHandler returns a handler of batches of payment decisions and registers its metrics. It
// calls settled with the time of creation of each order that was paid or refused.
func NewHandler(orders *order.Service, settled func(created time.Time), log *slog.Logger, reg prometheus.Registerer) broker.Handler {
	effects := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payment_results_total", Help: "Payment decisions, by their effect on the order.",
	}, []string{"outcome"})
	latency := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "order_settle_seconds", Help: "Time from placing an order until it was paid or refused.",
		Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
	})
	reg.MustRegister(effects, latency)
	for _, e := range []order.Effect{
		order.EffectApplied, order.EffectNoted, order.EffectDuplicate, order.EffectStale, order.EffectOrphaned, order.EffectIgnored,
	} {
		effects.WithLabelValues(string(e))
	}
	return broker.Decoded(decode, orders.Settle, database.Faults(), func(ctx context.Context, d inbox.Event[order.PaymentDecision], s order.Settled) {
		effects.WithLabelValues(string(s.Effect)).Inc()
		if s.Effect == order.EffectApplied && (d.Data.Status == order.PaymentSucceeded || d.Data.Status == order.PaymentFailed) {
			latency.Observe(time.Since(s.Order.CreatedAt).Seconds())
			settled(s.Order.CreatedAt)
		}
		if s.Effect == order.EffectOrphaned {
			log.ErrorContext(ctx, "consumer: a charge has no order, requesting its cancellation", "order_id", d.Data.OrderID.String(),
				"user_id", d.Data.UserID, "amount", d.Data.Amount.String(), "message_id", d.ID.String())
		}
	})
}

// Validate reports why the handler cannot decode an event.
func Validate(body []byte) error { return broker.Validate(body, decode) }

func decode(e events.Envelope) (order.PaymentDecision, error) {
	d := order.PaymentDecision{At: e.Time}
	var orderID string
	switch e.Type {
	case events.TypePaymentSucceeded:
		var data events.PaymentSucceeded
		if err := e.Decode(&data); err != nil {
			return d, err
		}
		orderID, d.UserID, d.Amount, d.Status = data.OrderID, data.UserID, money.Amount(data.Amount), order.PaymentSucceeded
		d.Saga = order.Saga{PublishedAt: data.PublishedAt, ChargedAt: data.ChargedAt}
	case events.TypePaymentFailed:
		var data events.PaymentFailed
		if err := e.Decode(&data); err != nil {
			return d, err
		}
		if data.Reason == "" {
			return d, fmt.Errorf("%w: %s without a reason", events.ErrMalformed, e.Type)
		}
		orderID, d.UserID, d.Amount, d.Status = data.OrderID, data.UserID, money.Amount(data.Amount), order.PaymentFailed
		d.Reason = order.CancelReason(data.Reason)
		d.Saga = order.Saga{PublishedAt: data.PublishedAt, RefusedAt: data.RefusedAt}
	case events.TypePaymentVoided:
		var data events.PaymentVoided
		if err := e.Decode(&data); err != nil {
			return d, err
		}
		orderID, d.UserID, d.Amount, d.Status = data.OrderID, data.UserID, money.Amount(data.Amount), order.PaymentVoided
		d.Saga = order.Saga{PublishedAt: data.PublishedAt, RefusedAt: data.RefusedAt}
	case events.TypePaymentRefunded:
		var data events.PaymentRefunded
		if err := e.Decode(&data); err != nil {
			return d, err
		}
		if data.RefundedAt.IsZero() {
			return d, fmt.Errorf("%w: %s without refunded_at", events.ErrMalformed, e.Type)
		}
		orderID, d.UserID, d.Amount, d.Status = data.OrderID, data.UserID, money.Amount(data.Amount), order.PaymentRefunded
		d.Saga = order.Saga{PublishedAt: data.PublishedAt, ChargedAt: data.ChargedAt, RefundedAt: data.RefundedAt}
	default:
		// Dead-lettered rather than dropped: its producer expected it to be consumed.
		return d, fmt.Errorf("%w: unexpected type %q", events.ErrMalformed, e.Type)
	}
	var err error
	if d.OrderID, err = uuid.Parse(orderID); err != nil {
		return d, fmt.Errorf("%w: order_id: %w", events.ErrMalformed, err)
	}
	return d, nil
}
