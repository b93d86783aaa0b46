//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/e2e/stack"
	"gozon/shared/test/contracttest"
	"gozon/shared/test/servicetest"
)

var shop *stack.Stack

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	var log bytes.Buffer
	var err error
	shop, err = stack.Up(ctx, stack.Options{Project: "gozon-e2e", Env: []string{"ALLOWED_HOSTS=shop.example"}, Log: &log})
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s\nthe shop did not start: %v\n", log.String(), err)
		return 1
	}
	code := m.Run()
	if err := shop.Down(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "%s\nthe shop did not stop: %v\n", log.String(), err)
		return 1
	}
	return code
}

// atEntryPoints runs a test with the base URL of each entry point. The API behaves the same
// at both.
func atEntryPoints(t *testing.T, test func(t *testing.T, base string)) {
	t.Helper()
	for name, base := range map[string]string{"page": shop.Page, "gateway": shop.API} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, base)
		})
	}
}

var users atomic.Int64

// newUser returns the id of a user that no other test uses.
func newUser() int64 { return 1_000_000 + users.Add(1) }

// client does not follow redirects.
var client = &http.Client{
	Timeout:       20 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) decode(t *testing.T, v any) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.body), v), a.body)
}

// call sends a request and checks the exchange against the contract. header lists names and
// values of additional headers alternately.
func call(t *testing.T, method, url, contentType, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	if req.URL.Path != "/" { // the page is not part of the contract
		contracttest.Check(t, req, []byte(body), resp, b)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

func post(t *testing.T, url, body string) answer {
	t.Helper()
	return call(t, http.MethodPost, url, "application/json", body)
}

// postWithKey sends a POST with an Idempotency-Key.
func postWithKey(t *testing.T, url, key, body string) answer {
	t.Helper()
	return call(t, http.MethodPost, url, "application/json", body, "Idempotency-Key", key)
}

func get(t *testing.T, url string) answer {
	t.Helper()
	return call(t, http.MethodGet, url, "", "")
}

type order struct {
	ID           string
	UserID       int64 `json:"user_id"`
	Item         string
	Price        json.Number
	Status       string
	CancelReason string `json:"cancel_reason"`
	Version      int
	Timeline     []struct{ Step string }
}

func (o order) steps() []string {
	var names []string
	for _, s := range o.Timeline {
		names = append(names, s.Step)
	}
	return names
}

func place(t *testing.T, base string, user int64, price string) order {
	t.Helper()
	a := post(t, base+"/orders/", fmt.Sprintf(`{"user_id":%d,"item":"Laptop","price":%s}`, user, price))
	require.Equal(t, http.StatusCreated, a.status, a.body)
	var o order
	a.decode(t, &o)
	require.Equal(t, "/orders/"+o.ID, a.header.Get("Location"))
	require.Equal(t, "NEW", o.Status)
	require.Equal(t, 1, o.Version)
	return o
}

// settled waits until the order is no longer NEW.
func settled(t *testing.T, base, id string) order {
	t.Helper()
	var o order
	servicetest.Eventually(t, func() bool {
		get(t, base+"/orders/"+id).decode(t, &o)
		return o.Status != "NEW"
	})
	return o
}

// ended waits until the order has its final status after a cancellation.
func ended(t *testing.T, base, id string) order {
	t.Helper()
	var o order
	servicetest.Eventually(t, func() bool {
		get(t, base+"/orders/"+id).decode(t, &o)
		return o.Status == "CANCELLED"
	})
	return o
}

func balance(t *testing.T, base string, user int64) string {
	t.Helper()
	var a struct{ Balance json.Number }
	got := get(t, fmt.Sprintf("%s/accounts/%d", base, user))
	require.Equal(t, http.StatusOK, got.status, got.body)
	got.decode(t, &a)
	return a.Balance.String()
}
