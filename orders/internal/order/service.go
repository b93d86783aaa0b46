package order

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/delivery/inbox"
)

// Store stores orders. Its reads see committed data; all changes are made in InTx.
type Store interface {
	// InTx runs fn in one transaction, which is rolled back if fn fails.
	InTx(ctx context.Context, fn func(Tx) error) error
	// Order returns ErrNotFound if there is none.
	Order(ctx context.Context, id uuid.UUID) (Order, error)
	// OrdersOf returns at most limit of the user's orders with an id below before (uuid.Max
	// for the newest), newest first.
	OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) ([]Order, error)
}

// Tx is one transaction. Its methods work on sets; an empty set is a no-op. It is not safe
// for concurrent use.
type Tx interface {
	// ClaimForUpdate claims message ids and returns those that were not claimed before. It
	// also locks orders, as OrdersForUpdate does.
	ClaimForUpdate(ctx context.Context, claims, ids []uuid.UUID) (fresh map[uuid.UUID]bool, orders map[uuid.UUID]*Order, err error)
	// OrdersForUpdate locks orders in the order of their ids. Unknown ids are left out.
	OrdersForUpdate(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]*Order, error)
	// Insert and Update also notify the followers of the orders' users.
	Insert(ctx context.Context, orders ...Order) error
	Update(ctx context.Context, orders ...Order) error
	// Emit publishes events after the commit.
	Emit(ctx context.Context, evs ...events.Event) error
	idempotency.Tx
}

// Service implements the use cases. It is safe for concurrent use.
type Service struct{ store Store }

// NewService returns a service that works on store.
func NewService(store Store) *Service { return &Service{store} }

// Place places a set of orders and emits their events in one transaction, each at most
// once under its key. It returns one response per request.
func (s *Service) Place(ctx context.Context, requests []idempotency.Request[Draft]) (responses []idempotency.Response[Order], err error) {
	err = s.store.InTx(ctx, func(tx Tx) error {
		claimed, err := idempotency.Claim(ctx, tx, requests, decodeOrder)
		if err != nil {
			return err
		}
		orders, created, err := place(claimed.Fresh, now())
		if err != nil {
			return err
		}
		if err := tx.Insert(ctx, orders...); err != nil {
			return err
		}
		if err := tx.Emit(ctx, created...); err != nil {
			return err
		}
		placed := make([]idempotency.Response[Order], len(orders))
		for i, o := range orders {
			placed[i].Value = o
		}
		responses, err = claimed.Complete(ctx, tx, placed, encodeOrder)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("place %d orders: %w", len(requests), err)
	}
	return responses, nil
}

func place(drafts []Draft, at time.Time) (orders []Order, created []events.Event, err error) {
	for _, d := range drafts {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, nil, fmt.Errorf("order id: %w", err)
		}
		o := d.Place(id, at)
		orders, created = append(orders, o), append(created, o.Created())
	}
	return orders, created, nil
}

// Cancel starts the cancellation of a set of orders and emits their events in one
// transaction, each at most once under its key. It returns one response per request,
// whose error may be [ErrNotFound] or [ErrNotCancellable].
func (s *Service) Cancel(ctx context.Context, requests []idempotency.Request[uuid.UUID]) (responses []idempotency.Response[Order], err error) {
	err = s.store.InTx(ctx, func(tx Tx) error {
		claimed, err := idempotency.Claim(ctx, tx, requests, decodeOrder)
		if err != nil {
			return err
		}
		orders, err := tx.OrdersForUpdate(ctx, claimed.Fresh...)
		if err != nil {
			return err
		}
		cancelled, changed, requested := cancel(claimed.Fresh, orders, now())
		if err := tx.Update(ctx, changed...); err != nil {
			return err
		}
		if err := tx.Emit(ctx, requested...); err != nil {
			return err
		}
		responses, err = claimed.Complete(ctx, tx, cancelled, encodeOrder)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cancel %d orders: %w", len(requests), err)
	}
	return responses, nil
}

// cancel cancels orders in the order of ids.
func cancel(ids []uuid.UUID, orders map[uuid.UUID]*Order, at time.Time) (responses []idempotency.Response[Order], changed []Order, requested []events.Event) {
	responses = make([]idempotency.Response[Order], len(ids))
	for i, id := range ids {
		o, known := orders[id]
		if !known {
			responses[i].Err = ErrNotFound
			continue
		}
		started, err := o.Cancel(at)
		if started {
			changed, requested = append(changed, *o), append(requested, o.CancelRequested())
		}
		responses[i].Value, responses[i].Err = *o, err
	}
	return responses, changed, requested
}

// Settled is a payment decision's effect on its order.
type Settled struct {
	Effect Effect
	Order  Order // with the effect
}

// Settle applies a set of payment decisions in one transaction and returns one effect per
// decision. The error is [ErrNotFound] or [ErrContradiction] if a decision does not match
// its order. Such a message needs an operator, because money may have moved without an order.
func (s *Service) Settle(ctx context.Context, decisions []inbox.Event[PaymentDecision]) (settled []Settled, err error) {
	err = s.store.InTx(ctx, func(tx Tx) error {
		ids := make([]uuid.UUID, len(decisions))
		for i, d := range decisions {
			ids[i] = d.Data.OrderID
		}
		claimed, orders, err := tx.ClaimForUpdate(ctx, inbox.Claims(decisions), ids)
		if err != nil {
			return err
		}
		var changed []Order
		if settled, changed, err = settle(decisions, inbox.Fresh(decisions, claimed), orders, now()); err != nil {
			return err
		}
		return tx.Update(ctx, changed...)
	})
	if err != nil {
		return nil, fmt.Errorf("settle %d orders: %w", len(decisions), err)
	}
	return settled, nil
}

// settle applies the fresh ones of decisions, in order.
func settle(decisions []inbox.Event[PaymentDecision], fresh []bool, orders map[uuid.UUID]*Order, at time.Time) (settled []Settled, changed []Order, err error) {
	settled = make([]Settled, len(decisions))
	touched := map[uuid.UUID]*Order{}
	for i, e := range decisions {
		d := e.Data
		o, known := orders[d.OrderID]
		if !fresh[i] {
			settled[i].Effect = EffectDuplicate
			continue
		}
		if !known {
			return nil, nil, fmt.Errorf("%w: payment of %s %s", ErrNotFound, d.OrderID, d.Status)
		}
		settled[i].Effect = o.Settle(d, at)
		settled[i].Order = *o
		switch settled[i].Effect {
		case EffectApplied, EffectNoted:
			touched[o.ID] = o
		case EffectContradictory:
			return nil, nil, fmt.Errorf("%w: %s is %s, its payment %s", ErrContradiction, o.ID, o.Status, d.Status)
		case EffectDuplicate:
		}
	}
	for _, o := range touched {
		changed = append(changed, *o)
	}
	return settled, changed, nil
}

// Order returns one order, or [ErrNotFound].
func (s *Service) Order(ctx context.Context, id uuid.UUID) (Order, error) {
	return s.store.Order(ctx, id)
}

// Page is a page of a user's orders, newest first.
type Page struct {
	Orders []Order
	More   bool // there are older orders
}

// OrdersOf returns a page of at most limit of the user's orders. before is the id of the
// last order of the previous page, or uuid.Max for the first page.
func (s *Service) OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) (Page, error) {
	orders, err := s.store.OrdersOf(ctx, user, before, limit+1)
	if err != nil {
		return Page{}, err
	}
	if len(orders) > limit {
		return Page{orders[:limit], true}, nil
	}
	return Page{orders, false}, nil
}

// now has the precision of the store, so that a response and a later read agree.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
