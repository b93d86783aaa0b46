package main

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/orders/internal/order"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/idempotency"
	"gozon/shared/test/servicetest"
)

const laptop = `{"user_id":1,"item":"Laptop","price":19.99}`

func (f *fixture) keyed(t *testing.T, s *servicetest.Service, key, body string) servicetest.Answer {
	t.Helper()
	return s.Send(t, http.MethodPost, "/orders/", body, "Idempotency-Key", key)
}

func requireReplay(t *testing.T, first, a servicetest.Answer) {
	t.Helper()
	require.Equal(t, "true", a.Header.Get("Idempotent-Replayed"), a.Body)
	require.Equal(t, first.Status, a.Status)
	require.Equal(t, first.Body, a.Body)
	require.Equal(t, first.Header.Get("Location"), a.Header.Get("Location"))
}

func TestOrderIsPlacedOnceUnderItsKey(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.another(t).Ready(t)
	first := f.keyed(t, f.Service, "k", laptop)
	require.Equal(t, http.StatusCreated, first.Status, first.Body)
	require.Empty(t, first.Header.Get("Idempotent-Replayed"))
	o := decoded(t, first)
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 1999})
	f.becomes(t, o.ID, "PAID")
	for _, s := range []*servicetest.Service{f.Service, other} {
		requireReplay(t, first, f.keyed(t, s, `"k"`, laptop))
	}
	reused := f.keyed(t, other, "k", `{"user_id":1,"item":"Laptop","price":20}`)
	require.Equal(t, http.StatusUnprocessableEntity, reused.Status)
	require.Contains(t, reused.Body, "/problems/idempotency-key-reused")
	require.Equal(t, http.StatusCreated, f.keyed(t, f.Service, "k", `{"user_id":2,"item":"Laptop","price":20}`).Status, "a key is its user's")
	require.Equal(t, 2, f.rows(t, "orders"))

	// The cancel has keys of its own.
	cancelled := f.cancel(t, o.ID, "Idempotency-Key", "k")
	require.Equal(t, http.StatusAccepted, cancelled.Status, cancelled.Body)
	f.broker.PublishEvent(t, id(t), events.PaymentRefunded{OrderID: o.ID, UserID: 1, Amount: 1999, ChargedAt: time.Now().UTC(), RefundedAt: time.Now().UTC()})
	f.becomes(t, o.ID, "CANCELLED")
	requireReplay(t, cancelled, f.cancel(t, o.ID, "Idempotency-Key", "k"))
	another := f.place(t, 1, "1")
	require.Equal(t, http.StatusUnprocessableEntity, f.cancel(t, another.ID, "Idempotency-Key", "k").Status)
}

// The process dies between the commit and the answer: the client's next try gets the
// answer that it would have got.
func TestCrashBetweenCommitAndAnswer(t *testing.T) {
	t.Parallel()
	f := start(t)
	draft := order.Draft{UserID: 1, Item: "Laptop", Price: 1999}
	key, err := idempotency.NewKey(1, "place", "k", draft)
	require.NoError(t, err)
	done, err := order.NewService(f.store()).Place(t.Context(), []idempotency.Request[order.Draft]{{Key: key, Body: draft}})
	require.NoError(t, err) // and here it dies
	a := f.keyed(t, f.Service, "k", laptop)
	require.Equal(t, http.StatusCreated, a.Status, a.Body)
	require.Equal(t, "true", a.Header.Get("Idempotent-Replayed"))
	o := decoded(t, a)
	require.Equal(t, done[0].Value.ID.String(), o.ID)
	require.Equal(t, o, f.order(t, o.ID))
	require.Equal(t, 1, f.rows(t, "orders"))
}

func TestKeyOfAnOrderInFlight(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.another(t).Ready(t)
	held, err := f.pool.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = held.Rollback() }() // after a commit this does nothing
	_, err = held.ExecContext(t.Context(), "LOCK TABLE orders.orders IN SHARE MODE")
	require.NoError(t, err)
	var first servicetest.Answer
	var g errgroup.Group
	g.Go(func() (err error) {
		first, err = f.Do(t.Context(), http.MethodPost, "/orders/", laptop, "Idempotency-Key", "k")
		return err
	})
	servicetest.Eventually(t, func() bool {
		var n int
		err := f.pool.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n)
		return err == nil && n == 1
	})
	a := f.keyed(t, other, "k", laptop)
	require.Equal(t, http.StatusConflict, a.Status, a.Body)
	require.Contains(t, a.Body, "/problems/request-in-flight")
	require.NoError(t, held.Commit())
	require.NoError(t, g.Wait())
	require.Equal(t, http.StatusCreated, first.Status, first.Body)
	requireReplay(t, first, f.keyed(t, other, "k", laptop))
}

// Clicks of many impatient clients at two replicas: one order a key.
func TestManyClicksAreOneOrder(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.another(t).Ready(t)
	const n = 20
	var answers [n * 5]servicetest.Answer
	var g errgroup.Group
	for i := range answers {
		g.Go(func() (err error) {
			s := []*servicetest.Service{f.Service, other}[i%2]
			answers[i], err = s.Do(t.Context(), http.MethodPost, "/orders/", laptop, "Idempotency-Key", fmt.Sprint("k-", i%n))
			return err
		})
	}
	require.NoError(t, g.Wait())
	ids := map[int]string{}
	for i, a := range answers {
		if a.Status != http.StatusCreated {
			require.Equal(t, http.StatusConflict, a.Status, a.Body)
			continue
		}
		o := decoded(t, a)
		if first, ok := ids[i%n]; ok {
			require.Equal(t, first, o.ID, "two orders for one key")
		}
		ids[i%n] = o.ID
	}
	require.Len(t, ids, n)
	require.Equal(t, n, f.rows(t, "orders"))
}

// Orders, events and keys of a batch are of one transaction.
func TestBatchWithKeysIsOneCommit(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.Stop() // so that the relay leaves the outbox alone
	var requests []idempotency.Request[order.Draft]
	for i := range 40 {
		draft := order.Draft{UserID: 1, Item: "Laptop", Price: 1999}
		value := ""
		if i%2 == 0 {
			value = strconv.Itoa(i)
		}
		key, err := idempotency.NewKey(1, "place", value, draft)
		require.NoError(t, err)
		requests = append(requests, idempotency.Request[order.Draft]{Key: key, Body: draft})
	}
	_, err := order.NewService(f.store()).Place(t.Context(), requests)
	require.NoError(t, err)
	var rows, transactions int
	require.NoError(t, f.pool.QueryRowContext(t.Context(), `SELECT count(*), count(DISTINCT x) FROM (
		SELECT xmin::text AS x FROM orders.orders UNION ALL SELECT xmin::text FROM orders.outbox UNION ALL SELECT xmin::text FROM orders.idempotency_keys) t`).
		Scan(&rows, &transactions))
	require.Equal(t, 40+40+20, rows)
	require.Equal(t, 1, transactions)
}
