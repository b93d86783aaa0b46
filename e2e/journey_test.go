//go:build e2e

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/test/servicetest"
)

func TestOrderIsPaid(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		opened := post(t, base+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":1000}`, user))
		require.Equal(t, http.StatusCreated, opened.status, opened.body)
		require.JSONEq(t, fmt.Sprintf(`{"user_id":%d,"balance":1000}`, user), opened.body)
		topped := post(t, base+"/accounts", fmt.Sprintf(`{"user_id":%d,"balance":0.5}`, user))
		require.Equal(t, http.StatusOK, topped.status, topped.body)

		o := settled(t, base, place(t, base, user, "999.99").ID)
		require.Equal(t, "PAID", o.Status)
		require.Equal(t, 2, o.Version)
		require.Empty(t, o.CancelReason)
		require.Equal(t, "0.51", balance(t, base, user))

		var statement struct {
			Entries []struct {
				Seq     int
				Kind    string
				Amount  float64
				OrderID string `json:"order_id"`
			}
		}
		get(t, fmt.Sprintf("%s/accounts/%d/entries/", base, user)).decode(t, &statement)
		require.Len(t, statement.Entries, 3)
		require.Equal(t, "charge", statement.Entries[0].Kind)
		require.Equal(t, o.ID, statement.Entries[0].OrderID)
	})
}

func TestUnpayableOrderIsCancelledWithAReason(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		o := settled(t, base, place(t, base, user, "1").ID)
		require.Equal(t, "CANCELLED", o.Status)
		require.Equal(t, "account_not_found", o.CancelReason)
		require.Equal(t, http.StatusNotFound, get(t, fmt.Sprintf("%s/accounts/%d", base, user)).status)

		require.Equal(t, http.StatusCreated, post(t, base+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":10}`, user)).status)
		o = settled(t, base, place(t, base, user, "10.01").ID)
		require.Equal(t, "CANCELLED", o.Status)
		require.Equal(t, "insufficient_funds", o.CancelReason)
		require.Equal(t, "10", balance(t, base, user))
	})
}

func TestOrdersArePaged(t *testing.T) {
	t.Parallel()
	atEntryPoints(t, func(t *testing.T, base string) {
		user := newUser()
		var placed []string
		for range 7 {
			placed = append([]string{place(t, base, user, "1").ID}, placed...)
		}
		var seen []string
		cursor := ""
		for {
			var page struct {
				Orders     []order
				NextCursor string `json:"next_cursor"`
			}
			get(t, fmt.Sprintf("%s/orders?user_id=%d&limit=3%s", base, user, cursor)).decode(t, &page)
			for _, o := range page.Orders {
				seen = append(seen, o.ID)
			}
			if page.NextCursor == "" {
				break
			}
			cursor = "&cursor=" + page.NextCursor
		}
		require.Equal(t, placed, seen)
	})
}

func TestInvalidRequestsGetAProblem(t *testing.T) {
	t.Parallel()
	const json = "application/json"
	for name, tc := range map[string]struct {
		method, path, contentType, body string
		status                          int
	}{
		"negative price":     {"POST", "/orders/", json, `{"user_id":1,"item":"x","price":-5}`, 422},
		"exponent":           {"POST", "/orders/", json, `{"user_id":1,"item":"x","price":1e3}`, 422},
		"negative balance":   {"POST", "/accounts/", json, `{"user_id":1,"balance":-5}`, 422},
		"not JSON":           {"POST", "/orders/", json, `{"user_id":`, 400},
		"not JSON by type":   {"POST", "/orders/", "text/plain", `{}`, 415},
		"too large":          {"POST", "/orders/", json, `{"item":"` + strings.Repeat("x", 70<<10) + `"}`, 413},
		"no user":            {"GET", "/orders/", "", "", 400},
		"unknown order":      {"GET", "/orders/01980f5e-7b1c-7000-8000-000000000001", "", "", 404},
		"not an id":          {"GET", "/orders/1", "", "", 400},
		"method not allowed": {"DELETE", "/accounts/1", "", "", 405},
		"unknown subpath":    {"GET", "/accounts/1/nothing", "", "", 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			atEntryPoints(t, func(t *testing.T, base string) {
				a := call(t, tc.method, base+tc.path, tc.contentType, tc.body)
				require.Equal(t, tc.status, a.status, a.body)
				require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
				var p struct {
					Type, Title, Detail string
					Status              int
					RequestID           string `json:"request_id"`
				}
				a.decode(t, &p)
				require.Equal(t, tc.status, p.Status)
				require.NotEmpty(t, p.Type)
				require.NotEmpty(t, p.Title)
				require.Len(t, a.header.Values("X-Request-Id"), 1)
				require.Equal(t, a.header.Get("X-Request-Id"), p.RequestID)
			})
		})
	}
}

// The shell commands of the README's journey work as printed.
func TestReadmeJourney(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- journey:start -->.*?```sh\n(.*?)```.*?<!-- journey:end -->").FindSubmatch(readme)
	require.NotNil(t, block, "the README has no journey")
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Stdin = strings.NewReader(string(block[1]))
	cmd.Env = append(os.Environ(), "SHOP="+shop.Page, fmt.Sprintf("USER_ID=%d", newUser()))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "PAID")
}

// While the payments service is down, orders are still accepted, and they settle once it is back.
// Its own part of the API reports that it is unavailable.
func TestOrdersSettleAfterPaymentsOutage(t *testing.T) { //nolint:paralleltest // it stops a service that the other tests use
	user := newUser()
	require.Equal(t, http.StatusCreated, post(t, shop.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":5}`, user)).status)
	require.NoError(t, shop.Compose(t.Context(), "stop", "payments"))
	o := place(t, shop.API, user, "5")
	a := get(t, fmt.Sprintf("%s/accounts/%d", shop.API, user))
	require.Equal(t, http.StatusBadGateway, a.status, a.body)
	require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
	servicetest.Eventually(t, func() bool {
		out, err := exec.CommandContext(t.Context(), "docker", "exec", container(t, shop, "gateway"), "/gateway", "healthcheck").Output()
		require.NoError(t, err)
		return strings.Contains(string(out), `"degraded"`)
	})

	require.NoError(t, shop.Compose(t.Context(), "start", "payments"))
	require.Equal(t, "PAID", settled(t, shop.API, o.ID).Status)
}

// With three replicas of each service, the crash of one fails no read, and all orders settle.
func TestReplicas(t *testing.T) { //nolint:paralleltest // it changes the shop that the other tests use
	shop.Scale = map[string]int{"orders": 3, "payments": 3}
	require.NoError(t, shop.Start(t.Context()))
	replicas, err := shop.Containers(t.Context(), "orders")
	require.NoError(t, err)
	require.Len(t, replicas, 3)
	servicetest.Eventually(t, func() bool {
		return get(t, shop.API+"/audit").status == http.StatusOK
	})

	user := newUser()
	require.Equal(t, http.StatusCreated, post(t, shop.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":100}`, user)).status)
	var ids []string
	for range 30 {
		ids = append(ids, place(t, shop.API, user, "1").ID)
	}
	require.NoError(t, shop.Crash(t.Context(), replicas[1]))
	for _, id := range ids {
		require.Equal(t, http.StatusOK, get(t, shop.API+"/orders/"+id).status)
	}
	for _, id := range ids {
		require.Equal(t, "PAID", settled(t, shop.API, id).Status)
	}
	require.Equal(t, "70", balance(t, shop.API, user))
	require.NoError(t, shop.Wait(t.Context()))
}
