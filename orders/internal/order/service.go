package order

import (
	"context"
	"fmt"
	"sync/atomic"
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
	// TrustedFrom returns the end of the last interruption: a time in which no replica swept,
	// because none ran or because the database was restored to its beginning.
	TrustedFrom(ctx context.Context) (time.Time, error)
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
	// WatchedForUpdate locks the watched ones of orders that are to be inspected at the given
	// time, except for those that another transaction has locked. While they are locked, it
	// reads the orders.
	WatchedForUpdate(ctx context.Context, at time.Time, ids ...uuid.UUID) ([]Watched, map[uuid.UUID]Order, error)
	// Watch adds watched orders, or replaces them.
	Watch(ctx context.Context, watched ...Watched) error
	// Unwatch removes watched orders.
	Unwatch(ctx context.Context, ids ...uuid.UUID) error
	// Emit publishes events after the commit.
	Emit(ctx context.Context, evs ...events.Event) error
	idempotency.Tx
}

// Service implements the use cases. It is safe for concurrent use.
type Service struct {
	store   Store
	trusted atomic.Pointer[time.Time]
}

// NewService returns a service that works on store.
func NewService(store Store) *Service { return &Service{store: store} }

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
		if err := tx.Watch(ctx, watch(changed)...); err != nil {
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
	Order  Order // with the effect; zero if there is none
}

// Settle applies a set of payment decisions in one transaction and returns one effect per
// decision. The error is [ErrContradiction] if a decision does not match its order. Such a
// message needs an operator. A charge without an order is undone.
func (s *Service) Settle(ctx context.Context, decisions []inbox.Event[PaymentDecision]) (settled []Settled, err error) {
	trusted, err := s.trustedFrom(ctx)
	if err != nil {
		return nil, fmt.Errorf("settle %d orders: %w", len(decisions), err)
	}
	err = s.store.InTx(ctx, func(tx Tx) error {
		ids := make([]uuid.UUID, len(decisions))
		for i, d := range decisions {
			ids[i] = d.Data.OrderID
		}
		claimed, orders, err := tx.ClaimForUpdate(ctx, inbox.Claims(decisions), ids)
		if err != nil {
			return err
		}
		st := settlement{orders: orders, trusted: trusted, at: now(), touched: map[uuid.UUID]*Order{}}
		if settled, err = st.run(decisions, inbox.Fresh(decisions, claimed)); err != nil {
			return err
		}
		if err := tx.Update(ctx, st.changed()...); err != nil {
			return err
		}
		return tx.Emit(ctx, st.emitted...)
	})
	if err != nil {
		return nil, fmt.Errorf("settle %d orders: %w", len(decisions), err)
	}
	return settled, nil
}

// Trust makes Settle ask payments again instead of applying a decision that was sent before
// from.
func (s *Service) Trust(from time.Time) { s.trusted.Store(&from) }

// trustedFrom returns the time of the last call of Trust. Before the first one, it reads the
// time from the store.
func (s *Service) trustedFrom(ctx context.Context) (time.Time, error) {
	if from := s.trusted.Load(); from != nil {
		return *from, nil
	}
	from, err := s.store.TrustedFrom(ctx)
	if err == nil {
		s.trusted.CompareAndSwap(nil, &from)
	}
	return from, err
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
