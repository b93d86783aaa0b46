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

func placeWithKey(t *testing.T, s *servicetest.Service, key, body string) servicetest.Answer {
	t.Helper()
	return s.Send(t, http.MethodPost, "/orders/", body, "Idempotency-Key", key)
}

// requireReplay requires that got is the stored response to the first request.
func requireReplay(t *testing.T, first, got servicetest.Answer) {
	t.Helper()
	require.Equal(t, "true", got.Header.Get("Idempotent-Replayed"), got.Body)
	require.Equal(t, first.Status, got.Status)
	require.Equal(t, first.Body, got.Body)
	require.Equal(t, first.Header.Get("Location"), got.Header.Get("Location"))
}

func TestOrderIsPlacedOncePerKey(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	first := placeWithKey(t, f.Service, "k", laptop)
	require.Equal(t, http.StatusCreated, first.Status, first.Body)
	require.Empty(t, first.Header.Get("Idempotent-Replayed"))
	o := decodeOrder(t, first)
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 1999})
	f.waitForStatus(t, o.ID, "PAID")
	for _, s := range []*servicetest.Service{f.Service, other} {
		requireReplay(t, first, placeWithKey(t, s, `"k"`, laptop))
	}
	reused := placeWithKey(t, other, "k", `{"user_id":1,"item":"Laptop","price":20}`)
	require.Equal(t, http.StatusUnprocessableEntity, reused.Status)
	require.Contains(t, reused.Body, "/problems/idempotency-key-reused")
	require.Equal(t, http.StatusCreated, placeWithKey(t, f.Service, "k", `{"user_id":2,"item":"Laptop","price":20}`).Status, "keys are scoped to the user")
	require.Equal(t, 2, f.rows(t, "orders"))

	// Keys are scoped to the operation: this one is new to the cancellation.
	cancelled := f.cancel(t, o.ID, "Idempotency-Key", "k")
	require.Equal(t, http.StatusAccepted, cancelled.Status, cancelled.Body)
	f.broker.PublishEvent(t, id(t), events.PaymentRefunded{OrderID: o.ID, UserID: 1, Amount: 1999, ChargedAt: time.Now().UTC(), RefundedAt: time.Now().UTC()})
	f.waitForStatus(t, o.ID, "CANCELLED")
	requireReplay(t, cancelled, f.cancel(t, o.ID, "Idempotency-Key", "k"))
	second := f.place(t, 1, "1")
	require.Equal(t, http.StatusUnprocessableEntity, f.cancel(t, second.ID, "Idempotency-Key", "k").Status)
}

// The process dies after the commit and before the response. The client's retry gets the
// stored response.
func TestRetryAfterACrashBetweenCommitAndResponse(t *testing.T) {
	t.Parallel()
	f := start(t)
	draft := order.Draft{UserID: 1, Item: "Laptop", Price: 1999}
	key, err := idempotency.NewKey(1, "place", "k", draft)
	require.NoError(t, err)
	done, err := order.NewService(f.store()).Place(t.Context(), []idempotency.Request[order.Draft]{{Key: key, Body: draft}})
	require.NoError(t, err) // the process dies here
	got := placeWithKey(t, f.Service, "k", laptop)
	require.Equal(t, http.StatusCreated, got.Status, got.Body)
	require.Equal(t, "true", got.Header.Get("Idempotent-Replayed"))
	o := decodeOrder(t, got)
	require.Equal(t, done[0].Value.ID.String(), o.ID)
	require.Equal(t, o, f.order(t, o.ID))
	require.Equal(t, 1, f.rows(t, "orders"))
}

// The first request hangs between its effect and its commit. A retry is rejected at once as in
// flight, and gets the stored response after the commit.
func TestRetryOfAnOrderInFlight(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	// The trigger polls, because a wait for a lock would time out and roll the transaction back.
	f.database.Do(t, `
		CREATE FUNCTION public.hang() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN WHILE NOT pg_try_advisory_xact_lock(1) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NEW; END$$;
		CREATE TRIGGER hang BEFORE INSERT ON orders.idempotency_keys FOR EACH ROW EXECUTE FUNCTION public.hang()`)
	release := f.database.Hold(t, "SELECT pg_advisory_xact_lock(1)")
	var first servicetest.Answer
	var g errgroup.Group
	g.Go(func() (err error) {
		first, err = f.Do(t.Context(), http.MethodPost, "/orders/", laptop, "Idempotency-Key", "k")
		return err
	})
	servicetest.Eventually(t, func() bool {
		var n int
		err := f.pool.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'").Scan(&n)
		return err == nil && n == 1
	})
	got := placeWithKey(t, other, "k", laptop)
	require.Equal(t, http.StatusConflict, got.Status, got.Body)
	require.Contains(t, got.Body, "/problems/request-in-flight")
	release()
	require.NoError(t, g.Wait())
	require.Equal(t, http.StatusCreated, first.Status, first.Body)
	requireReplay(t, first, placeWithKey(t, other, "k", laptop))
}

// Clients send concurrent requests with the same keys to two replicas. One order is placed per
// key.
func TestConcurrentRetriesPlaceOneOrderPerKey(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	const n = 20
	var responses [n * 5]servicetest.Answer
	var g errgroup.Group
	for i := range responses {
		g.Go(func() (err error) {
			s := []*servicetest.Service{f.Service, other}[i%2]
			responses[i], err = s.Do(t.Context(), http.MethodPost, "/orders/", laptop, "Idempotency-Key", fmt.Sprint("k-", i%n))
			return err
		})
	}
	require.NoError(t, g.Wait())
	ids := map[int]string{}
	for i, got := range responses {
		if got.Status != http.StatusCreated {
			require.Equal(t, http.StatusConflict, got.Status, got.Body)
			continue
		}
		o := decodeOrder(t, got)
		if first, ok := ids[i%n]; ok {
			require.Equal(t, first, o.ID, "two orders for one key")
		}
		ids[i%n] = o.ID
	}
	require.Len(t, ids, n)
	require.Equal(t, n, f.rows(t, "orders"))
}

// The orders, events and keys of a batch are written in one transaction.
func TestBatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.Stop() // the relay would delete rows from the outbox
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
	require.Equal(t, 40+1+20, rows) // the events share a row
	require.Equal(t, 1, transactions)
}
