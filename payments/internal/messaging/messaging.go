// Package messaging consumes orders_queue: it decodes the events of orders into the
// commands of the payments service.
package messaging

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/inbox"
)

// NewHandler returns a handler of orders and their cancellations, and registers its metrics.
func NewHandler(payments *payment.Service, log *slog.Logger, reg prometheus.Registerer) broker.Handler {
	effects := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payments_total", Help: "Messages about orders, by their effect on the payment.",
	}, []string{"outcome"})
	reg.MustRegister(effects)
	for _, e := range []payment.Effect{
		payment.EffectSucceeded, payment.EffectFailed, payment.EffectVoided, payment.EffectRefunded,
		payment.EffectReplayed, payment.EffectDuplicate,
	} {
		effects.WithLabelValues(string(e))
	}
	return broker.Decoded(decode, payments.Execute, database.Faults(), func(ctx context.Context, c inbox.Event[payment.Command], e payment.Effect) {
		effects.WithLabelValues(string(e)).Inc()
		if e == payment.EffectReplayed {
			log.InfoContext(ctx, "consumer: payment already decided, replying with its state", "cancellation", c.Data.Cancel,
				"order_id", c.Data.OrderID.String(), "message_id", c.ID.String())
		}
	})
}

// Validate reports why the handler cannot decode an event.
func Validate(body []byte) error { return broker.Validate(body, decode) }

func decode(e events.Envelope) (payment.Command, error) {
	c := payment.Command{PublishedAt: e.PublishedAt}
	var orderID string
	switch e.Type {
	case events.TypeOrderCreated:
		var data events.OrderCreated
		if err := e.Decode(&data); err != nil {
			return c, err
		}
		orderID, c.UserID, c.Amount = data.OrderID, data.UserID, money.Amount(data.Amount)
	case events.TypeOrderCancelRequested:
		var data events.OrderCancelRequested
		if err := e.Decode(&data); err != nil {
			return c, err
		}
		orderID, c.UserID, c.Amount, c.Cancel = data.OrderID, data.UserID, money.Amount(data.Amount), true
	default:
		// An error rather than a no-op: a message that was sent to this queue by mistake is
		// kept in the dead-letter queue.
		return c, fmt.Errorf("%w: unexpected type %q", events.ErrMalformed, e.Type)
	}
	var err error
	if c.OrderID, err = uuid.Parse(orderID); err != nil {
		return c, fmt.Errorf("%w: order_id: %w", events.ErrMalformed, err)
	}
	if c.UserID < 1 || c.Amount < 1 || c.Amount > money.Max {
		return c, fmt.Errorf("%w: user %d, amount %d", events.ErrMalformed, c.UserID, int64(c.Amount))
	}
	return c, nil
}
