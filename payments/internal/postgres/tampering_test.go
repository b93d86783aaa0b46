package postgres_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/audit"
)

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
