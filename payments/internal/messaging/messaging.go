// Package messaging is the broker's face of the payments service: it takes orders
// to be paid from orders_queue.
package messaging

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/payments/internal/payment"
	"gozon/shared/broker"
	"gozon/shared/database"
	"gozon/shared/events"
	"gozon/shared/money"
)

// NewHandler handles batches of orders and registers its metrics.
func NewHandler(payments *payment.Service, log *slog.Logger, reg prometheus.Registerer) broker.Handler {
	decided := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payments_total", Help: "Orders by what their message did.",
	}, []string{"outcome"})
	reg.MustRegister(decided)
	for _, o := range []payment.Outcome{payment.OutcomeSucceeded, payment.OutcomeFailed, payment.OutcomeReplayed, payment.OutcomeDuplicate} {
		decided.WithLabelValues(string(o))
	}
	return broker.Decoded(decode, payments.Pay, database.IsData, func(ctx context.Context, o payment.Order, outcome payment.Outcome) {
		decided.WithLabelValues(string(outcome)).Inc()
		if outcome == payment.OutcomeReplayed {
			log.WarnContext(ctx, "an order came again in a new message and got its old answer",
				"order_id", o.OrderID.String(), "message_id", o.MessageID.String())
		}
	})
}

func decode(e events.Envelope) (payment.Order, error) {
	var o payment.Order
	if e.Type != events.TypeOrderCreated {
		// Kept in the dead-letter queue rather than dropped: whoever sent it thought it mattered.
		return o, fmt.Errorf("%w: unexpected type %q", events.ErrMalformed, e.Type)
	}
	var data events.OrderCreated
	if err := e.Decode(&data); err != nil {
		return o, err
	}
	var err error
	if o.MessageID, err = uuid.Parse(e.ID); err != nil {
		return o, fmt.Errorf("%w: id: %w", events.ErrMalformed, err)
	}
	if o.OrderID, err = uuid.Parse(data.OrderID); err != nil {
		return o, fmt.Errorf("%w: order_id: %w", events.ErrMalformed, err)
	}
	if o.UserID, o.Amount = data.UserID, money.Amount(data.Amount); o.UserID < 1 || o.Amount < 1 || o.Amount > money.Max {
		return o, fmt.Errorf("%w: user %d, amount %d", events.ErrMalformed, data.UserID, data.Amount)
	}
	return o, nil
}
