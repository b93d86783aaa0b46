package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/test/servicetest"
)

// Requests wait for a lock. As many as are allowed wait, the others are refused at once. Waiting
// deposits take at most half of the requests in flight.
func TestStuckRequestsAreBounded(t *testing.T) {
	t.Parallel()
	f := start(t, "MAX_IN_FLIGHT", "4")
	f.topUp(t, 1, "10")
	f.topUp(t, 2, "10")
	release := f.database.Hold(t, "SELECT FROM payments.accounts WHERE user_id = 1 FOR UPDATE")
	var g errgroup.Group
	deposit := func() (servicetest.Answer, error) {
		return f.Do(t.Context(), http.MethodPost, "/accounts/", `{"user_id":1,"balance":5}`)
	}
	refused := func(got servicetest.Answer, reason string) {
		t.Helper()
		require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
		require.Equal(t, "1", got.Header.Get("Retry-After"))
		require.Contains(t, got.Body, "nothing was done")
		require.InDelta(t, 1, f.Metric(t, `requests_refused_total{reason="`+reason+`"}`), 0)
	}
	wait := func(n float64) {
		t.Helper()
		servicetest.Eventually(t, func() bool { return f.Metric(t, "requests_in_flight") == n })
	}
	accepted := func(do func() (servicetest.Answer, error)) {
		g.Go(func() error {
			_, err := do()
			return err
		})
	}
	accepted(deposit)
	accepted(deposit)
	wait(2)
	got, err := deposit()
	require.NoError(t, err)
	refused(got, "queue_full")
	require.Equal(t, "10", f.balance(t, 2), "reads are admitted")

	unlock := f.database.Hold(t, "LOCK TABLE payments.entries IN ACCESS EXCLUSIVE MODE")
	read := func() (servicetest.Answer, error) {
		return f.Do(t.Context(), http.MethodGet, "/accounts/2/entries", "")
	}
	accepted(read)
	accepted(read)
	wait(4)
	got, err = read()
	require.NoError(t, err)
	refused(got, "in_flight")

	unlock()
	release()
	require.NoError(t, g.Wait())
	require.Equal(t, "20", f.balance(t, 1), "the refused deposit was not made")
}
