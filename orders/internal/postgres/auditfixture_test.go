package postgres_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/order"
	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/delivery/inbox"
	"gozon/shared/test/databasetest"
)

// payments decides about orders like the payments service, and serves its decisions.
type payments struct {
	mu   sync.Mutex
	all  map[uuid.UUID]order.Payment
	down bool
}

func (p *payments) read(keep func(uuid.UUID) bool) ([]order.Payment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down {
		return nil, order.ErrNotCompared
	}
	found := slices.Collect(maps.Values(p.all))
	found = slices.DeleteFunc(found, func(p order.Payment) bool { return !keep(p.OrderID) })
	slices.SortFunc(found, func(a, b order.Payment) int { return compare(a.OrderID, b.OrderID) })
	return found[:min(len(found), audit.PageSize)], nil
}

func compare(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

func (p *payments) In(_ context.Context, after, to uuid.UUID) ([]order.Payment, error) {
	return p.read(func(id uuid.UUID) bool { return compare(after, id) < 0 && compare(id, to) <= 0 })
}

func (p *payments) Of(_ context.Context, orders []uuid.UUID) ([]order.Payment, error) {
	return p.read(func(id uuid.UUID) bool { return slices.Contains(orders, id) })
}

// decide returns the decision about an order. It fails payments above 100.
func (p *payments) decide(o order.Order) order.PaymentDecision {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, known := p.all[o.ID]
	switch {
	case !known && o.Price > 100:
		d = order.Payment{Status: order.PaymentFailed, Reason: "insufficient_funds"}
	case !known:
		d = order.Payment{Status: order.PaymentSucceeded}
	}
	return p.save(o, d)
}

// cancel returns the decision about the cancellation of an order.
func (p *payments) cancel(o order.Order) order.PaymentDecision {
	p.mu.Lock()
	defer p.mu.Unlock()
	d, known := p.all[o.ID]
	switch {
	case !known:
		d = order.Payment{Status: order.PaymentVoided}
	case d.Status == order.PaymentSucceeded:
		d.Status = order.PaymentRefunded
	}
	decision := p.save(o, d)
	if d.Status == order.PaymentFailed {
		decision.Status, decision.Reason = order.PaymentVoided, ""
	}
	return decision
}

func (p *payments) save(o order.Order, d order.Payment) order.PaymentDecision {
	d.OrderID, d.UserID, d.Amount = o.ID, o.UserID, o.Price
	p.all[o.ID] = d
	decision := order.PaymentDecision{OrderID: o.ID, UserID: o.UserID, Amount: o.Price, Status: d.Status, Reason: d.Reason}
	at := time.Now().UTC().Truncate(time.Microsecond)
	switch d.Status {
	case order.PaymentSucceeded:
		decision.Saga.ChargedAt = at
	case order.PaymentRefunded:
		decision.Saga.ChargedAt, decision.Saga.RefundedAt = at, at
	case order.PaymentFailed:
		decision.Saga.RefusedAt = at
	case order.PaymentVoided:
	}
	return decision
}

// audited is a database with orders, an auditor, and the administrator's connection.
type audited struct {
	service  *order.Service
	auditor  *order.Auditor
	payments *payments
	admin    *sql.DB
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	d := databasetest.New(t)
	_, db := d.Open(t, postgres.Schema, migrations.FS)
	admin, err := sql.Open("pgx", d.URL("gozon"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	store := postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, db, postgres.Schema))
	p := &payments{all: map[uuid.UUID]order.Payment{}}
	// A negative age: orders are compared as soon as they are placed, whatever their status.
	return &audited{service: order.NewService(store), auditor: order.NewAuditor(store, p, -time.Second), payments: p, admin: admin}
}

// retry repeats what fails because of a lock, such as that of NOTIFY, as a batcher does.
func retry(fn func() error) error {
	for {
		if err := fn(); !database.IsBusy(err) {
			return err
		}
	}
}

func (a *audited) place(ctx context.Context, price money.Amount) (o order.Order, err error) {
	err = retry(func() error {
		placed, err := a.service.Place(ctx, []idempotency.Request[order.Draft]{{Body: order.Draft{UserID: 1, Item: "Laptop", Price: price}}})
		if err == nil {
			o = placed[0].Value
		}
		return err
	})
	return o, err
}

// cancel requests the cancellation of an order, unless the shop has cancelled it.
func (a *audited) cancel(ctx context.Context, o order.Order) (requested bool, err error) {
	err = retry(func() error {
		cancelled, err := a.service.Cancel(ctx, []idempotency.Request[uuid.UUID]{{Body: o.ID}})
		if err == nil && !errors.Is(cancelled[0].Err, order.ErrNotCancellable) {
			requested, err = true, cancelled[0].Err
		}
		return err
	})
	return requested, err
}

func (a *audited) settle(ctx context.Context, d order.PaymentDecision) error {
	return retry(func() error {
		_, err := a.service.Settle(ctx, []inbox.Event[order.PaymentDecision]{{ID: uuid.New(), Claim: uuid.New(), Data: d}})
		return err
	})
}

// paid places and pays an order.
func (a *audited) paid(t *testing.T) order.Order {
	t.Helper()
	o, err := a.place(t.Context(), 50)
	require.NoError(t, err)
	require.NoError(t, a.settle(t.Context(), a.payments.decide(o)))
	return o
}

func (a *audited) audit(t *testing.T, full bool) order.Audit {
	t.Helper()
	report, err := a.auditor.Audit(t.Context(), full)
	require.NoError(t, err)
	return report
}

// exec runs a statement as the administrator.
func (a *audited) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	_, err := a.admin.ExecContext(t.Context(), statement, args...)
	require.NoError(t, err)
}

// counted returns what the report must contain.
func (a *audited) counted(ctx context.Context) (map[order.Status]order.Total, error) {
	totals := map[order.Status]order.Total{order.StatusNew: {}, order.StatusPaid: {}, order.StatusCancelling: {}, order.StatusCancelled: {}}
	rows, err := a.admin.QueryContext(ctx, "SELECT status, count(*), sum(price)::bigint FROM orders.orders GROUP BY status")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var status order.Status
		var n order.Total
		if err := rows.Scan(&status, &n.Count, &n.Sum); err != nil {
			return nil, err
		}
		totals[status] = n
	}
	return totals, rows.Err()
}
