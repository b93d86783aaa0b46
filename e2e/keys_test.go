//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is sent twice with one key is done once, at whichever replica it arrives.
func TestRequestsAreDoneOnceUnderTheirKey(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, door string) {
		user := newUser()
		twice := func(path, body string) {
			t.Helper()
			key := fmt.Sprintf("%q", fmt.Sprint("key-", user, path))
			first := postOnce(t, door+path, key, body)
			require.Less(t, first.status, 300, first.body)
			require.Empty(t, first.header.Get("Idempotent-Replayed"))
			for range 4 {
				again := postOnce(t, door+path, key, body)
				require.Equal(t, first.status, again.status)
				require.Equal(t, first.body, again.body)
				require.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
				require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
			}
		}
		twice("/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":10}`, user))
		twice("/orders/", fmt.Sprintf(`{"user_id":%d,"item":"Book","price":4}`, user))
		var page struct{ Orders []order }
		get(t, fmt.Sprintf("%s/orders/?user_id=%d", door, user)).decode(t, &page)
		require.Len(t, page.Orders, 1)
		id := page.Orders[0].ID
		require.Equal(t, "PAID", settled(t, door, id).Status)
		require.Equal(t, "6", balance(t, door, user))
		twice("/orders/"+id+"/cancel", "")
		require.Equal(t, "CANCELLED", ended(t, door, id).Status)
		require.Equal(t, "10", balance(t, door, user))
		reused := postOnce(t, door+"/orders/", fmt.Sprint("key-", user, "/orders/"), fmt.Sprintf(`{"user_id":%d,"item":"Book","price":5}`, user))
		require.Equal(t, http.StatusUnprocessableEntity, reused.status)
		require.Contains(t, reused.body, "/problems/idempotency-key-reused")
	})
}

// A cancellation ends the same whether it overtakes the charge or not.
func TestOrderIsCancelledByItsUser(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, door string) {
		user := newUser()
		require.Equal(t, http.StatusCreated, post(t, door+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":100}`, user)).status)
		for i := range 10 {
			o := place(t, door, user, "10")
			if i%2 == 0 {
				settled(t, door, o.ID)
			}
			a := call(t, http.MethodPost, door+"/orders/"+o.ID+"/cancel/", "", "")
			require.Equal(t, http.StatusAccepted, a.status, a.body)
			cancelled := ended(t, door, o.ID)
			require.Equal(t, "cancelled_by_user", cancelled.CancelReason)
			steps := cancelled.steps()
			require.Equal(t, "placed", steps[0])
			require.Equal(t, "cancelled", steps[len(steps)-1])
			require.Contains(t, steps, "cancel_requested")
			if i%2 == 0 {
				require.Equal(t, []string{"placed", "published", "charged", "confirmed", "cancel_requested", "refunded", "cancelled"}, steps)
			}
		}
		require.Equal(t, "100", balance(t, door, user))
		refused := settled(t, door, place(t, door, user, "101").ID)
		a := call(t, http.MethodPost, door+"/orders/"+refused.ID+"/cancel", "", "")
		require.Equal(t, http.StatusConflict, a.status, a.body)
		require.Contains(t, a.body, "/problems/not-cancellable")
	})
}
