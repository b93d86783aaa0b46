package main

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/servicetest"
)

func TestCancellationRefundsACharge(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	o := f.order(t, 1, 300)
	var succeeded events.PaymentSucceeded
	require.NoError(t, f.reply(t).Decode(&succeeded))
	require.WithinDuration(t, time.Now(), succeeded.ChargedAt, time.Minute)
	for range 2 { // the second cancellation is a new message
		f.cancel(t, o)
		e := f.reply(t)
		require.Equal(t, events.TypePaymentRefunded, e.Type)
		var refunded events.PaymentRefunded
		require.NoError(t, e.Decode(&refunded))
		require.Equal(t, succeeded.ChargedAt, refunded.ChargedAt)
		require.False(t, refunded.RefundedAt.Before(refunded.ChargedAt))
	}
	require.Equal(t, "10", f.balance(t, 1))
	var statement struct {
		Entries []struct {
			Kind    string
			OrderID string `json:"order_id"`
		}
	}
	f.Get(t, "/accounts/1/entries", &statement)
	require.Len(t, statement.Entries, 3, "the charge is refunded once")
	require.Equal(t, "refund", statement.Entries[0].Kind)
	require.Equal(t, o.OrderID, statement.Entries[0].OrderID)
	f.verify(t)
}

func TestCancellationBeforeItsOrder(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	o := events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 300}
	f.cancel(t, o)
	require.Equal(t, events.TypePaymentVoided, f.reply(t).Type)
	_, err := f.pool.ExecContext(t.Context(), "DELETE FROM payments.inbox")
	require.NoError(t, err)
	for range 2 {
		f.broker.PublishEvent(t, id(t), o)
		require.Equal(t, events.TypePaymentVoided, f.reply(t).Type)
	}
	require.Equal(t, "10", f.balance(t, 1))
	f.count(t, 1, "SELECT count(*) FROM payments.payments WHERE status = 'voided'")
	f.verify(t)
}

func TestCancellationOfARefusedOrderMovesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.order(t, 1, 300)
	require.Equal(t, events.TypePaymentFailed, f.reply(t).Type)
	f.cancel(t, o)
	e := f.reply(t)
	require.Equal(t, events.TypePaymentVoided, e.Type)
	var voided events.PaymentVoided
	require.NoError(t, e.Decode(&voided))
	require.False(t, voided.RefusedAt.IsZero())
	require.Equal(t, http.StatusNotFound, f.Send(t, http.MethodGet, "/accounts/1", "").Status)
	f.verify(t)
}

func TestContradictoryMessageIsDeadLettered(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	o := f.order(t, 1, 300)
	f.reply(t)
	o.Amount = 100_000
	f.cancel(t, o)
	e, err := events.Parse(f.broker.Get(t, broker.OrdersQueue+broker.DeadSuffix).Body)
	require.NoError(t, err)
	require.Equal(t, o.OrderID, e.Subject)
	require.Equal(t, "7", f.balance(t, 1))
	f.verify(t)
}

// Orders and their cancellations race through two replicas, in any order and with repeated
// messages, while connections are dropped. Each order ends cancelled, and every charge is
// refunded.
func TestRacingCancellationsRefundExactlyOnce(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.startReplica(t).Ready(t)
	const users, each = 4, 40
	for user := range int64(users) {
		f.topUp(t, user+1, "20") // less than the sum of the orders, so some are refused
	}
	for i := range each {
		if i == each/2 {
			f.broker.DropConnections(t, "payments")
		}
		for user := range int64(users) {
			o := events.OrderCreated{OrderID: id(t).String(), UserID: user + 1, Amount: 1 + rand.Int64N(300)}
			created, cancelled := id(t), id(t)
			messages := []struct {
				id uuid.UUID
				e  events.Event
			}{{created, o}, {cancelled, events.OrderCancelRequested(o)}, {created, o}, {cancelled, events.OrderCancelRequested(o)}, {id(t), o}}
			rand.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
			for _, m := range messages {
				f.broker.PublishEvent(t, m.id, m.e)
			}
		}
	}
	f.count(t, users*each, "SELECT count(*) FROM payments.payments")
	f.count(t, users*each*3, "SELECT count(*) FROM payments.inbox")
	f.count(t, 0, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	for user := range int64(users) {
		require.Equal(t, "20", f.balance(t, user+1))
	}
	require.Zero(t, f.broker.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
	f.verify(t)
}

func TestDepositIsMadeOncePerKey(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	const body = `{"user_id":1,"balance":10}`
	first := f.Send(t, http.MethodPost, "/accounts/", body, "Idempotency-Key", `"k-1"`)
	require.Equal(t, http.StatusCreated, first.Status, first.Body)
	require.Empty(t, first.Header.Get("Idempotent-Replayed"))
	f.topUp(t, 1, "5")
	for i, retry := range []string{body, `{ "balance": 10.00, "user_id": 1 }`} { // to another replica, formatted differently
		a := other.Send(t, http.MethodPost, "/accounts", retry, "Idempotency-Key", []string{"k-1", `"k-1"`}[i])
		require.Equal(t, "true", a.Header.Get("Idempotent-Replayed"))
		require.Equal(t, first.Status, a.Status)
		require.Equal(t, first.Body, a.Body)
		require.Equal(t, first.Header.Get("Location"), a.Header.Get("Location"))
	}
	a := f.Send(t, http.MethodPost, "/accounts/", `{"user_id":1,"balance":11}`, "Idempotency-Key", "k-1")
	require.Equal(t, http.StatusUnprocessableEntity, a.Status)
	require.Contains(t, a.Body, "/problems/idempotency-key-reused")
	a = f.Send(t, http.MethodPost, "/accounts/", `{"user_id":2,"balance":11}`, "Idempotency-Key", "k-1")
	require.Equal(t, http.StatusCreated, a.Status, "keys are scoped to the user")
	a = f.Send(t, http.MethodPost, "/accounts/", body, "Idempotency-Key", "not one")
	require.Equal(t, http.StatusBadRequest, a.Status)
	require.Contains(t, a.Body, `"parameter":"Idempotency-Key"`)
	require.Equal(t, "15", f.balance(t, 1))

	// Failures are not stored: a retry is processed like the first request.
	const tooMuch = `{"user_id":1,"balance":9999999999999.99}`
	for range 2 {
		a = f.Send(t, http.MethodPost, "/accounts/", tooMuch, "Idempotency-Key", "k-2")
		require.Equal(t, http.StatusUnprocessableEntity, a.Status)
		require.Contains(t, a.Body, "/problems/invalid-request")
	}
	f.verify(t)
}

// The first request hangs between its effect and its commit. A retry is rejected at once as in
// flight, and gets the stored response after the commit.
func TestRetryOfADepositInFlight(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	f.topUp(t, 1, "5")
	// The trigger polls, because a wait for a lock would time out and roll the transaction back.
	f.database.Do(t, `
		CREATE FUNCTION public.hang() RETURNS trigger LANGUAGE plpgsql AS
			$$BEGIN WHILE NOT pg_try_advisory_xact_lock(1) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NEW; END$$;
		CREATE TRIGGER hang BEFORE INSERT ON payments.idempotency_keys FOR EACH ROW EXECUTE FUNCTION public.hang()`)
	release := f.database.Hold(t, "SELECT pg_advisory_xact_lock(1)")

	const body = `{"user_id":1,"balance":10}`
	var first servicetest.Answer
	var g errgroup.Group
	g.Go(func() (err error) {
		first, err = f.Do(t.Context(), http.MethodPost, "/accounts/", body, "Idempotency-Key", "k")
		return err
	})
	f.count(t, 1, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'")
	a := other.Send(t, http.MethodPost, "/accounts/", body, "Idempotency-Key", "k")
	require.Equal(t, http.StatusConflict, a.Status, a.Body)
	require.Contains(t, a.Body, "/problems/request-in-flight")
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	release()
	require.NoError(t, g.Wait())
	require.Equal(t, http.StatusOK, first.Status, first.Body)
	a = other.Send(t, http.MethodPost, "/accounts/", body, "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, a.Status, a.Body)
	require.Equal(t, "true", a.Header.Get("Idempotent-Replayed"))
	require.Equal(t, "15", f.balance(t, 1))
}

// Clients retry on any replica before they have a response. Each deposit is made once.
func TestConcurrentRetriesOfDepositsAddUpOnce(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	const n = 30
	var g errgroup.Group
	for i := range n {
		g.Go(func() error {
			for j := range 4 {
				to := []*servicetest.Service{f.Service, other}[(i+j)%2]
				if _, err := to.Do(t.Context(), http.MethodPost, "/accounts/", `{"user_id":1,"balance":1}`, "Idempotency-Key", fmt.Sprintf("k-%d", i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.Equal(t, "30", f.balance(t, 1))
	f.verify(t)
}

// Earlier versions limited the balance, not the deposits, so a refund could raise a balance
// above the limit. A stored response with such a balance can be replayed.
func TestReplayOfABalanceAboveTheLimit(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "9999999999999.99")
	o := f.order(t, 1, 1000)
	f.reply(t)
	f.database.Do(t, "UPDATE payments.accounts SET deposited = balance WHERE user_id = 1")
	f.topUp(t, 1, "10")
	f.cancel(t, o)
	f.reply(t)
	require.Equal(t, "10000000000009.99", f.balance(t, 1))
	const open = `{"user_id":1,"balance":0}`
	first := f.Send(t, http.MethodPost, "/accounts/", open, "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, first.Status, first.Body)
	retry := f.Send(t, http.MethodPost, "/accounts/", open, "Idempotency-Key", "k")
	require.Equal(t, "true", retry.Header.Get("Idempotent-Replayed"))
	require.Equal(t, first.Body, retry.Body)
	f.verify(t)
}
