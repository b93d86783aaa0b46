package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/service/participant"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/containertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

// fixture is a payments service with its database and virtual host.
type fixture struct {
	*servicetest.Service
	database *databasetest.Database
	pool     *sql.DB
	broker   *brokertest.Broker
	replies  []events.Envelope // received, but not returned by reply yet
}

func start(t *testing.T, settings ...string) *fixture {
	t.Helper()
	f := &fixture{database: databasetest.New(t), broker: brokertest.New(t)}
	f.pool, _ = f.database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t, settings...).Ready(t)
	return f
}

// startReplica starts a service on the database and virtual host of the fixture.
func (f *fixture) startReplica(t *testing.T, settings ...string) *servicetest.Service {
	t.Helper()
	return servicetest.Start(t, program(&participant.Config{}), f.database.URL("payments"), f.broker.URL(broker.PaymentsUser), settings...)
}

func (f *fixture) topUp(t *testing.T, user int64, balance string) {
	t.Helper()
	status, body := f.Call(t, http.MethodPost, "/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":%s}`, user, balance))
	require.Less(t, status, 300, body)
}

func (f *fixture) balance(t *testing.T, user int64) string {
	t.Helper()
	var a struct{ Balance json.Number }
	f.Get(t, fmt.Sprintf("/accounts/%d", user), &a)
	return a.Balance.String()
}

// order publishes a new order of amount kopeks in a new message.
func (f *fixture) order(t *testing.T, user, amount int64) events.OrderCreated {
	t.Helper()
	e := events.OrderCreated{OrderID: id(t).String(), UserID: user, Amount: amount}
	f.broker.PublishEvent(t, id(t), e)
	return e
}

// cancel publishes the cancellation of an order in a new message.
func (f *fixture) cancel(t *testing.T, o events.OrderCreated) {
	t.Helper()
	f.broker.PublishEvent(t, id(t), events.OrderCancelRequested(o))
}

// reply returns the next event from payments_queue.
func (f *fixture) reply(t *testing.T) events.Envelope {
	t.Helper()
	if len(f.replies) == 0 {
		f.replies = f.broker.GetEvents(t, broker.PaymentsQueue)
	}
	e := f.replies[0]
	f.replies = f.replies[1:]
	return e
}

// decision returns the next message from payments_queue, which must be the reply to an order.
// reason is "" if the payment succeeded.
func (f *fixture) decision(t *testing.T) (orderID string, reason events.FailureReason) {
	t.Helper()
	e := f.reply(t)
	if e.Type == events.TypePaymentSucceeded {
		return e.Subject, ""
	}
	require.Equal(t, events.TypePaymentFailed, e.Type)
	var failed events.PaymentFailed
	require.NoError(t, e.Decode(&failed))
	return e.Subject, failed.Reason
}

// count waits until query returns want.
func (f *fixture) count(t *testing.T, want int, query string, args ...any) {
	t.Helper()
	var got int
	servicetest.Eventually(t, func() bool {
		return f.pool.QueryRowContext(t.Context(), query, args...).Scan(&got) == nil && got == want
	}, "%s: want %d", query, want)
}

// verify requires that every account matches its entries, and that the entries match the
// payments.
func (f *fixture) verify(t *testing.T) {
	t.Helper()
	for what, query := range map[string]string{
		"entries with a wrong seq or balance": `SELECT count(*) FROM (SELECT seq, row_number() OVER w AS n, balance_after,
			sum(CASE WHEN credit = 'user' THEN amount ELSE -amount END) OVER w AS sum FROM payments.entries
			WINDOW w AS (PARTITION BY user_id ORDER BY seq)) e WHERE seq <> n OR balance_after <> sum`,
		"wrong balances": `SELECT count(*) FROM payments.accounts a WHERE balance <> (SELECT coalesce(sum(
			CASE WHEN credit = 'user' THEN amount ELSE -amount END), 0) FROM payments.entries e WHERE e.user_id = a.user_id)`,
		"charges without a payment, or payments without a charge": `SELECT count(*) FROM
			(SELECT order_id, amount, user_id FROM payments.payments WHERE status IN ('succeeded', 'refunded')) p
			FULL JOIN (SELECT order_id, amount, user_id FROM payments.entries WHERE kind = 'charge') e USING (order_id, amount, user_id)
			WHERE p.order_id IS NULL OR e.order_id IS NULL`,
		"refunds without a payment, or refunded payments without a refund": `SELECT count(*) FROM
			(SELECT order_id, amount, user_id FROM payments.payments WHERE status = 'refunded') p
			FULL JOIN (SELECT order_id, amount, user_id FROM payments.entries WHERE kind = 'refund') e USING (order_id, amount, user_id)
			WHERE p.order_id IS NULL OR e.order_id IS NULL`,
		"orders charged or refunded twice": `SELECT count(*) FROM
			(SELECT 1 FROM payments.entries WHERE order_id IS NOT NULL GROUP BY order_id, kind HAVING count(*) > 1) e`,
	} {
		var n int
		require.NoError(t, f.pool.QueryRowContext(t.Context(), query).Scan(&n))
		require.Zero(t, n, what)
	}
}

func id(t testing.TB) uuid.UUID {
	t.Helper()
	v7, err := uuid.NewV7()
	require.NoError(t, err)
	return v7
}

func TestOrderIsCharged(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	o := f.order(t, 1, 99999)
	orderID, reason := f.decision(t)
	require.Equal(t, o.OrderID, orderID)
	require.Empty(t, reason)
	require.Equal(t, "0.01", f.balance(t, 1))
	f.verify(t)
}

func TestOrderIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.order(t, 1, 1)
	_, reason := f.decision(t)
	require.Equal(t, events.ReasonAccountNotFound, reason)
	f.topUp(t, 1, "10")
	f.order(t, 1, 1001)
	_, reason = f.decision(t)
	require.Equal(t, events.ReasonInsufficientFunds, reason)
	f.order(t, 1, 1000)
	_, reason = f.decision(t)
	require.Empty(t, reason)
	require.Equal(t, "0", f.balance(t, 1))
	f.verify(t)
}

func TestDuplicateMessageIsChargedOnce(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	message, e := id(t), events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 300}
	for range 5 {
		f.broker.PublishEvent(t, message, e)
	}
	f.order(t, 1, 100) // the queue is ordered, so the duplicates are processed before this
	first, _ := f.decision(t)
	second, _ := f.decision(t)
	require.Equal(t, e.OrderID, first)
	require.NotEqual(t, e.OrderID, second)
	require.Equal(t, "6", f.balance(t, 1))
	f.count(t, 0, "SELECT count(*) FROM payments.outbox")
	require.Zero(t, f.broker.Depth(t, broker.PaymentsQueue))
	f.verify(t)
}

func TestSameOrderInANewMessageAfterTheInboxWasPruned(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	paid, refused := f.order(t, 1, 1000), events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 1}
	_, reason := f.decision(t)
	require.Empty(t, reason)
	f.broker.PublishEvent(t, id(t), refused)
	_, reason = f.decision(t)
	require.Equal(t, events.ReasonInsufficientFunds, reason)

	_, err := f.pool.ExecContext(t.Context(), "DELETE FROM payments.inbox")
	require.NoError(t, err)
	f.topUp(t, 1, "50") // the balance is now sufficient for both
	f.broker.PublishEvent(t, id(t), paid)
	orderID, reason := f.decision(t)
	require.Equal(t, paid.OrderID, orderID)
	require.Empty(t, reason, "the original decision")
	f.broker.PublishEvent(t, id(t), refused)
	orderID, reason = f.decision(t)
	require.Equal(t, refused.OrderID, orderID)
	require.Equal(t, events.ReasonInsufficientFunds, reason, "a refused payment stays refused")
	require.Equal(t, "50", f.balance(t, 1))
	f.verify(t)
}

func TestTwoConsumersNeverOverdraw(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.startReplica(t).Ready(t)
	f.topUp(t, 1, "37")
	for range 100 {
		f.order(t, 1, 100)
	}
	f.count(t, 100, "SELECT count(*) FROM payments.payments")
	f.count(t, 37, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, "0", f.balance(t, 1))
	f.verify(t)
}

func TestPoisonGoesToTheDeadLetterQueueAndItsNeighborsSettle(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	poison := []string{
		`not JSON`, `{}`, `[]`, `{"specversion":"1.0","id":"x","type":"order.created.v1","data":{}}`,
		`{"specversion":"1.0","id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","type":"order.exploded.v1","data":{}}`,
		`{"specversion":"1.0","id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","type":"order.created.v1","data":{"order_id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","user_id":1,"amount_minor":-100}}`,
		`{"specversion":"1.0","id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","type":"order.created.v1","data":{"order_id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","user_id":1,"amount_minor":0}}`,
		`{"specversion":"1.0","id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","type":"order.created.v1","data":{"order_id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","user_id":1,"amount_minor":"1"}}`,
	}
	for _, body := range poison {
		f.order(t, 1, 100)
		f.broker.Publish(t, events.TypeOrderCreated, []byte(body))
	}
	for range poison {
		_, reason := f.decision(t)
		require.Empty(t, reason)
	}
	var dead []string
	for range poison {
		dead = append(dead, string(f.broker.Get(t, broker.OrdersQueue+broker.DeadSuffix).Body))
	}
	require.ElementsMatch(t, poison, dead)
	require.Equal(t, "2", f.balance(t, 1))
	require.InDelta(t, len(poison), f.Metric(t, `consumer_messages_total{outcome="dead_lettered"}`), 0)
	f.verify(t)
}

func TestStopInMidStreamLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	const n = 400
	for i := range n {
		f.order(t, 1, 100)
		if i%100 == 99 { // stop with messages in flight; a new replica continues
			f.Stop()
			f.Service = f.startReplica(t).Ready(t)
		}
	}
	f.count(t, n, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, "600", f.balance(t, 1))
	f.verify(t)
}

func TestEntriesAreAppendOnlyAndBalancesAreNeverNegative(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	for _, statement := range []string{
		"UPDATE payments.entries SET amount = 1", "DELETE FROM payments.entries", "TRUNCATE payments.entries",
		"SELECT 1 FROM orders.outbox",
	} {
		_, err := f.database.As(t, "payments").ExecContext(t.Context(), statement)
		require.ErrorContains(t, err, "permission denied", statement)
	}
	_, err := f.pool.ExecContext(t.Context(), "UPDATE payments.accounts SET balance = balance - $1", 1000+rand.Int64N(1000)+1)
	require.ErrorContains(t, err, "violates check constraint")
}
