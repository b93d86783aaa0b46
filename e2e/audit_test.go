//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/e2e/load"
	"gozon/shared/test/servicetest"
)

type auditReport struct {
	OK          bool
	Differences []struct{ ID, Kind, Detail string }
	Orders      map[string]struct{ Count int }
	ComparedAt  *string `json:"compared_at"`
}

func audit(t *testing.T, base, query string) auditReport {
	t.Helper()
	a := get(t, base+"/audit"+query)
	require.Equal(t, http.StatusOK, a.status, a.body)
	var report auditReport
	a.decode(t, &report)
	require.Equal(t, len(report.Differences) == 0, report.OK, a.body)
	return report
}

// finds requires that an audit finds a difference with the id.
func finds(t *testing.T, base, query, id, kind string) {
	t.Helper()
	report := audit(t, base, query)
	for _, d := range report.Differences {
		if d.ID == id {
			require.Equal(t, kind, d.Kind)
			return
		}
	}
	require.Fail(t, "not found", "%s: %+v", id, report)
}

// The shop's own traffic never looks like a difference, and tampering with the database is
// found through the gateway until it is repaired.
func TestAudit(t *testing.T) {
	t.Parallel()
	user := newUser()
	require.Equal(t, http.StatusCreated, post(t, shop.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":100}`, user)).status)
	paid := settled(t, shop.API, place(t, shop.API, user, "10").ID)
	require.Equal(t, "PAID", paid.Status)

	const workers = 4
	client := load.NewClient(shop.API, workers)
	var traffic errgroup.Group
	for range workers {
		traffic.Go(func() error {
			for i := range 300 {
				path, body := "/orders/", fmt.Appendf(nil, `{"user_id":%d,"item":"Book","price":0.5}`, user)
				if i%10 == 0 {
					path, body = "/accounts/", fmt.Appendf(nil, `{"user_id":%d,"balance":1}`, user)
				}
				if _, _, err := client.Post(t.Context(), path, "", body); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for i := range 30 {
		query := ""
		if i%10 == 9 {
			query = "?full=true"
		}
		report := audit(t, []string{shop.API, shop.Page}[i%2], query)
		require.Empty(t, report.Differences)
		require.NotNil(t, report.ComparedAt)
	}
	require.NoError(t, traffic.Wait())

	servicetest.Eventually(t, func() bool { // the account is idle
		left, err := shop.SQL(t.Context(), fmt.Sprintf("SELECT count(*) FROM orders.orders WHERE user_id = %d AND status = 'NEW'", user))
		return err == nil && left == "0"
	})
	exec := func(statement string, args ...any) {
		t.Helper()
		_, err := shop.SQL(t.Context(), fmt.Sprintf(statement, args...))
		require.NoError(t, err)
	}
	seq, err := shop.SQL(t.Context(), fmt.Sprintf("UPDATE payments.accounts SET balance = balance + 1 WHERE user_id = %d RETURNING seq", user))
	require.NoError(t, err)
	finds(t, shop.API, "", fmt.Sprintf("%d/%s", user, seq), "balance")
	exec("UPDATE payments.accounts SET balance = balance - 1 WHERE user_id = %d", user)
	require.True(t, audit(t, shop.API, "").OK)

	exec("UPDATE orders.orders SET status = 'CANCELLED', cancel_reason = 'cancelled_by_user' WHERE id = '%s'", paid.ID)
	finds(t, shop.API, "?full=true", paid.ID, "order_payment")
	finds(t, shop.Page, "", paid.ID, "order_payment") // a known difference
	exec("UPDATE orders.orders SET status = 'PAID', cancel_reason = NULL WHERE id = '%s'", paid.ID)
	servicetest.Eventually(t, func() bool { return audit(t, shop.API, "").OK })
}
