package postgres_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"gozon/orders/internal/order"
	"gozon/shared/contract/audit"
	"gozon/shared/contract/money"
	"gozon/shared/delivery/idempotency"
)

// For any sequence of orders, cancellations and decisions, delivered late or twice, no audit
// finds a difference, and each counts the orders exactly.
func TestAuditOfEveryInterleaving(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		var orders []order.Order
		var cancelled []bool
		var waiting []order.PaymentDecision
		t.Repeat(map[string]func(*rapid.T){
			"place": func(t *rapid.T) {
				o, err := a.place(ctx, money.Amount(rapid.Int64Range(1, 200).Draw(t, "price")))
				require.NoError(t, err)
				orders, cancelled = append(orders, o), append(cancelled, false)
			},
			"cancel": func(t *rapid.T) {
				if len(orders) == 0 {
					t.Skip("no order")
				}
				i := rapid.IntRange(0, len(orders)-1).Draw(t, "order")
				requested, err := a.cancel(ctx, orders[i])
				require.NoError(t, err)
				cancelled[i] = cancelled[i] || requested
			},
			"decide": func(t *rapid.T) {
				if len(orders) == 0 {
					t.Skip("no order")
				}
				i := rapid.IntRange(0, len(orders)-1).Draw(t, "order")
				decide := a.payments.decide
				if cancelled[i] && rapid.Bool().Draw(t, "cancellation") {
					decide = a.payments.cancel
				}
				waiting = append(waiting, decide(orders[i]))
			},
			"settle": func(t *rapid.T) {
				if len(waiting) == 0 {
					t.Skip("no decision")
				}
				require.NoError(t, a.settle(ctx, rapid.SampledFrom(waiting).Draw(t, "decision")))
			},
			"audit": func(t *rapid.T) {
				report, err := a.auditor.Audit(ctx, rapid.IntRange(0, 4).Draw(t, "full") == 0)
				require.NoError(t, err)
				require.Empty(t, report.Differences)
				counted, err := a.counted(ctx)
				require.NoError(t, err)
				require.Equal(t, counted, report.Orders)
				require.Equal(t, counted[order.StatusNew].Count+counted[order.StatusCancelling].Count, report.InFlight)
			},
		})
	})
}

// Concurrent traffic never looks like a difference, with several auditors.
func TestAuditUnderTraffic(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	done := make(chan struct{})
	auditors, auditCtx := errgroup.WithContext(t.Context())
	for i := range 3 {
		auditors.Go(func() error {
			for n := 0; ; n++ {
				report, err := a.auditor.Audit(auditCtx, i == 0 && n%5 == 0)
				if err == nil && len(report.Differences) > 0 {
					err = errors.New(report.Differences[0].Detail)
				}
				if err != nil && !errors.Is(err, order.ErrNotCompared) { // by the replica that compares, before its first result
					return err
				}
				select {
				case <-done:
					return nil
				default:
				}
			}
		})
	}
	traffic, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		traffic.Go(func() error {
			for range 60 {
				o, err := a.place(ctx, money.Amount(rand.IntN(200)+1))
				if err != nil {
					return err
				}
				first := a.payments.decide(o)
				requested := false
				if rand.IntN(2) == 0 {
					if requested, err = a.cancel(ctx, o); err != nil {
						return err
					}
				}
				if err := a.settle(ctx, first); err != nil {
					return err
				}
				if requested {
					if err := a.settle(ctx, a.payments.cancel(o)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	err := traffic.Wait()
	close(done)
	require.NoError(t, auditors.Wait())
	require.NoError(t, err)
	report := a.audit(t, false)
	require.Empty(t, report.Differences)
	counted, err := a.counted(t.Context())
	require.NoError(t, err)
	require.Equal(t, counted, report.Orders)
}

// An order that was uncommitted during an audit is counted and compared by the next one.
func TestAuditDoesNotSkipUncommittedOrders(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	a.audit(t, false)
	tx, err := a.admin.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	late := uuid.Must(uuid.NewV7())
	_, err = tx.ExecContext(t.Context(), `INSERT INTO orders.orders (id, user_id, item, price, status, version, created_at, updated_at, changed_in)
		VALUES ($1, 1, 'x', 5, 'PAID', 2, now(), now(), pg_current_xact_id()::text::bigint)`, late)
	require.NoError(t, err)
	a.paid(t)
	require.Empty(t, a.audit(t, false).Differences)
	require.NoError(t, tx.Commit())
	report := a.audit(t, false)
	require.Equal(t, int64(2), report.Orders[order.StatusPaid].Count)
	require.Len(t, report.Differences, 1)
	require.Equal(t, late.String(), report.Differences[0].ID)
	require.Equal(t, order.DifferenceNoPayment, report.Differences[0].Kind)
}

// Tampering with rows is found by the default audit before they are compared, and by the full
// one after that. From then on the default audit reports it too, until it is repaired.
func TestAuditFindsTampering(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ tamper, repair, kind string }{
		"a paid order is cancelled": {
			"UPDATE orders.orders SET status = 'CANCELLED', cancel_reason = 'cancelled_by_user' WHERE id = $1",
			"UPDATE orders.orders SET status = 'PAID', cancel_reason = NULL WHERE id = $1", order.DifferenceStatus,
		},
		"a price is changed": {
			"UPDATE orders.orders SET price = 49 WHERE id = $1", "UPDATE orders.orders SET price = 50 WHERE id = $1", order.DifferenceContent,
		},
		"a user is changed": {
			"UPDATE orders.orders SET user_id = 9 WHERE id = $1", "UPDATE orders.orders SET user_id = 1 WHERE id = $1", order.DifferenceContent,
		},
		"an order is deleted": {
			"DELETE FROM orders.orders WHERE id = $1",
			"INSERT INTO orders.orders (id, user_id, item, price, status, version, created_at, updated_at) VALUES ($1, 1, 'x', 50, 'PAID', 2, now(), now())", order.DifferenceNoOrder,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAudited(t)
			o := a.paid(t)
			for _, compared := range []bool{false, true} {
				a.exec(t, tc.tamper, o.ID)
				report := a.audit(t, false)
				if compared {
					require.Empty(t, report.Differences, "compared rows are read again")
					report = a.audit(t, true)
				}
				require.Len(t, report.Differences, 1)
				require.Equal(t, []string{o.ID.String(), tc.kind}, []string{report.Differences[0].ID, report.Differences[0].Kind})
				require.Equal(t, report.Differences, report.Found)

				a.paid(t) // others are compared as before
				again := a.audit(t, false)
				require.Equal(t, report.Differences, again.Differences)
				require.Empty(t, again.Found)
				require.Empty(t, again.Resolved)

				a.exec(t, tc.repair, o.ID)
				repaired := a.audit(t, false)
				require.Empty(t, repaired.Differences)
				require.Equal(t, report.Differences, repaired.Resolved)
			}
		})
	}
}

// Without payments to compare with there is no audit, rather than one that finds nothing.
func TestAuditNeedsPayments(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	a.payments.down = true
	_, err := a.auditor.Audit(t.Context(), false)
	require.ErrorIs(t, err, order.ErrNotCompared)
	a.payments.down = false
	require.False(t, a.audit(t, false).ComparedAt.IsZero())
	a.exec(t, "UPDATE orders.comparison SET compared_at = now() - interval '1 h'")
	a.exec(t, "SELECT pg_advisory_lock(1::bigint << 40)") // like another replica that compares
	_, err = a.auditor.Audit(t.Context(), false)
	require.ErrorIs(t, err, order.ErrNotCompared)
}

// Histories of more than a page are compared completely.
func TestAuditOfManyOrders(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	const n = 2*audit.PageSize + 10
	requests := make([]idempotency.Request[order.Draft], n)
	for i := range requests {
		requests[i].Body = order.Draft{UserID: 1, Item: "Laptop", Price: 1}
	}
	placed, err := a.service.Place(t.Context(), requests)
	require.NoError(t, err)
	for _, p := range placed {
		a.payments.decide(p.Value)
	}
	a.exec(t, "UPDATE orders.orders SET status = 'PAID', changed_in = pg_current_xact_id()::text::bigint")
	last := placed[n-1].Value.ID
	delete(a.payments.all, last)
	for range 2 {
		report := a.audit(t, false)
		require.Equal(t, int64(n), report.Orders[order.StatusPaid].Count)
		require.Len(t, report.Differences, 1)
		require.Equal(t, last.String(), report.Differences[0].ID)
		// All of them change after they were compared.
		a.exec(t, "UPDATE orders.orders SET changed_in = pg_current_xact_id()::text::bigint")
	}
	clear(a.payments.all)
	report := a.audit(t, true)
	require.Len(t, report.Differences, audit.MaxDifferences)
	require.Len(t, a.audit(t, false).Differences, audit.MaxDifferences)
}
