package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/audit"
	"gozon/shared/test/servicetest"
)

// callInternal sends a request to an endpoint that the gateway does not route, and which is
// therefore not part of the API contract.
func callInternal(t *testing.T, s *servicetest.Service, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func auditOf(t *testing.T, s *servicetest.Service, query string) (differences int, body string) {
	t.Helper()
	status, body := callInternal(t, s, http.MethodGet, "/audit"+query, "")
	require.Equal(t, http.StatusOK, status, body)
	var report struct{ Differences []audit.Difference }
	require.NoError(t, json.Unmarshal([]byte(body), &report))
	require.NotNil(t, report.Differences)
	return len(report.Differences), body
}

func TestAudit(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	f.order(t, 1, 99999)
	_, reason := f.decision(t)
	require.Empty(t, reason)
	for _, query := range []string{"", "?full=true", "/?full=false"} {
		n, body := auditOf(t, f.Service, query)
		require.Zero(t, n, body)
		require.Contains(t, body, `"money_in":1000,"balances":0.01,"shop":999.99,`)
		require.Contains(t, body, `"succeeded":{"count":1,"sum":999.99}`)
	}
	status, body := callInternal(t, f.Service, http.MethodGet, "/audit?full=yes", "")
	require.Equal(t, http.StatusBadRequest, status, body)
	require.Positive(t, f.Metric(t, "audit_last_success_timestamp_seconds"))

	// The verified point survives a restart: a verified row is not read again.
	f.Stop()
	f.exec(t, "UPDATE payments.entries SET amount = amount - 1 WHERE kind = 'charge'")
	f.Service = f.startReplica(t).Ready(t)
	n, body := auditOf(t, f.Service, "")
	require.Zero(t, n, body)
	n, body = auditOf(t, f.Service, "?full=true")
	require.Positive(t, n)
	require.Contains(t, body, `"id":"1/2"`)
	require.InDelta(t, n, f.Metric(t, "audit_differences"), 0)
	f.exec(t, "UPDATE payments.entries SET amount = amount + 1 WHERE kind = 'charge'")
	n, body = auditOf(t, f.Service, "")
	require.Zero(t, n, body)
	require.Zero(t, f.Metric(t, "audit_differences"))
}

// exec runs a statement as the administrator.
func (f *fixture) exec(t *testing.T, statement string) {
	t.Helper()
	admin, err := sql.Open("pgx", f.database.URL("gozon"))
	require.NoError(t, err)
	defer admin.Close()
	_, err = admin.ExecContext(t.Context(), statement)
	require.NoError(t, err)
}

func TestPaymentsAreServedToOrders(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	var ids []string
	for range 3 {
		ids = append(ids, f.order(t, 1, 400).OrderID)
		f.decision(t)
	}
	payments := func(method, path, body string) []audit.Payment {
		t.Helper()
		status, answer := callInternal(t, f.Service, method, path, body)
		require.Equal(t, http.StatusOK, status, answer)
		var page audit.Payments
		require.NoError(t, json.Unmarshal([]byte(answer), &page))
		return page.Payments
	}
	all := []audit.Payment{
		{OrderID: ids[0], UserID: 1, Amount: 400, Status: "succeeded"},
		{OrderID: ids[1], UserID: 1, Amount: 400, Status: "succeeded"},
		{OrderID: ids[2], UserID: 1, Amount: 400, Status: "failed", Reason: "insufficient_funds"},
	}
	require.Equal(t, all, payments(http.MethodGet, fmt.Sprintf("%s?after=%s&to=%s", audit.PaymentsPath, uuid.Nil, uuid.Max), ""))
	require.Equal(t, all[1:2], payments(http.MethodGet, fmt.Sprintf("%s?after=%s&to=%s", audit.PaymentsPath, ids[0], ids[1]), ""))
	require.Equal(t, all[2:], payments(http.MethodPost, audit.PaymentsPath, fmt.Sprintf(`{"order_ids":[%q,%q]}`, ids[2], uuid.New())))
	for _, bad := range []string{"", "?after=x&to=" + ids[0], "?after=" + ids[0]} {
		status, _ := callInternal(t, f.Service, http.MethodGet, audit.PaymentsPath+bad, "")
		require.Equal(t, http.StatusBadRequest, status, bad)
	}
	for _, bad := range []string{"", `{"order_ids":["x"]}`} {
		status, _ := callInternal(t, f.Service, http.MethodPost, audit.PaymentsPath, bad)
		require.Equal(t, http.StatusBadRequest, status, bad)
	}
}
