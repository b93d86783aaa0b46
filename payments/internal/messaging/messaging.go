// Package messaging is the broker's face of the payments service: it takes orders to be
// paid, and their cancellations, from orders_queue.
package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
)

// NewHandler handles batches of orders and registers its metrics.
func NewHandler(payments *payment.Service, log *slog.Logger, reg prometheus.Registerer) broker.Handler {
	decided := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payments_total", Help: "Orders by what their message did.",
	}, []string{"outcome"})
	reg.MustRegister(decided)
	for _, o := range []payment.Outcome{
		payment.OutcomeSucceeded, payment.OutcomeFailed, payment.OutcomeVoided, payment.OutcomeRefunded,
		payment.OutcomeReplayed, payment.OutcomeDuplicate,
	} {
		decided.WithLabelValues(string(o))
	}
	return broker.Decoded(decode, payments.Pay, database.Faults(), permanent, func(ctx context.Context, o payment.Order, outcome payment.Outcome) {
		decided.WithLabelValues(string(outcome)).Inc()
		if outcome == payment.OutcomeReplayed {
			log.InfoContext(ctx, "a message about what was decided before got that for an answer", "cancellation", o.Cancelled,
				"order_id", o.OrderID.String(), "message_id", o.MessageID.String())
		}
	})
}

func decode(e events.Envelope) (payment.Order, error) {
	o := payment.Order{PublishedAt: e.PublishedAt}
	var orderID string
	switch e.Type {
	case events.TypeOrderCreated:
		var data events.OrderCreated
		if err := e.Decode(&data); err != nil {
			return o, err
		}
		orderID, o.UserID, o.Amount = data.OrderID, data.UserID, money.Amount(data.Amount)
	case events.TypeOrderCancelRequested:
		var data events.OrderCancelRequested
		if err := e.Decode(&data); err != nil {
			return o, err
		}
		orderID, o.UserID, o.Amount, o.Cancelled = data.OrderID, data.UserID, money.Amount(data.Amount), true
	default:
		// Kept in the dead-letter queue rather than dropped: whoever sent it thought it mattered.
		return o, fmt.Errorf("%w: unexpected type %q", events.ErrMalformed, e.Type)
	}
	var err error
	if o.MessageID, err = uuid.Parse(e.ID); err != nil {
		return o, fmt.Errorf("%w: id: %w", events.ErrMalformed, err)
	}
	if o.OrderID, err = uuid.Parse(orderID); err != nil {
		return o, fmt.Errorf("%w: order_id: %w", events.ErrMalformed, err)
	}
	if o.UserID < 1 || o.Amount < 1 || o.Amount > money.Max {
		return o, fmt.Errorf("%w: user %d, amount %d", events.ErrMalformed, o.UserID, int64(o.Amount))
	}
	return o, nil
}

// permanent reports whether another attempt would fail the same way.
func permanent(err error) bool {
	_, rule := errors.AsType[payment.RuleError](err)
	return rule || database.IsData(err)
}
