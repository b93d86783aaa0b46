//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// A request that is sent several times with the same key is processed once, whichever
// replica receives it.
func TestRequestsWithKeyAreProcessedOnce(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		repeat := func(path, body string) {
			t.Helper()
			key := fmt.Sprintf("%q", fmt.Sprint("key-", user, path))
			first := postWithKey(t, base+path, key, body)
			require.Less(t, first.status, 300, first.body)
			require.Empty(t, first.header.Get("Idempotent-Replayed"))
			for range 4 {
				retry := postWithKey(t, base+path, key, body)
				require.Equal(t, first.status, retry.status)
				require.Equal(t, first.body, retry.body)
				require.Equal(t, first.header.Get("Location"), retry.header.Get("Location"))
				require.Equal(t, "true", retry.header.Get("Idempotent-Replayed"))
			}
		}
		repeat("/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":10}`, user))
		repeat("/orders/", fmt.Sprintf(`{"user_id":%d,"item":"Book","price":4}`, user))
		var page struct{ Orders []order }
		get(t, fmt.Sprintf("%s/orders/?user_id=%d", base, user)).decode(t, &page)
		require.Len(t, page.Orders, 1)
		id := page.Orders[0].ID
		require.Equal(t, "PAID", settled(t, base, id).Status)
		require.Equal(t, "6", balance(t, base, user))
		repeat("/orders/"+id+"/cancel", "")
		require.Equal(t, "CANCELLED", ended(t, base, id).Status)
		require.Equal(t, "10", balance(t, base, user))
		reused := postWithKey(t, base+"/orders/", fmt.Sprint("key-", user, "/orders/"), fmt.Sprintf(`{"user_id":%d,"item":"Book","price":5}`, user))
		require.Equal(t, http.StatusUnprocessableEntity, reused.status)
		require.Contains(t, reused.body, "/problems/idempotency-key-reused")
	})
}

// The result of a cancellation is the same whether it is processed before or after the
// charge.
func TestOrderIsCancelledByItsUser(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		require.Equal(t, http.StatusCreated, post(t, base+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":100}`, user)).status)
		for i := range 10 {
			o := place(t, base, user, "10")
			if i%2 == 0 {
				settled(t, base, o.ID)
			}
			a := call(t, http.MethodPost, base+"/orders/"+o.ID+"/cancel/", "", "")
			require.Equal(t, http.StatusAccepted, a.status, a.body)
			cancelled := ended(t, base, o.ID)
			require.Equal(t, "cancelled_by_user", cancelled.CancelReason)
			steps := cancelled.steps()
			require.Equal(t, "placed", steps[0])
			require.Equal(t, "cancelled", steps[len(steps)-1])
			require.Contains(t, steps, "cancel_requested")
			if i%2 == 0 {
				require.Equal(t, []string{"placed", "published", "charged", "confirmed", "cancel_requested", "refunded", "cancelled"}, steps)
			}
		}
		require.Equal(t, "100", balance(t, base, user))
		refused := settled(t, base, place(t, base, user, "101").ID)
		a := call(t, http.MethodPost, base+"/orders/"+refused.ID+"/cancel", "", "")
		require.Equal(t, http.StatusConflict, a.status, a.body)
		require.Contains(t, a.body, "/problems/not-cancellable")
	})
}
