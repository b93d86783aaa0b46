package main

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

const succeededOf = "SELECT count(*) FROM payments.payments WHERE status = 'succeeded' AND user_id = $1"

// Another transaction holds the lock of one account. Only work for that account waits.
func TestLockedAccountDoesNotDelayOthers(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	f.topUp(t, 2, "1000")
	release := f.database.Hold(t, "SELECT FROM payments.accounts WHERE user_id = 1 FOR UPDATE")
	const n = 20
	for range n {
		f.order(t, 1, 100)
		f.order(t, 2, 100)
	}
	f.count(t, n, succeededOf, 2)
	f.topUp(t, 2, "1")
	f.topUp(t, 3, "1") // opens a new account

	got := f.Send(t, http.MethodPost, "/accounts/", `{"user_id":1,"balance":5}`)
	require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
	require.Contains(t, got.Body, "nothing was done")
	require.InDelta(t, n, f.Metric(t, "consumer_held_messages"), 0)

	release()
	f.count(t, n, succeededOf, 1)
	require.Equal(t, "980", f.balance(t, 1), "the rejected deposit was not made later")
	require.Equal(t, "981", f.balance(t, 2))
	f.verify(t)
}

// One user has more blocked messages than the consumer holds and than its prefetch limit. The
// messages behind them are still processed.
func TestThousandsOfHeldMessagesDoNotStopTheQueue(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10000")
	f.topUp(t, 2, "1000")
	release := f.database.Hold(t, "SELECT FROM payments.accounts WHERE user_id = 1 FOR UPDATE")
	const n = 1500
	for range n {
		f.order(t, 1, 100)
	}
	f.order(t, 2, 100)
	f.count(t, 1, succeededOf, 2)
	f.count(t, 0, succeededOf, 1)
	release()
	f.count(t, n, succeededOf, 1)
	require.Equal(t, "8500", f.balance(t, 1))
	require.Zero(t, f.broker.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
	f.verify(t)
}

// An uncommitted transaction claims the same message, opens the same account or stores the
// same key. Only the conflicting work waits for it.
func TestUncommittedRowsDoNotDelayOthers(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 2, "1000")
	message := id(t)
	order := f.order(t, 2, 100)
	f.count(t, 1, succeededOf, 2)
	releaseMessage := f.database.Hold(t, "INSERT INTO payments.inbox (message_id) VALUES ($1)", message)
	f.database.Hold(t, "INSERT INTO payments.accounts (user_id, balance, seq, created_at) VALUES (3, 0, 0, now())")
	f.database.Hold(t, `INSERT INTO payments.idempotency_keys (user_id, operation, key, fingerprint, result)
		VALUES (2, 'deposit', 'held', '', '{}')`)

	f.broker.PublishEvent(t, message, order)
	for range 20 {
		f.order(t, 2, 100)
	}
	f.count(t, 21, succeededOf, 2)
	rejected := make(chan servicetest.Answer, 2)
	errs := make(chan error, 2)
	for _, request := range []struct{ body, key string }{{`{"user_id":3,"balance":5}`, ""}, {`{"user_id":2,"balance":5}`, "held"}} {
		go func() {
			var header []string
			if request.key != "" {
				header = []string{"Idempotency-Key", request.key}
			}
			got, err := f.Do(t.Context(), http.MethodPost, "/accounts/", request.body, header...)
			rejected <- got
			errs <- err
		}()
	}
	for i := range 20 {
		started := time.Now()
		f.topUp(t, int64(10+i), "1")
		require.Less(t, time.Since(started), 5*time.Second, "it must not wait for the conflicting requests, which time out after 8 seconds")
	}
	for range 2 {
		require.NoError(t, <-errs)
		got := <-rejected
		require.Equal(t, http.StatusServiceUnavailable, got.Status, got.Body)
		require.Contains(t, got.Body, "nothing was done")
	}
	releaseMessage()
	f.count(t, 1, "SELECT count(*) FROM payments.inbox WHERE message_id = $1", message)
	require.Equal(t, "979", f.balance(t, 2))
	f.verify(t)
}

// An account causes an unexpected error. Its orders are retried and then dead-lettered with
// the reason. Orders of other accounts are not delayed.
func TestBrokenAccountIsDeadLetteredAndItsNeighborsSettle(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ statement, reason string }{
		"seq behind the entries": {"UPDATE payments.accounts SET seq = seq - 1 WHERE user_id = 1", "23505"},
		"corrupt page": {`
			CREATE FUNCTION public.corrupt() RETURNS trigger LANGUAGE plpgsql AS
				$$BEGIN RAISE EXCEPTION 'invalid page in block 0' USING ERRCODE = 'XX001'; END$$;
			CREATE TRIGGER corrupt BEFORE UPDATE ON payments.accounts FOR EACH ROW WHEN (OLD.user_id = 1) EXECUTE FUNCTION public.corrupt()`, "XX001"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, "DEAD_LETTER_AFTER", "2s")
			f.topUp(t, 1, "1000")
			f.topUp(t, 2, "1000")
			f.database.Do(t, tc.statement)
			broken := f.order(t, 1, 100)
			for range 20 {
				f.order(t, 2, 100)
			}
			f.count(t, 20, succeededOf, 2)
			dead := f.broker.Get(t, broker.OrdersQueue+broker.DeadSuffix)
			require.Contains(t, string(dead.Body), broken.OrderID)
			require.Contains(t, dead.Headers[broker.HeaderReason], tc.reason)
			require.NotEmpty(t, dead.Headers[broker.HeaderFailedAt])
			require.Equal(t, "order.created.v1", dead.Headers[broker.HeaderRoutingKey])
			require.Positive(t, f.Metric(t, `consumer_messages_total{outcome="retried"}`), "retried before it is dead-lettered")
			require.InDelta(t, 1, f.Metric(t, `consumer_messages_total{outcome="dead_lettered"}`), 0)

			status, body := f.Call(t, http.MethodPost, "/accounts/", `{"user_id":1,"balance":5}`)
			require.Equal(t, http.StatusInternalServerError, status, body)
			f.topUp(t, 2, "1")
			require.Equal(t, "981", f.balance(t, 2))
		})
	}
}

// A missing privilege is not caused by a message. Messages are held, not dead-lettered.
func TestMissingPrivilegeDeadLettersNothing(t *testing.T) {
	t.Parallel()
	f := &fixture{database: databasetest.New(t), broker: brokertest.New(t)}
	f.pool, _ = f.database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t, "DEAD_LETTER_AFTER", "100ms").Ready(t)
	f.topUp(t, 1, "1000")
	f.database.Do(t, "REVOKE INSERT ON payments.payments FROM payments")
	for range 20 {
		f.order(t, 1, 100)
	}
	for f.Metric(t, `consumer_messages_total{outcome="retried"}`) < 3 {
		require.NoError(t, t.Context().Err())
	}
	f.database.Do(t, "GRANT INSERT ON payments.payments TO payments")
	f.count(t, 20, succeededOf, 1)
	require.Zero(t, f.broker.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
	require.Equal(t, "980", f.balance(t, 1))
}

func TestChangedTablesFailNoRequest(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "100000")
	n := 0
	f.database.ChangeTables(t, postgres.Schema, func() {
		for range 12 { // more than connections in the pool, because each caches its statements
			n++
			got := f.Send(t, http.MethodPost, "/accounts/", `{"user_id":1,"balance":1}`, "Idempotency-Key", strconv.Itoa(n))
			require.Equal(t, http.StatusOK, got.Status, got.Body)
			for _, read := range []string{"/accounts/1", "/accounts/1/entries"} {
				got := f.Send(t, http.MethodGet, read, "")
				require.Equal(t, http.StatusOK, got.Status, got.Body)
			}
			f.order(t, 1, 100)
		}
		f.count(t, n, succeededOf, 1)
	})
	f.verify(t)
}
