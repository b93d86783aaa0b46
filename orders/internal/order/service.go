package order

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/idempotency"
)

// Store keeps orders. Its reads see what was committed; every change is made in InTx.
type Store interface {
	// InTx runs fn in one transaction: all of it happens, or nothing.
	InTx(ctx context.Context, fn func(Tx) error) error
	// Order returns ErrNotFound when there is none.
	Order(ctx context.Context, id uuid.UUID) (Order, error)
	// Orders returns those of the orders that exist, in no particular order.
	Orders(ctx context.Context, ids ...uuid.UUID) ([]Order, error)
	// OrdersOf returns the user's orders, newest first, from below the id before
	// (uuid.Max for the newest), at most limit.
	OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) ([]Order, error)
	// Snapshot is the database's current one.
	Snapshot(ctx context.Context) (Snapshot, error)
	// ChangedSince returns the users' orders whose newest change the snapshot does not
	// include, by user, at most limit, if that is not 0. It ends with an error, if any.
	ChangedSince(ctx context.Context, since Snapshot, limit int, users ...int64) iter.Seq2[Order, error]
}

// Watermark is a point in the sequence of the database's transactions: whatever is read
// after it was taken has every change below it. Unlike a time or a counter of changes
// it cannot be overtaken by a transaction that commits late.
type Watermark int64

// Changed says that an order of a user was placed or changed.
type Changed struct {
	UserID  int64
	OrderID uuid.UUID
}

// Tx is one transaction. It works on sets, and publishing exists only here. It is
// for one goroutine.
type Tx interface {
	// Claim returns those message ids that were never claimed before.
	Claim(ctx context.Context, ids ...uuid.UUID) (fresh map[uuid.UUID]bool, err error)
	// OrdersForUpdate locks the orders in the order of their ids. Orders that do not exist are left out.
	OrdersForUpdate(ctx context.Context, ids ...uuid.UUID) (map[uuid.UUID]*Order, error)
	// Insert and Update also notify who follows the orders of these users.
	Insert(ctx context.Context, orders ...Order) error
	Update(ctx context.Context, orders ...Order) error
	// Emit has events published after the commit.
	Emit(ctx context.Context, evs ...events.Event) error
	idempotency.Tx
}

// Service has the use cases. It is safe for concurrent use.
type Service struct{ store Store }

// NewService works on store.
func NewService(store Store) *Service { return &Service{store} }

// Place places a set of orders, with their events, in one transaction, each once under
// its key. It returns one result for each request.
func (s *Service) Place(ctx context.Context, requests []idempotency.Request[Draft]) ([]idempotency.Result[Order], error) {
	var results []idempotency.Result[Order]
	err := s.store.InTx(ctx, func(tx Tx) error {
		var err error
		results, err = idempotency.Once(ctx, tx, requests, func(drafts []Draft) ([]idempotency.Result[Order], error) {
			return place(ctx, tx, drafts)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("place %d orders: %w", len(requests), err)
	}
	return results, nil
}

func place(ctx context.Context, tx Tx, drafts []Draft) ([]idempotency.Result[Order], error) {
	results := make([]idempotency.Result[Order], len(drafts))
	orders, created := make([]Order, len(drafts)), make([]events.Event, len(drafts))
	at := now()
	for i, d := range drafts {
		id, err := uuid.NewV7()
		if err != nil {
			return nil, fmt.Errorf("order id: %w", err)
		}
		orders[i] = d.Place(id, at)
		created[i] = orders[i].Created()
		results[i].Value = orders[i]
	}
	if err := tx.Insert(ctx, orders...); err != nil {
		return nil, err
	}
	return results, tx.Emit(ctx, created...)
}

// Cancel begins the cancellation of a set of orders, with their events, in one
// transaction, each once under its key. It returns one result for each request, whose
// error may be ErrNotFound or ErrNotCancellable.
func (s *Service) Cancel(ctx context.Context, requests []idempotency.Request[uuid.UUID]) ([]idempotency.Result[Order], error) {
	var results []idempotency.Result[Order]
	err := s.store.InTx(ctx, func(tx Tx) error {
		var err error
		results, err = idempotency.Once(ctx, tx, requests, func(ids []uuid.UUID) ([]idempotency.Result[Order], error) {
			orders, err := tx.OrdersForUpdate(ctx, ids...)
			if err != nil {
				return nil, err
			}
			results, changed, requested := cancel(ids, orders, now())
			if err := tx.Update(ctx, changed...); err != nil {
				return nil, err
			}
			return results, tx.Emit(ctx, requested...)
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cancel %d orders: %w", len(requests), err)
	}
	return results, nil
}

// cancel decides, in the order of the ids.
func cancel(ids []uuid.UUID, orders map[uuid.UUID]*Order, at time.Time) (results []idempotency.Result[Order], changed []Order, requested []events.Event) {
	results = make([]idempotency.Result[Order], len(ids))
	for i, id := range ids {
		o, known := orders[id]
		if !known {
			results[i].Err = ErrNotFound
			continue
		}
		begun, err := o.Cancel(at)
		if begun {
			changed, requested = append(changed, *o), append(requested, o.CancelRequested())
		}
		results[i].Value, results[i].Err = *o, err
	}
	return results, changed, requested
}

// Settlement is what one payment result did, and the order as it is now.
type Settlement struct {
	Outcome Outcome
	Order   Order
}

// Settle applies a set of payment results in one transaction. It returns one
// settlement for each result. A [RuleError] is the fault of one of them: there is no such
// order, or the result contradicts it. Somebody must look at that, because money may have
// moved for nothing.
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
		if settled, changed, err = settle(results, fresh, orders, now()); err != nil {
			return err
		}
		return tx.Update(ctx, changed...)
	})
	if err != nil {
		return nil, fmt.Errorf("settle %d orders: %w", len(results), err)
	}
	return settled, nil
}

// settle decides, in the order of the results. It uses up fresh, so that a message that is
// in the set twice counts once.
func settle(results []PaymentResult, fresh map[uuid.UUID]bool, orders map[uuid.UUID]*Order, at time.Time) (settled []Settlement, changed []Order, err error) {
	settled = make([]Settlement, len(results))
	touched := map[uuid.UUID]*Order{}
	for i, r := range results {
		o, known := orders[r.OrderID]
		if !fresh[r.MessageID] {
			settled[i].Outcome = OutcomeDuplicate
			continue
		}
		if !known {
			return nil, nil, fmt.Errorf("%w: payment of %s %s", ErrNotFound, r.OrderID, r.Result)
		}
		delete(fresh, r.MessageID)
		settled[i].Outcome = o.Settle(r, at)
		settled[i].Order = *o
		switch settled[i].Outcome {
		case OutcomeApplied, OutcomeNoted:
			touched[o.ID] = o
		case OutcomeContradictory:
			return nil, nil, fmt.Errorf("%w: %s is %s, its payment %s", ErrContradiction, o.ID, o.Status, r.Result)
		case OutcomeDuplicate:
		}
	}
	for _, o := range touched {
		changed = append(changed, *o)
	}
	return settled, changed, nil
}

// Order returns one order, or ErrNotFound.
func (s *Service) Order(ctx context.Context, id uuid.UUID) (Order, error) {
	return s.store.Order(ctx, id)
}

// Page is a page of a user's orders, newest first.
type Page struct {
	Orders []Order
	More   bool // there are older ones
}

// OrdersOf returns a page of the user's orders. before is the id of the last order of
// the page before, or uuid.Max.
func (s *Service) OrdersOf(ctx context.Context, user int64, before uuid.UUID, limit int) (Page, error) {
	orders, err := s.store.OrdersOf(ctx, user, before, limit+1)
	if err != nil {
		return Page{}, err
	}
	return PageOf(orders, limit), nil
}

// PageOf is the page of the first limit of orders, of which there is one more when there
// are older ones.
func PageOf(orders []Order, limit int) Page {
	if len(orders) > limit {
		return Page{orders[:limit], true}
	}
	return Page{orders, false}
}

// now has the precision that the store keeps, so that an answer and a later read agree.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
