package order

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/events"
)

// Store keeps orders. Its reads see what was committed; every change is made in InTx.
type Store interface {
	// InTx runs fn in one transaction: all of it happens, or nothing.
	InTx(ctx context.Context, fn func(Tx) error) error
	// Order returns ErrNotFound when there is none.
	Order(ctx context.Context, id uuid.UUID) (Order, error)
	// OrdersOf returns the user's orders, newest first, from below the id before
	// (uuid.Max for the newest), at most limit.
	OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) ([]Order, error)
}

// Tx is one transaction. It works on sets, and publishing exists only here. It is
// for one goroutine.
type Tx interface {
	// Claim returns those message ids that were never claimed before.
	Claim(ctx context.Context, ids ...uuid.UUID) (fresh map[uuid.UUID]bool, err error)
	// OrdersForUpdate locks the orders in the order of their ids. Orders that do not exist are left out.
	OrdersForUpdate(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]*Order, error)
	Insert(ctx context.Context, orders ...Order) error
	Update(ctx context.Context, orders ...Order) error
	// Emit has events published after the commit.
	Emit(ctx context.Context, evs ...events.Event) error
}

// Service has the use cases. It is safe for concurrent use.
type Service struct{ store Store }

// NewService works on store.
func NewService(store Store) *Service { return &Service{store} }

// Place places a set of orders, with their events, in one transaction. It returns
// one order for each draft.
func (s *Service) Place(ctx context.Context, drafts []Draft) ([]Order, error) {
	orders := make([]Order, len(drafts))
	created := make([]events.Event, len(drafts))
	at := now()
	for i, d := range drafts {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("order id: %w", err)
		}
		orders[i] = d.Place(id, at)
		created[i] = orders[i].Created()
	}
	err := s.store.InTx(ctx, func(tx Tx) error {
		if err := tx.Insert(ctx, orders...); err != nil {
			return err
		}
		return tx.Emit(ctx, created...)
	})
	if err != nil {
		return nil, fmt.Errorf("place %d orders: %w", len(drafts), err)
	}
	return orders, nil
}

// Settlement is what one payment result did, and the order as it is now.
type Settlement struct {
	Outcome Outcome
	Order   Order
}

// Settle applies a set of payment results in one transaction. It returns one
// settlement for each result.
func (s *Service) Settle(ctx context.Context, results []PaymentResult) ([]Settlement, error) {
	var settled []Settlement
	err := s.store.InTx(ctx, func(tx Tx) error {
		messages, ids := make([]uuid.UUID, len(results)), make([]uuid.UUID, len(results))
		for i, r := range results {
			messages[i], ids[i] = r.MessageID, r.OrderID
		}
		fresh, err := tx.Claim(ctx, messages...)
		if err != nil {
			return err
		}
		orders, err := tx.OrdersForUpdate(ctx, ids...)
		if err != nil {
			return err
		}
		var changed []Order
		settled, changed = settle(results, fresh, orders, now())
		return tx.Update(ctx, changed...)
	})
	if err != nil {
		return nil, fmt.Errorf("settle %d orders: %w", len(results), err)
	}
	return settled, nil
}

// settle decides, in the order of the results. It uses up fresh, so that a message
// that stands twice in one batch counts once.
func settle(results []PaymentResult, fresh map[uuid.UUID]bool, orders map[uuid.UUID]*Order, at time.Time) (settled []Settlement, changed []Order) {
	settled = make([]Settlement, len(results))
	for i, r := range results {
		o, known := orders[r.OrderID]
		switch {
		case !known:
			settled[i].Outcome = OutcomeUnknownOrder
			continue
		case !fresh[r.MessageID]:
			settled[i].Outcome = OutcomeDuplicate
		default:
			delete(fresh, r.MessageID)
			if settled[i].Outcome = o.Settle(r, at); settled[i].Outcome == OutcomeApplied {
				changed = append(changed, *o)
			}
		}
		settled[i].Order = *o
	}
	return settled, changed
}

// Order returns one order, or ErrNotFound.
func (s *Service) Order(ctx context.Context, id uuid.UUID) (Order, error) {
	return s.store.Order(ctx, id)
}

// OrdersOf returns a page of the user's orders, newest first, and whether there
// are more. before is the id of the last order of the page before, or uuid.Max.
func (s *Service) OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) (page []Order, more bool, err error) {
	page, err = s.store.OrdersOf(ctx, user, before, limit+1)
	if err != nil {
		return nil, false, err
	}
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

// now has the precision that the store keeps, so that an answer and a later read agree.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
