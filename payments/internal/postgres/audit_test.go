package postgres_test

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/payments/internal/payment"
	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/contract/audit"
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

// Each kind of tampering is found by its id: by the default audit, or, if it concerns rows
// that are verified, by the full one. From then on the default audit reports it too, until it
// is repaired.
func TestAuditFindsTampering(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		tamper, repair string // $1 is the first order
		find           string // "" stands for the first order
		kind           string
		onlyFull       bool // once the rows are verified
		unrelated      bool // also before
		onlyVerified   bool // found as another kind before
		total          bool // balances and shop are not money in
	}{
		"a kopek is added to a balance": {
			tamper: "UPDATE payments.accounts SET balance = balance + 1 WHERE user_id = 1", repair: "UPDATE payments.accounts SET balance = balance - 1 WHERE user_id = 1",
			find: "1/3", kind: payment.DifferenceBalance, total: true,
		},
		"an account is deleted": {
			tamper: "DELETE FROM payments.accounts WHERE user_id = 1", repair: "INSERT INTO payments.accounts VALUES (1, 500, 3, now())",
			find: "1/3", kind: payment.DifferenceAccount, onlyVerified: true, total: true,
		},
		"an entry is added": {
			tamper: "INSERT INTO payments.entries VALUES (1, 4, 'top_up', 'external', 'user', 5, 505, NULL, now())",
			repair: "DELETE FROM payments.entries WHERE user_id = 1 AND seq = 4",
			find:   "1/4", kind: payment.DifferenceExtraEntry, onlyFull: true, total: true,
		},
		"a charge is added for a verified payment": {
			tamper: "WITH a AS (UPDATE payments.accounts SET balance = 200, seq = 4 WHERE user_id = 1) INSERT INTO payments.entries VALUES (1, 4, 'charge', 'user', 'shop', 300, 200, $1, now())",
			repair: "WITH a AS (UPDATE payments.accounts SET balance = 500, seq = 3 WHERE user_id = 1) DELETE FROM payments.entries WHERE user_id = 1 AND seq = 4",
			kind:   payment.DifferencePayment,
		},
		"a charge is added without a payment": {
			tamper: "WITH a AS (UPDATE payments.accounts SET balance = 200, seq = 4 WHERE user_id = 1) INSERT INTO payments.entries VALUES (1, 4, 'charge', 'user', 'shop', 300, 200, '01980f5e-7b1c-7000-8000-000000000001', now())",
			repair: "WITH a AS (UPDATE payments.accounts SET balance = 500, seq = 3 WHERE user_id = 1) DELETE FROM payments.entries WHERE user_id = 1 AND seq = 4",
			find:   "01980f5e-7b1c-7000-8000-000000000001", kind: payment.DifferenceNoPayment,
		},
		"entries of a user who has no account": {
			tamper: "INSERT INTO payments.entries VALUES (9, 1, 'top_up', 'external', 'user', 5, 5, NULL, now())",
			repair: "DELETE FROM payments.entries WHERE user_id = 9",
			find:   "9/1", kind: payment.DifferenceAccount, onlyFull: true, unrelated: true, total: true,
		},
		"a payment is added": {
			tamper: "INSERT INTO payments.payments (order_id, user_id, amount, status, created_at, updated_at) VALUES ('01980f5e-7b1c-7000-8000-000000000001', 1, 5, 'succeeded', now(), now())",
			repair: "DELETE FROM payments.payments WHERE order_id = '01980f5e-7b1c-7000-8000-000000000001'",
			find:   "01980f5e-7b1c-7000-8000-000000000001", kind: payment.DifferencePayment,
		},
		"an entry is deleted": {
			tamper: "DELETE FROM payments.entries WHERE user_id = 1 AND seq = 2", repair: "INSERT INTO payments.entries VALUES (1, 2, 'charge', 'user', 'shop', 300, 700, $1, now())",
			find: "1/2", kind: payment.DifferenceMissingEntry, onlyFull: true, total: true,
		},
		"the newest entry is deleted": {
			tamper: "DELETE FROM payments.entries WHERE user_id = 1 AND seq = 3", repair: "INSERT INTO payments.entries SELECT 1, 3, 'charge', 'user', 'shop', 200, 500, order_id, now() FROM payments.payments WHERE amount = 200",
			find: "1/3", kind: payment.DifferenceMissingEntry, onlyFull: true, total: true,
		},
		"an entry is changed": {
			tamper: "UPDATE payments.entries SET amount = 301 WHERE user_id = 1 AND seq = 2", repair: "UPDATE payments.entries SET amount = 300 WHERE user_id = 1 AND seq = 2",
			find: "1/2", kind: payment.DifferenceWrongEntry, onlyFull: true, total: true,
		},
		"a payment is changed": {
			tamper: "UPDATE payments.payments SET amount = 301 WHERE order_id = $1", repair: "UPDATE payments.payments SET amount = 300 WHERE order_id = $1",
			kind: payment.DifferencePayment, onlyFull: true,
		},
		"a payment is deleted": {
			tamper: "DELETE FROM payments.payments WHERE order_id = $1", repair: "INSERT INTO payments.payments (order_id, user_id, amount, status, created_at, updated_at) VALUES ($1, 1, 300, 'succeeded', now(), now())",
			kind: payment.DifferenceNoPayment, onlyFull: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAudited(t)
			require.Empty(t, a.audit(t, false).Differences)
			require.NoError(t, a.deposit(t.Context(), 1, 1000))
			order := a.charge(t, 1, 300)
			a.charge(t, 1, 200)
			change := func(statement string) {
				t.Helper()
				a.exec(t, strings.ReplaceAll(statement, "$1", "'"+order.String()+"'"))
			}
			want := cmp.Or(tc.find, order.String()) + " " + tc.kind
			for _, verified := range []bool{false, true} {
				if tc.onlyVerified && !verified {
					require.Empty(t, a.audit(t, false).Differences)
					continue
				}
				change(tc.tamper)
				report := a.audit(t, false)
				if tc.onlyFull && (verified || tc.unrelated) {
					require.Empty(t, report.Differences, "verified rows are read again")
					report = a.audit(t, true)
				}
				found := differences(report.Differences)
				require.Contains(t, found, want)
				require.Equal(t, tc.total, slices.Contains(found, "total total"), found)
				require.ElementsMatch(t, report.Differences, report.Found)

				require.NoError(t, a.deposit(t.Context(), 2, 1000)) // other accounts are verified as before
				a.charge(t, 2, 10)
				again := a.audit(t, false)
				require.Equal(t, found, differences(again.Differences))
				require.Empty(t, again.Found)
				require.Empty(t, again.Resolved)

				change(tc.repair)
				repaired := a.audit(t, false)
				require.Empty(t, repaired.Differences)
				require.Equal(t, found, differences(repaired.Resolved))
			}
			require.Empty(t, a.audit(t, true).Differences)
		})
	}
}

func differences(all []audit.Difference) []string {
	var found []string
	for _, d := range all {
		found = append(found, d.ID+" "+d.Kind)
	}
	slices.Sort(found)
	return found
}
