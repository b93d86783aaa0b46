package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/audit"
	"gozon/shared/contract/events"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

type auditReport struct {
	Orders map[string]struct {
		Count int
		Sum   json.Number
	}
	InFlight    int `json:"in_flight"`
	Overdue     int
	ComparedAt  *string `json:"compared_at"`
	Differences []audit.Difference
}

// audit requests an audit, which only the gateway calls, so it is not part of the API contract.
func (f *fixture) audit(t *testing.T, query string) (int, auditReport) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/audit"+query, http.NoBody)
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	var report auditReport
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(body, &report), string(body))
	return resp.StatusCode, report
}

// Without PAYMENTS_URL, orders are counted, and the report shows that they are not compared.
func TestAuditCountsOrders(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "19.99")
	f.place(t, 1, "5")
	for _, query := range []string{"", "?full=true"} {
		status, report := f.audit(t, query)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, 2, report.Orders["NEW"].Count)
		require.Equal(t, json.Number("24.99"), report.Orders["NEW"].Sum)
		require.Equal(t, 2, report.InFlight)
		require.Zero(t, report.Overdue)
		require.Nil(t, report.ComparedAt)
		require.NotNil(t, report.Differences)
		require.Empty(t, report.Differences)
	}
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 1999})
	f.waitForStatus(t, o.ID, "PAID")
	_, err := f.pool.ExecContext(t.Context(), "UPDATE orders.orders SET updated_at = updated_at - interval '1 min' WHERE status = 'NEW'")
	require.NoError(t, err)
	_, report := f.audit(t, "/")
	require.Equal(t, json.Number("19.99"), report.Orders["PAID"].Sum)
	require.Equal(t, []int{1, 1}, []int{report.InFlight, report.Overdue})
	status, _ := f.audit(t, "?full=1")
	require.Equal(t, http.StatusBadRequest, status)
}

func TestAuditComparesOrdersWithPayments(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	orphan := audit.Payment{OrderID: uuid.Must(uuid.NewV7()).String(), UserID: 1, Amount: 5, Status: "succeeded"}
	payments := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() || r.URL.Path != audit.PaymentsPath {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(audit.Payments{Payments: []audit.Payment{orphan}})
	}))
	t.Cleanup(payments.Close)
	f := startOn(t, databasetest.New(t), brokertest.New(t), "PAYMENTS_URL", payments.URL)
	f.Ready(t)
	status, report := f.audit(t, "?full=true")
	require.Equal(t, http.StatusOK, status)
	require.Len(t, report.Differences, 1)
	require.Equal(t, orphan.OrderID, report.Differences[0].ID)
	status, report = f.audit(t, "")
	require.Equal(t, http.StatusOK, status)
	require.Len(t, report.Differences, 1)
	require.NotNil(t, report.ComparedAt)
	servicetest.Eventually(t, func() bool { return f.Metric(t, "audit_differences") == 1 })
	down.Store(true)
	status, _ = f.audit(t, "")
	require.Equal(t, http.StatusServiceUnavailable, status)
}
