package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/payments/internal/payment"
	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/contract/money"
	"gozon/shared/delivery"
	"gozon/shared/delivery/database"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/delivery/inbox"
	"gozon/shared/test/databasetest"
)

// audited is a database with accounts, payments and entries, and the administrator's
// connection to it.
type audited struct {
	store   *postgres.Store
	service *payment.Service
	admin   *sql.DB
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	d := databasetest.New(t)
	_, db := d.Open(t, postgres.Schema, migrations.FS)
	admin, err := sql.Open("pgx", d.URL("gozon"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = admin.Close() })
	a := &audited{admin: admin, store: postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, db, postgres.Schema))}
	a.service = payment.NewService(a.store)
	return a
}

func (a *audited) deposit(ctx context.Context, user int64, amount money.Amount) error {
	_, err := a.service.Deposit(ctx, []idempotency.Request[payment.Deposit]{{Body: payment.Deposit{UserID: user, Amount: amount}}})
	return err
}

func (a *audited) execute(ctx context.Context, order uuid.UUID, user int64, amount money.Amount, cancel bool) error {
	_, err := a.service.Execute(ctx, []inbox.Event[payment.Command]{{
		ID: uuid.New(), Claim: uuid.New(), Data: payment.Command{OrderID: order, UserID: user, Amount: amount, Cancel: cancel},
	}})
	return err
}

// charge charges a new order and returns its id.
func (a *audited) charge(t *testing.T, user int64, amount money.Amount) uuid.UUID {
	t.Helper()
	order := uuid.Must(uuid.NewV7())
	require.NoError(t, a.execute(t.Context(), order, user, amount, false))
	return order
}

func (a *audited) audit(t *testing.T, full bool) payment.Audit {
	t.Helper()
	report, err := a.store.Audit(t.Context(), full)
	require.NoError(t, err)
	return report
}

// exec runs a statement as the administrator.
func (a *audited) exec(t *testing.T, statement string) {
	t.Helper()
	result, err := a.admin.ExecContext(t.Context(), statement)
	require.NoError(t, err)
	n, err := result.RowsAffected()
	require.NoError(t, err)
	require.Positive(t, n, statement)
}

func TestAuditTotals(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	empty := a.audit(t, false)
	require.Empty(t, empty.Differences)
	require.Zero(t, empty.MoneyIn)
	for _, full := range []bool{false, false, true, false} {
		require.NoError(t, a.deposit(t.Context(), 1, 1000))
		require.NoError(t, a.deposit(t.Context(), 2, 0))
		a.charge(t, 1, 300)
		a.charge(t, 2, 1) // fails
		a.charge(t, 3, 1) // fails, without an account
		order := a.charge(t, 1, 200)
		if full { // refunds a payment that was verified
			a.audit(t, false)
		}
		require.NoError(t, a.execute(t.Context(), order, 1, 200, true))
		require.NoError(t, a.execute(t.Context(), uuid.Must(uuid.NewV7()), 1, 50, true)) // voided
		for _, full := range []bool{full, true, false} {
			report := a.audit(t, full)
			require.Empty(t, report.Differences)
			n := report.Payments[payment.StatusSucceeded].Count
			require.Equal(t, map[payment.Status]payment.Total{
				payment.StatusSucceeded: {Count: n, Sum: money.Amount(300 * n)}, payment.StatusRefunded: {Count: n, Sum: money.Amount(200 * n)},
				payment.StatusFailed: {Count: 2 * n, Sum: money.Amount(2 * n)}, payment.StatusVoided: {Count: n, Sum: money.Amount(50 * n)},
			}, report.Payments)
			require.Equal(t, []money.Amount{money.Amount(1000 * n), money.Amount(700 * n), money.Amount(300 * n)},
				[]money.Amount{report.MoneyIn, report.Balances, report.Shop})
		}
	}
	require.EqualValues(t, 4, a.audit(t, false).Payments[payment.StatusSucceeded].Count)
}

// Concurrent traffic never looks like a difference, with several auditors and whatever is
// uncommitted when one of them stores a verified point.
func TestAuditUnderTraffic(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	const users = 5
	traffic, ctx := errgroup.WithContext(t.Context())
	done := make(chan struct{})
	auditors, auditCtx := errgroup.WithContext(t.Context())
	for i := range 3 {
		auditors.Go(func() error {
			for n := 0; ; n++ {
				report, err := a.store.Audit(auditCtx, i == 0 && n%5 == 0)
				if err == nil && len(report.Differences) > 0 {
					err = fmt.Errorf("audit %d: %v", n, report.Differences)
				}
				if err != nil {
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
	for range 4 {
		traffic.Go(func() error {
			var orders []payment.Command
			for range 100 {
				c := payment.Command{OrderID: uuid.Must(uuid.NewV7()), UserID: rand.Int64N(users) + 1, Amount: money.Amount(rand.IntN(300) + 1)}
				if len(orders) > 0 && rand.IntN(3) == 0 {
					c = orders[rand.IntN(len(orders))]
					c.Cancel = true
				}
				orders = append(orders, c)
				if rand.IntN(4) == 0 {
					if err := a.deposit(ctx, c.UserID, 500); err != nil && !database.IsBusy(err) {
						return err
					}
				}
				if err := a.execute(ctx, c.OrderID, c.UserID, c.Amount, c.Cancel); err != nil && !database.IsBusy(err) {
					return err
				}
			}
			return nil
		})
	}
	err := traffic.Wait()
	close(done)
	require.NoError(t, auditors.Wait())
	require.NoError(t, err)
	incremental, full := a.audit(t, false), a.audit(t, true)
	require.Empty(t, full.Differences)
	incremental.CheckedAt = full.CheckedAt
	require.Equal(t, full, incremental)
}

// What is uncommitted when a point is verified is verified by the next audit.
func TestAuditDoesNotSkipUncommittedPayments(t *testing.T) {
	t.Parallel()
	a := newAudited(t)
	a.audit(t, false)
	tx, err := a.admin.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	order := uuid.Must(uuid.NewV7())
	_, err = tx.ExecContext(t.Context(), `INSERT INTO payments.payments (order_id, user_id, amount, status, created_at, updated_at)
		VALUES ($1, 1, 5, 'succeeded', now(), now())`, order)
	require.NoError(t, err)
	require.NoError(t, a.deposit(t.Context(), 1, 1000)) // a later transaction
	a.charge(t, 1, 10)
	require.Empty(t, a.audit(t, false).Differences)
	require.NoError(t, tx.Commit())
	require.Equal(t, []string{order.String() + " " + payment.DifferencePayment}, differences(a.audit(t, false).Differences))
}
