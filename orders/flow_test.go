package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/postgres"
	"gozon/orders/migrations"
	"gozon/shared/contract/events"
	"gozon/shared/delivery"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/containertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

func TestMain(m *testing.M) { os.Exit(containertest.Main(m)) }

// fixture is an orders service with its database and virtual host.
type fixture struct {
	*servicetest.Service
	database *databasetest.Database
	pool     *sql.DB
	db       *database.DB
	broker   *brokertest.Broker
}

// start starts a service on a new database and virtual host and waits until it is ready.
func start(t *testing.T) *fixture {
	t.Helper()
	f := startOn(t, databasetest.New(t), brokertest.New(t))
	f.Ready(t)
	return f
}

// startOn starts a service on a database and a virtual host. It does not wait for the service.
func startOn(t *testing.T, database *databasetest.Database, vhost *brokertest.Broker, settings ...string) *fixture {
	t.Helper()
	f := &fixture{database: database, broker: vhost}
	f.pool, f.db = f.database.Open(t, postgres.Schema, migrations.FS)
	f.Service = f.startReplica(t, settings...)
	return f
}

// store returns a store on the database of the service.
func (f *fixture) store() *postgres.Store {
	return postgres.NewStore(delivery.NewStore(delivery.Config{EventsPerMessage: 256}, f.db, postgres.Schema))
}

// startReplica starts a service on the database and virtual host of the fixture.
func (f *fixture) startReplica(t *testing.T, settings ...string) *servicetest.Service {
	t.Helper()
	return servicetest.Start(t, program(&config{}), f.database.URL("orders"), f.broker.URL(broker.OrdersUser), settings...)
}

// orderJSON is an order in a response.
type orderJSON struct {
	ID           string
	UserID       int64 `json:"user_id"`
	Item         string
	Price        json.Number
	Status       string
	CancelReason string `json:"cancel_reason"`
	Version      int
	CreatedAt    time.Time `json:"created_at"`
	UpdatedAt    time.Time `json:"updated_at"`
	Timeline     []step
}

type step struct {
	Step string
	At   time.Time
}

func (o orderJSON) steps() []string {
	var names []string
	for _, s := range o.Timeline {
		names = append(names, s.Step)
	}
	return names
}

func (f *fixture) place(t *testing.T, user int64, price string) orderJSON {
	t.Helper()
	status, body := f.Call(t, http.MethodPost, "/orders/", fmt.Sprintf(`{"user_id":%d,"item":"Laptop","price":%s}`, user, price))
	require.Equal(t, http.StatusCreated, status, body)
	var o orderJSON
	require.NoError(t, json.Unmarshal([]byte(body), &o))
	return o
}

func (f *fixture) order(t *testing.T, orderID string) orderJSON {
	t.Helper()
	var o orderJSON
	f.Get(t, "/orders/"+orderID, &o)
	return o
}

// waitForStatus waits until the order has the status and returns the order.
func (f *fixture) waitForStatus(t *testing.T, orderID, status string) orderJSON {
	t.Helper()
	servicetest.Eventually(t, func() bool { return f.order(t, orderID).Status == status })
	return f.order(t, orderID)
}

// waitForOutcome waits until n payment results have had the outcome.
func (f *fixture) waitForOutcome(t *testing.T, outcome string, n float64) {
	t.Helper()
	servicetest.Eventually(t, func() bool {
		return f.Metric(t, `payment_results_total{outcome="`+outcome+`"}`) == n
	}, outcome)
}

func (f *fixture) rows(t *testing.T, table string) int {
	t.Helper()
	var n int
	require.NoError(t, f.pool.QueryRowContext(t.Context(), "SELECT count(*) FROM orders."+table).Scan(&n))
	return n
}

func id(t testing.TB) uuid.UUID {
	t.Helper()
	v7, err := uuid.NewV7()
	require.NoError(t, err)
	return v7
}

func TestOrderIsPlacedAndPublished(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 7, "19.90")
	require.Equal(t, "NEW", o.Status)
	require.Equal(t, 1, o.Version)
	require.Equal(t, "19.9", o.Price.String())
	require.WithinDuration(t, time.Now(), o.CreatedAt, time.Minute)
	require.Equal(t, o, f.order(t, o.ID), "the response and a later read agree")
	require.Equal(t, o, f.order(t, o.ID+"/"))

	message := f.broker.Get(t, broker.OrdersQueue)
	require.EqualValues(t, 2, message.DeliveryMode, "the message is persistent")
	e, err := events.Parse(message.Body)
	require.NoError(t, err)
	require.Equal(t, message.MessageId, e.ID)
	require.Equal(t, o.ID, e.Subject)
	var created events.OrderCreated
	require.NoError(t, e.Decode(&created))
	require.Equal(t, events.OrderCreated{OrderID: o.ID, UserID: 7, Amount: 1990}, created)
	servicetest.Eventually(t, func() bool { return f.rows(t, "outbox") == 0 })
}

func TestPaymentResultSettlesTheOrder(t *testing.T) {
	t.Parallel()
	f := start(t)
	paid, refused := f.place(t, 1, "1"), f.place(t, 1, "2")
	require.Equal(t, []string{"placed"}, paid.steps())
	at := paid.CreatedAt
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: paid.ID, UserID: 1, Amount: 100, PublishedAt: at.Add(time.Millisecond), ChargedAt: at.Add(2 * time.Millisecond)})
	f.broker.PublishEvent(t, id(t), events.PaymentFailed{OrderID: refused.ID, UserID: 1, Amount: 200, Reason: events.ReasonInsufficientFunds})
	o := f.waitForStatus(t, paid.ID, "PAID")
	require.Equal(t, 2, o.Version)
	require.Empty(t, o.CancelReason)
	require.False(t, o.UpdatedAt.Before(paid.UpdatedAt))
	require.Equal(t, []step{{"placed", at}, {"published", at.Add(time.Millisecond)}, {"charged", at.Add(2 * time.Millisecond)}, {"confirmed", o.UpdatedAt}}, o.Timeline)
	o = f.waitForStatus(t, refused.ID, "CANCELLED")
	require.Equal(t, 2, o.Version)
	require.Equal(t, "insufficient_funds", o.CancelReason)
	require.Equal(t, []string{"placed", "cancelled"}, o.steps(), "an older payments service sends no times")
}

func TestLateAndDuplicateResultsChangeNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	message, succeeded := id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100}
	f.broker.PublishEvent(t, message, succeeded)
	settled := f.waitForStatus(t, o.ID, "PAID")

	f.broker.PublishEvent(t, message, succeeded) // the same message
	f.broker.PublishEvent(t, id(t), succeeded)   // the same result in a new message
	f.waitForOutcome(t, "duplicate", 2)
	f.waitForOutcome(t, "applied", 1)
	require.Equal(t, settled, f.order(t, o.ID))
}

func TestMalformedResultIsDeadLettered(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	f.broker.Publish(t, events.TypePaymentFailed, []byte(`{"specversion":"1.0","id":"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f","type":"payment.failed.v1","data":{"order_id":"`+o.ID+`"}}`))
	f.broker.Publish(t, events.TypePaymentSucceeded, []byte("\x00"))
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
	f.waitForStatus(t, o.ID, "PAID")
	for range 2 {
		f.broker.Get(t, broker.PaymentsQueue+broker.DeadSuffix)
	}
}

func TestOrdersAreAcceptedWhileTheBrokerIsDown(t *testing.T) {
	t.Parallel()
	vhost, server := brokertest.Own(t)
	server.Kill(t)
	f := startOn(t, databasetest.New(t), vhost)
	f.Degraded(t)
	o := f.place(t, 1, "1")
	require.Equal(t, 1, f.rows(t, "outbox"))
	require.InDelta(t, 1, f.Metric(t, "outbox_rows"), 0)

	server.Restart(t)
	f.Ready(t)
	e, err := events.Parse(f.broker.Get(t, broker.OrdersQueue).Body)
	require.NoError(t, err)
	require.Equal(t, o.ID, e.Subject)
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: 1, Amount: 100})
	f.waitForStatus(t, o.ID, "PAID")
}

func TestOrdersArePagedByKeyset(t *testing.T) {
	t.Parallel()
	f := start(t)
	const n = 45
	want := make([]string, n)
	for i := range n {
		want[n-1-i] = f.place(t, 1, "1").ID
		f.place(t, 2, "1")
	}
	var got []string
	query := "/orders/?user_id=1"
	for {
		var page struct {
			Orders     []orderJSON
			NextCursor string `json:"next_cursor"`
		}
		f.Get(t, query, &page)
		for _, o := range page.Orders {
			require.EqualValues(t, 1, o.UserID)
			got = append(got, o.ID)
		}
		if page.NextCursor == "" {
			break
		}
		f.place(t, 1, "1") // a new order does not shift the next pages
		query = "/orders?user_id=1&limit=7&cursor=" + page.NextCursor
	}
	require.Equal(t, want, got)

	status, body := f.Call(t, http.MethodGet, "/orders?user_id=3", "")
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"orders":[]}`, body)
}
