package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/contract/money"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

func follow(t *testing.T, s *servicetest.Service, user int64, lastID string) *servicetest.Stream {
	t.Helper()
	return servicetest.OpenStream(t, fmt.Sprintf("%s/orders/events?user_id=%d", s.URL, user), lastID)
}

// readSnapshot reads the first event, which must be a snapshot.
func readSnapshot(t *testing.T, s *servicetest.Stream) (orders []orderJSON, eventID string) {
	t.Helper()
	e, ok := s.Next(t)
	require.True(t, ok)
	require.Equal(t, "snapshot", e.Type)
	parseEventID(t, e.ID)
	var page struct{ Orders []orderJSON }
	require.NoError(t, json.Unmarshal([]byte(e.Data), &page))
	return page.Orders, e.ID
}

// readChange reads the next order event and skips heartbeats.
func readChange(t *testing.T, s *servicetest.Stream) (o orderJSON, eventID string) {
	t.Helper()
	for started := time.Now(); ; {
		e, ok := s.Next(t)
		require.True(t, ok, "the stream ended")
		if e.Data == "" {
			require.Less(t, time.Since(started), servicetest.Patience, "only heartbeats arrived")
			continue
		}
		require.Equal(t, "order", e.Type)
		require.NotEmpty(t, e.ID)
		require.NoError(t, json.Unmarshal([]byte(e.Data), &o))
		return o, e.ID
	}
}

// readHeartbeat reads the next event, which must have no data, and returns its id.
func readHeartbeat(t *testing.T, s *servicetest.Stream) int64 {
	t.Helper()
	e, ok := s.Next(t)
	require.True(t, ok)
	require.Empty(t, e.Data)
	return parseEventID(t, e.ID)
}

func parseEventID(t *testing.T, eventID string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(eventID, 10, 64)
	require.NoError(t, err)
	return n
}

// readUntil reads order events until the order has the version.
func readUntil(t *testing.T, s *servicetest.Stream, orderID string, version int) (o orderJSON, eventID string) {
	t.Helper()
	for {
		if o, eventID = readChange(t, s); o.ID == orderID && o.Version == version {
			return o, eventID
		}
	}
}

func (f *fixture) pay(t *testing.T, o orderJSON) {
	t.Helper()
	price, err := money.Parse(o.Price.String())
	require.NoError(t, err)
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: o.UserID, Amount: int64(price)})
}

func TestChangesReachTheStreamsOfAllReplicas(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	before := f.place(t, 1, "1")
	streams := []*servicetest.Stream{follow(t, f.Service, 1, ""), follow(t, other, 1, "")}
	for _, s := range streams {
		orders, _ := readSnapshot(t, s)
		require.Equal(t, []orderJSON{before}, orders)
	}
	f.place(t, 2, "1") // has no follower
	o := f.place(t, 1, "2")
	for _, s := range streams {
		got, _ := readChange(t, s)
		require.Equal(t, o, got)
	}
	f.pay(t, o)
	for _, s := range streams {
		got, _ := readUntil(t, s, o.ID, 2)
		require.Equal(t, "PAID", got.Status)
		require.Equal(t, f.order(t, o.ID), got, "an event contains the whole order")
	}
	f.cancel(t, before.ID)
	for _, s := range streams {
		got, _ := readUntil(t, s, before.ID, 2)
		require.Equal(t, "CANCELLING", got.Status)
	}
}

func TestHeartbeatsAdvanceTheEventID(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := follow(t, f.Service, 1, "")
	_, first := readSnapshot(t, s)
	f.place(t, 2, "1") // uses a new transaction id
	advanced := false
	// An open transaction holds the id back, even one of another test.
	for started := time.Now(); !advanced && time.Since(started) < servicetest.Patience; {
		advanced = readHeartbeat(t, s) > parseEventID(t, first)
	}
	require.True(t, advanced)
}

// The client of a replica that stops resumes at another one. It receives the changes that it
// missed.
func TestStreamIsResumedAtAnotherReplica(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.startReplica(t).Ready(t)
	s := follow(t, other, 1, "")
	readSnapshot(t, s)
	seen := f.place(t, 1, "1")
	_, last := readUntil(t, s, seen.ID, 1)
	other.Stop()
	s.Ended(t)

	missed, paid := f.place(t, 1, "2"), f.place(t, 1, "3")
	f.pay(t, paid)
	f.waitForStatus(t, paid.ID, "PAID")
	s = follow(t, f.Service, 1, last)
	got := map[string]int{}
	for got[missed.ID] == 0 || got[paid.ID] == 0 {
		o, _ := readChange(t, s)
		got[o.ID] = o.Version
	}
	require.Equal(t, 1, got[missed.ID])
	require.Equal(t, 2, got[paid.ID])
	f.pay(t, missed)
	readUntil(t, s, missed.ID, 2)
}

// A change is not missed if its transaction started before the client's last event and
// committed after it. Event ids that are times or counters would miss it.
func TestLateCommitIsNotMissed(t *testing.T) {
	t.Parallel()
	f := start(t)
	late := f.place(t, 1, "1")
	tx, err := f.pool.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }() // a no-op after the commit
	_, err = tx.ExecContext(t.Context(), `UPDATE orders.orders SET status = 'CANCELLING', version = 2, changed_in = pg_current_xact_id()::text::bigint WHERE id = $1`, late.ID)
	require.NoError(t, err)
	f.place(t, 2, "1") // a later transaction ends before the stream starts

	s := follow(t, f.Service, 1, "")
	readSnapshot(t, s)
	early := f.place(t, 1, "2")
	_, last := readUntil(t, s, early.ID, 1)
	s.Close()
	require.NoError(t, tx.Commit())
	got, _ := readUntil(t, follow(t, f.Service, 1, last), late.ID, 2)
	require.Equal(t, "CANCELLING", got.Status)
}

// A client resumes and is disconnected before it has received all missed orders. The ids of
// the orders that it received do not skip the others.
func TestInterruptedResumeMissesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := follow(t, f.Service, 1, "")
	_, last := readSnapshot(t, s)
	s.Close()
	missed := map[string]bool{}
	for range 3 {
		missed[f.place(t, 1, "1").ID] = true
	}
	for range 3 {
		s = follow(t, f.Service, 1, last)
		var o orderJSON
		o, last = readChange(t, s) // only one of them
		require.True(t, missed[o.ID])
		s.Close()
	}
	s = follow(t, f.Service, 1, last)
	for len(missed) > 0 {
		o, _ := readChange(t, s)
		delete(missed, o.ID)
	}
	require.GreaterOrEqual(t, readHeartbeat(t, s), parseEventID(t, last), "a heartbeat with the new id follows the missed orders")
}

func TestInvalidLastEventIDGetsASnapshot(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	for _, lastID := range []string{"x", "-1", "0", "9223372036854775807", "99999999999999999999"} {
		orders, _ := readSnapshot(t, follow(t, f.Service, 1, lastID))
		require.Equal(t, []orderJSON{o}, orders)
	}
	for _, query := range []string{"", "?user_id=0", "?user_id=1&limit=0", "?user_id=1&limit=101"} {
		require.Equal(t, http.StatusBadRequest, f.Send(t, http.MethodGet, "/orders/events"+query, "").Status)
	}
}

// The listener's connection is terminated. Changes made before it reconnects are delivered.
func TestDisconnectedListenerMissesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := follow(t, f.Service, 1, "")
	readSnapshot(t, s)
	for range 5 {
		var terminated int
		require.NoError(t, f.pool.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&terminated))
		require.Equal(t, 1, terminated, "listener connections of the replica")
		o := f.place(t, 1, "1")
		readUntil(t, s, o.ID, 1)
		f.Ready(t)
	}
}

// No notification is sent for the change. The next reconciliation delivers it.
func TestChangeWithoutNotificationIsDelivered(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	s := follow(t, f.Service, 1, "")
	readSnapshot(t, s)
	_, err := f.pool.ExecContext(t.Context(), `UPDATE orders.orders SET status = 'CANCELLING', version = 2, changed_in = pg_current_xact_id()::text::bigint WHERE id = $1`, o.ID)
	require.NoError(t, err)
	readUntil(t, s, o.ID, 2)
}

func TestStreamSurvivesADatabaseRestart(t *testing.T) {
	t.Parallel()
	database, server := databasetest.Own(t)
	f := startOn(t, database, brokertest.New(t))
	f.Ready(t)
	s := follow(t, f.Service, 1, "")
	readSnapshot(t, s)
	server.Kill(t)
	require.Equal(t, http.StatusServiceUnavailable, f.Send(t, http.MethodGet, "/orders/events?user_id=1", "").Status)
	server.Restart(t)
	f.Ready(t)
	o := f.place(t, 1, "1")
	readUntil(t, s, o.ID, 1)
}
