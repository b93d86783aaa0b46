package order

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/audit"
)

// Payments reads the payments of the payments service.
type Payments interface {
	// In returns the payments of at most [audit.PageSize] orders with ids above after, up to
	// and including to, ordered by them.
	In(ctx context.Context, after, to uuid.UUID) ([]Payment, error)
	// Of returns the payments of at most [audit.PageSize] orders. It leaves out orders
	// without one.
	Of(ctx context.Context, orders []uuid.UUID) ([]Payment, error)
}

// Compared is up to where orders are compared: all versions that the snapshot sees, of orders
// with ids up to Position.
type Compared struct {
	Snapshot string // "" if none were compared
	Position uuid.UUID
}

// ComparisonStore reads orders for the comparison, with the fields that it needs, and stores
// its result.
type ComparisonStore interface {
	// Exclusively runs fn unless another replica is running it.
	Exclusively(ctx context.Context, fn func() error) (ran bool, err error)
	// Compared returns the stored point, and the orders of the stored differences.
	Compared(ctx context.Context) (Compared, []uuid.UUID, error)
	// CurrentSnapshot returns a snapshot that every later read includes.
	CurrentSnapshot(ctx context.Context) (string, error)
	// OrdersChanged and OrdersIn return at most [audit.PageSize] orders with ids above after,
	// up to and including to, ordered by them: those with changes that snapshot does not see,
	// and all.
	OrdersChanged(ctx context.Context, snapshot string, after, to uuid.UUID) ([]Order, error)
	OrdersIn(ctx context.Context, after, to uuid.UUID) ([]Order, error)
	// OrdersByID leaves out unknown ids.
	OrdersByID(ctx context.Context, ids []uuid.UUID) ([]Order, error)
	// SaveCompared stores the point and replaces the stored differences. It returns those that
	// are new and those that are gone.
	SaveCompared(ctx context.Context, at Compared, all []audit.Difference) (found, resolved []audit.Difference, err error)
	// AddDifferences adds to the stored differences. It returns those that are new.
	AddDifferences(ctx context.Context, all []audit.Difference) (found []audit.Difference, err error)
}

// comparison is one comparison of orders with payments.
//
// It reads new orders and their payments by ranges of ids, and orders that were compared and
// changed since by their ids. Either may look contradictory because one side was read before
// the other changed. Such suspects are read again, see [comparison.confirm].
type comparison struct {
	store    ComparisonStore
	payments Payments
	age      time.Duration // of the orders that are compared first
	full     bool          // compares everything
	suspects map[uuid.UUID]struct{}
}

// run returns the differences that are new and those that are gone.
func (c *comparison) run(ctx context.Context) (found, resolved []audit.Difference, err error) {
	if c.full {
		return c.compareAll(ctx)
	}
	return c.compareNew(ctx)
}

// compareNew compares what was not compared yet, unless another replica is doing so.
func (c *comparison) compareNew(ctx context.Context) (found, resolved []audit.Difference, err error) {
	_, err = c.store.Exclusively(ctx, func() error {
		found, resolved, err = c.compareOn(ctx)
		return err
	})
	return found, resolved, err
}

// compareOn compares what was not compared yet, in steps that are stored. It also reads the
// orders of the stored differences again.
func (c *comparison) compareOn(ctx context.Context) (found, resolved []audit.Difference, err error) {
	at, open, err := c.store.Compared(ctx)
	if err != nil {
		return nil, nil, err
	}
	next := Compared{Position: at.Position}
	if next.Snapshot, err = c.store.CurrentSnapshot(ctx); err != nil {
		return nil, nil, err
	}
	if at.Snapshot == "" {
		at = next
	}
	for after := uuid.Nil; ; {
		changed, err := c.store.OrdersChanged(ctx, at.Snapshot, after, at.Position)
		if err != nil {
			return nil, nil, err
		}
		if err := c.compareByID(ctx, changed); err != nil {
			return nil, nil, err
		}
		if len(changed) < audit.PageSize {
			break
		}
		after = changed[len(changed)-1].ID
	}
	head := firstIDAt(time.Now().Add(-c.age))
	for {
		if next.Position, err = c.compareRange(ctx, next.Position, head); err != nil {
			return nil, nil, err
		}
		differences, err := c.confirm(ctx, open)
		if err != nil {
			return nil, nil, err
		}
		truncated := len(differences) > audit.MaxDifferences
		if truncated { // those that are not stored must be found again
			differences = differences[:audit.MaxDifferences]
		} else {
			at = next
		}
		added, gone, err := c.store.SaveCompared(ctx, at, differences)
		found, resolved = append(found, added...), append(resolved, gone...)
		if err != nil || truncated || compareUUIDs(at.Position, head) >= 0 {
			return found, resolved, err
		}
		open = open[:0]
		for _, d := range differences {
			open = append(open, uuid.MustParse(d.ID))
		}
	}
}

// compareAll compares all orders and payments, adds what it finds to the stored differences,
// and continues with what is new.
func (c *comparison) compareAll(ctx context.Context) (found, resolved []audit.Difference, err error) {
	var all []audit.Difference
	for position := uuid.Nil; position != uuid.Max && len(all) < audit.MaxDifferences; {
		if position, err = c.compareRange(ctx, position, uuid.Max); err != nil {
			return nil, nil, err
		}
		differences, err := c.confirm(ctx, nil)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, differences...)
	}
	added, err := c.store.AddDifferences(ctx, all[:min(len(all), audit.MaxDifferences)])
	if err != nil {
		return nil, nil, err
	}
	found, resolved, err = c.compareNew(ctx)
	return append(added, found...), resolved, err
}

// compareRange compares a page of orders with ids above after, up to and including to, and
// returns the last id of the page.
func (c *comparison) compareRange(ctx context.Context, after, to uuid.UUID) (uuid.UUID, error) {
	if compareUUIDs(after, to) >= 0 {
		return after, nil
	}
	orders, err := c.store.OrdersIn(ctx, after, to)
	if err != nil {
		return after, err
	}
	if len(orders) == audit.PageSize {
		to = orders[len(orders)-1].ID
	}
	payments, err := c.payments.In(ctx, after, to)
	if err != nil {
		return after, err
	}
	if len(payments) == audit.PageSize {
		to = payments[len(payments)-1].OrderID
		for len(orders) > 0 && compareUUIDs(orders[len(orders)-1].ID, to) > 0 {
			orders = orders[:len(orders)-1]
		}
	}
	c.suspect(orders, payments)
	return to, nil
}

func (c *comparison) compareByID(ctx context.Context, orders []Order) error {
	if len(orders) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(orders))
	for i, o := range orders {
		ids[i] = o.ID
	}
	payments, err := c.payments.Of(ctx, ids)
	if err == nil {
		c.suspect(orders, payments)
	}
	return err
}

// suspect adds the orders that a pair of reads contradicts, in whichever order it was made.
func (c *comparison) suspect(orders []Order, payments []Payment) {
	byOrder := make(map[uuid.UUID]*Payment, len(payments))
	for i, p := range payments {
		byOrder[p.OrderID] = &payments[i]
	}
	for _, o := range orders {
		p := byOrder[o.ID]
		if o.contradicts(p) != nil || p != nil && p.contradicts(&o) != nil {
			c.suspects[o.ID] = struct{}{}
		}
		delete(byOrder, o.ID)
	}
	for id := range byOrder { // payments without an order
		c.suspects[id] = struct{}{}
	}
}

// confirm reads the suspects and the given orders again and returns those that are
// contradictory. It reads the orders, the payments, and the orders again, so that it has both
// an order that was read before its payment and one that was read after it.
func (c *comparison) confirm(ctx context.Context, also []uuid.UUID) ([]audit.Difference, error) {
	for _, id := range also {
		c.suspects[id] = struct{}{}
	}
	ids := make([]uuid.UUID, 0, len(c.suspects))
	for id := range c.suspects {
		ids = append(ids, id)
	}
	clear(c.suspects)
	var differences []audit.Difference
	for part := range slices.Chunk(ids, audit.PageSize) {
		before, err := c.store.OrdersByID(ctx, part)
		if err != nil {
			return nil, err
		}
		payments, err := c.payments.Of(ctx, part)
		if err != nil {
			return nil, err
		}
		after, err := c.store.OrdersByID(ctx, part)
		if err != nil {
			return nil, err
		}
		differences = append(differences, contradictions(before, payments, after)...)
	}
	return differences, nil
}

// contradictions compares payments with their orders, as they were read before and after.
func contradictions(before []Order, payments []Payment, after []Order) []audit.Difference {
	later := make(map[uuid.UUID]*Order, len(after))
	for i, o := range after {
		later[o.ID] = &after[i]
	}
	byOrder, found := make(map[uuid.UUID]*Payment, len(payments)), map[uuid.UUID]*audit.Difference{}
	for i, p := range payments {
		byOrder[p.OrderID] = &payments[i]
		if d := p.contradicts(later[p.OrderID]); d != nil {
			found[p.OrderID] = d
		}
	}
	for _, o := range before {
		if d := o.contradicts(byOrder[o.ID]); d != nil {
			found[o.ID] = d
		}
	}
	differences := make([]audit.Difference, 0, len(found))
	for _, d := range found {
		differences = append(differences, *d)
	}
	return differences
}

func compareUUIDs(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// firstIDAt returns the smallest UUIDv7 of the millisecond of t (RFC 9562, section 5.7).
func firstIDAt(t time.Time) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:], uint64(t.UnixMilli())<<16|0x7000)
	return id
}
