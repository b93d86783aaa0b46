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

// fixture is a database, a virtual host and one payments service on them.
type fixture struct {
	*servicetest.Service
	database *databasetest.Database
	pool     *sql.DB
	broker   *brokertest.Broker
}

func start(t *testing.T, settings ...string) *fixture {
	t.Helper()
	f := &fixture{database: databasetest.New(t), broker: brokertest.New(t)}
	f.pool, _ = f.database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.another(t, settings...).Ready(t)
	return f
}

// another starts one more service on the same database and virtual host.
func (f *fixture) another(t *testing.T, settings ...string) *servicetest.Service {
	t.Helper()
	return servicetest.Start(t, program(&participant.Config{}), f.database.URL("payments"), f.broker.URL(), settings...)
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

// order publishes an order of amount kopeks in a message of its own.
func (f *fixture) order(t *testing.T, user, amount int64) events.OrderCreated {
	t.Helper()
	e := events.OrderCreated{OrderID: id(t).String(), UserID: user, Amount: amount}
	f.broker.PublishEvent(t, id(t), e)
	return e
}

// cancel publishes the cancellation of an order in a message of its own.
func (f *fixture) cancel(t *testing.T, o events.OrderCreated) {
	t.Helper()
	f.broker.PublishEvent(t, id(t), events.OrderCancelRequested(o))
}

// answer takes the next message from payments_queue.
func (f *fixture) answer(t *testing.T) events.Envelope {
	t.Helper()
	e, err := events.Parse(f.broker.Get(t, broker.PaymentsQueue).Body)
	require.NoError(t, err)
	return e
}

// result takes the next result from payments_queue: the reason, "" when it succeeded.
func (f *fixture) result(t *testing.T) (orderID string, reason events.FailureReason) {
	t.Helper()
	e := f.answer(t)
	if e.Type == events.TypePaymentSucceeded {
		return e.Subject, ""
	}
	require.Equal(t, events.TypePaymentFailed, e.Type)
	var failed events.PaymentFailed
	require.NoError(t, e.Decode(&failed))
	return e.Subject, failed.Reason
}

// count waits until a query gives want.
func (f *fixture) count(t *testing.T, want int, query string, args ...any) {
	t.Helper()
	var got int
	servicetest.Eventually(t, func() bool {
		return f.pool.QueryRowContext(t.Context(), query, args...).Scan(&got) == nil && got == want
	}, "%s: want %d", query, want)
}

// sound checks every account against its entries, and the entries against the payments.
func (f *fixture) sound(t *testing.T) {
	t.Helper()
	for what, query := range map[string]string{
		"broken statements": `SELECT count(*) FROM (SELECT seq, row_number() OVER w AS n, balance_after,
			sum(CASE WHEN credit = 'user' THEN amount ELSE -amount END) OVER w AS sum FROM payments.entries
			WINDOW w AS (PARTITION BY user_id ORDER BY seq)) e WHERE seq <> n OR balance_after <> sum`,
		"wrong balances": `SELECT count(*) FROM payments.accounts a WHERE balance <> (SELECT coalesce(sum(
			CASE WHEN credit = 'user' THEN amount ELSE -amount END), 0) FROM payments.entries e WHERE e.user_id = a.user_id)`,
		"charges without their payment, or payments without their charge": `SELECT count(*) FROM
			(SELECT order_id, amount, user_id FROM payments.payments WHERE status IN ('succeeded', 'refunded')) p
			FULL JOIN (SELECT order_id, amount, user_id FROM payments.entries WHERE kind = 'charge') e USING (order_id, amount, user_id)
			WHERE p.order_id IS NULL OR e.order_id IS NULL`,
		"refunds without their payment, or refunded payments without their refund": `SELECT count(*) FROM
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
	orderID, reason := f.result(t)
	require.Equal(t, o.OrderID, orderID)
	require.Empty(t, reason)
	require.Equal(t, "0.01", f.balance(t, 1))
	f.sound(t)
}

func TestOrderIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.order(t, 1, 1)
	_, reason := f.result(t)
	require.Equal(t, events.ReasonAccountNotFound, reason)
	f.topUp(t, 1, "10")
	f.order(t, 1, 1001)
	_, reason = f.result(t)
	require.Equal(t, events.ReasonInsufficientFunds, reason)
	f.order(t, 1, 1000)
	_, reason = f.result(t)
	require.Empty(t, reason)
	require.Equal(t, "0", f.balance(t, 1))
	f.sound(t)
}

func TestDuplicateMessageIsChargedOnce(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	message, e := id(t), events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 300}
	for range 5 {
		f.broker.PublishEvent(t, message, e)
	}
	f.order(t, 1, 100) // the queue is one: when this is answered, the five were handled
	first, _ := f.result(t)
	second, _ := f.result(t)
	require.Equal(t, e.OrderID, first)
	require.NotEqual(t, e.OrderID, second)
	require.Equal(t, "6", f.balance(t, 1))
	f.count(t, 0, "SELECT count(*) FROM payments.outbox")
	require.Zero(t, f.broker.Depth(t, broker.PaymentsQueue))
	f.sound(t)
}

func TestSameOrderInANewMessageAfterTheInboxWasPruned(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	paid, refused := f.order(t, 1, 1000), events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 1}
	_, reason := f.result(t)
	require.Empty(t, reason)
	f.broker.PublishEvent(t, id(t), refused)
	_, reason = f.result(t)
	require.Equal(t, events.ReasonInsufficientFunds, reason)

	_, err := f.pool.ExecContext(t.Context(), "DELETE FROM payments.inbox")
	require.NoError(t, err)
	f.topUp(t, 1, "50") // now there would be money for both
	f.broker.PublishEvent(t, id(t), paid)
	orderID, reason := f.result(t)
	require.Equal(t, paid.OrderID, orderID)
	require.Empty(t, reason, "the answer is the old one")
	f.broker.PublishEvent(t, id(t), refused)
	orderID, reason = f.result(t)
	require.Equal(t, refused.OrderID, orderID)
	require.Equal(t, events.ReasonInsufficientFunds, reason, "refused stays refused")
	require.Equal(t, "50", f.balance(t, 1))
	f.sound(t)
}

func TestTwoConsumersNeverOverdraw(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.another(t).Ready(t)
	f.topUp(t, 1, "37")
	for range 100 {
		f.order(t, 1, 100)
	}
	f.count(t, 100, "SELECT count(*) FROM payments.payments")
	f.count(t, 37, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, "0", f.balance(t, 1))
	f.sound(t)
}

func TestPoisonGoesToTheDeadLetterQueueAndItsNeighboursSettle(t *testing.T) {
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
		_, reason := f.result(t)
		require.Empty(t, reason)
	}
	var dead []string
	for range poison {
		dead = append(dead, string(f.broker.Get(t, broker.OrdersQueue+broker.DeadSuffix).Body))
	}
	require.ElementsMatch(t, poison, dead)
	require.Equal(t, "2", f.balance(t, 1))
	require.InDelta(t, len(poison), f.Metric(t, `consumer_messages_total{outcome="dead_lettered"}`), 0)
	f.sound(t)
}

func TestStopInMidStreamLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	const n = 400
	for i := range n {
		f.order(t, 1, 100)
		if i%100 == 99 { // it is stopped with work in hand, and another takes over
			f.Stop()
			f.Service = f.another(t).Ready(t)
		}
	}
	f.count(t, n, "SELECT count(*) FROM payments.payments WHERE status = 'succeeded'")
	require.Equal(t, "600", f.balance(t, 1))
	f.sound(t)
}

func TestEntriesAreAppendOnlyAndBalancesHaveAFloor(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "10")
	for _, statement := range []string{
		"UPDATE payments.entries SET amount = 1", "DELETE FROM payments.entries", "TRUNCATE payments.entries",
		"SELECT 1 FROM orders.outbox",
	} {
		_, err := f.pool.ExecContext(t.Context(), statement)
		require.ErrorContains(t, err, "permission denied", statement)
	}
	_, err := f.pool.ExecContext(t.Context(), "UPDATE payments.accounts SET balance = balance - $1", 1000+rand.Int64N(1000)+1)
	require.ErrorContains(t, err, "violates check constraint")
}
