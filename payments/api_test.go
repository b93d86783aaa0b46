package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/test/servicetest"
)

func TestDepositOpensAndTopsUpAccount(t *testing.T) {
	t.Parallel()
	f := start(t)
	for i, tc := range []struct {
		path, balance string
		status        int
		want          string
	}{
		{"/accounts/", "0", http.StatusCreated, "0"},
		{"/accounts", "19.99", http.StatusOK, "19.99"},
		{"/accounts/", "0.01", http.StatusOK, "20"},
		{"/accounts/", "0", http.StatusOK, "20"},
	} {
		status, body := f.Call(t, http.MethodPost, tc.path, fmt.Sprintf(`{"user_id":7,"balance":%s}`, tc.balance))
		require.Equal(t, tc.status, status, "step %d: %s", i, body)
		require.JSONEq(t, fmt.Sprintf(`{"user_id":7,"balance":%s}`, tc.want), body)
	}
	status, _ := f.Call(t, http.MethodGet, "/accounts/8/", "")
	require.Equal(t, http.StatusNotFound, status)
	status, _ = f.Call(t, http.MethodGet, "/accounts/8/entries", "")
	require.Equal(t, http.StatusNotFound, status)
	f.verify(t)
}

func TestStatementIsPaged(t *testing.T) {
	t.Parallel()
	f := start(t)
	const n = 45
	for range n {
		f.topUp(t, 1, "1")
	}
	var seen []int
	cursor := ""
	for {
		var page struct {
			Entries []struct {
				Seq          int
				Kind         string
				Amount       float64
				BalanceAfter float64 `json:"balance_after"`
			}
			NextCursor string `json:"next_cursor"`
		}
		f.Get(t, "/accounts/1/entries/?limit=20"+cursor, &page)
		for _, e := range page.Entries {
			require.Equal(t, "top_up", e.Kind)
			require.InDelta(t, e.Seq, e.BalanceAfter, 0)
			seen = append(seen, e.Seq)
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
	}
	require.Len(t, seen, n)
	for i, seq := range seen {
		require.Equal(t, n-i, seq)
	}
	for _, query := range []string{"?limit=0", "?limit=101", "?limit=x", "?cursor=x", "?cursor=0"} {
		status, body := f.Call(t, http.MethodGet, "/accounts/1/entries"+query, "")
		require.Equal(t, http.StatusBadRequest, status, body)
	}
}

func TestInvalidDepositChangesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	for _, tc := range []struct{ body, pointer string }{
		{`{"user_id":1,"balance":-1}`, "/balance"},
		{`{"user_id":1,"balance":-0.01}`, "/balance"},
		{`{"user_id":1,"balance":1.999}`, "/balance"},
		{`{"user_id":1,"balance":1e3}`, "/balance"},
		{`{"user_id":1,"balance":"1000"}`, "/balance"},
		{`{"user_id":1,"balance":10000000000000.00}`, "/balance"},
		{`{"user_id":1,"balance":99999999999999999999999}`, "/balance"},
		{`{"user_id":1,"balance":null}`, "/balance"},
		{`{"user_id":1}`, "/balance"},
		{`{"user_id":0,"balance":1}`, "/user_id"},
		{`{"user_id":-1,"balance":1}`, "/user_id"},
		{`{"user_id":9007199254740992,"balance":1}`, "/user_id"},
		{`{"user_id":1.5,"balance":1}`, "/user_id"},
		{`{"user_id":"1","balance":1}`, "/user_id"},
		{`{"balance":1}`, "/user_id"},
	} {
		status, body := f.Call(t, http.MethodPost, "/accounts/", tc.body)
		require.Equal(t, http.StatusUnprocessableEntity, status, "%s: %s", tc.body, body)
		require.Contains(t, body, `"pointer":"`+tc.pointer+`"`)
	}
	for _, body := range []string{`[]`, `{`, `null`, `{"user_id":1,"balance":1} {}`, `"x"`} {
		status, answer := f.Call(t, http.MethodPost, "/accounts/", body)
		require.Equal(t, http.StatusBadRequest, status, "%s: %s", body, answer)
	}
	status, _ := f.Call(t, http.MethodPost, "/accounts/", `{"x":"`+strings.Repeat("x", 64<<10)+`"}`)
	require.Equal(t, http.StatusRequestEntityTooLarge, status)
	f.count(t, 0, "SELECT count(*) FROM payments.accounts")
}

func TestBalanceHasALimit(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "9999999999999.98")
	status, body := f.Call(t, http.MethodPost, "/accounts/", `{"user_id":1,"balance":0.02}`)
	require.Equal(t, http.StatusUnprocessableEntity, status, body)
	f.topUp(t, 1, "0.01")
	require.Equal(t, "9999999999999.99", f.balance(t, 1))
	f.verify(t)
}

// Concurrent callers of two replicas: exactly one of them opens the account, and no deposit
// is lost.
func TestConcurrentDepositsAddUp(t *testing.T) {
	t.Parallel()
	f := start(t)
	replicas := []*servicetest.Service{f.Service, f.startReplica(t).Ready(t)}
	var answers [64]servicetest.Answer
	var g errgroup.Group
	for i := range answers {
		g.Go(func() (err error) {
			answers[i], err = replicas[i%2].Do(t.Context(), http.MethodPost, "/accounts/", `{"user_id":1,"balance":0.03}`)
			return err
		})
	}
	require.NoError(t, g.Wait())
	opened := 0
	for _, a := range answers {
		require.Contains(t, []int{http.StatusCreated, http.StatusOK}, a.Status, a.Body)
		if a.Status == http.StatusCreated {
			opened++
		}
	}
	require.Equal(t, 1, opened)
	require.Equal(t, "1.92", f.balance(t, 1))
	f.count(t, 64, "SELECT count(*) FROM payments.entries")
	f.verify(t)
}
