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
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

func follow(t *testing.T, s *servicetest.Service, user int64, lastID string) *servicetest.Stream {
	t.Helper()
	return servicetest.OpenStream(t, fmt.Sprintf("%s/orders/events?user_id=%d", s.URL, user), lastID)
}

// snapshot takes the first event.
func snapshot(t *testing.T, s *servicetest.Stream) (orders []placed, eventID string) {
	t.Helper()
	e, ok := s.Next(t)
	require.True(t, ok)
	require.Equal(t, "snapshot", e.Type)
	number(t, e.ID)
	var page struct{ Orders []placed }
	require.NoError(t, json.Unmarshal([]byte(e.Data), &page))
	return page.Orders, e.ID
}

// change takes the next order event, over heartbeats.
func change(t *testing.T, s *servicetest.Stream) (o placed, eventID string) {
	t.Helper()
	for waited := time.Now(); ; {
		e, ok := s.Next(t)
		require.True(t, ok, "the stream has ended")
		if e.Data == "" {
			require.Less(t, time.Since(waited), servicetest.Patience, "heartbeats alone")
			continue
		}
		require.Equal(t, "order", e.Type)
		require.NotEmpty(t, e.ID)
		require.NoError(t, json.Unmarshal([]byte(e.Data), &o))
		return o, e.ID
	}
}

// heartbeat takes the next event, which must be one without data, and returns its id.
func heartbeat(t *testing.T, s *servicetest.Stream) int64 {
	t.Helper()
	e, ok := s.Next(t)
	require.True(t, ok)
	require.Empty(t, e.Data)
	return number(t, e.ID)
}

func number(t *testing.T, eventID string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(eventID, 10, 64)
	require.NoError(t, err)
	return n
}

// until takes order events until the order has the version.
func until(t *testing.T, s *servicetest.Stream, orderID string, version int) (o placed, eventID string) {
	t.Helper()
	for {
		if o, eventID = change(t, s); o.ID == orderID && o.Version == version {
			return o, eventID
		}
	}
}

func (f *fixture) pay(t *testing.T, o placed) {
	t.Helper()
	f.broker.PublishEvent(t, id(t), events.PaymentSucceeded{OrderID: o.ID, UserID: o.UserID, Amount: 100})
}

func TestStreamTellsEveryChange(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.another(t).Ready(t) // whichever replica makes the change
	before := f.place(t, 1, "1")
	streams := []*servicetest.Stream{follow(t, f.Service, 1, ""), follow(t, other, 1, "")}
	for _, s := range streams {
		orders, _ := snapshot(t, s)
		require.Equal(t, []placed{before}, orders)
	}
	f.place(t, 2, "1") // nobody's here
	o := f.place(t, 1, "2")
	for _, s := range streams {
		got, _ := change(t, s)
		require.Equal(t, o, got)
	}
	f.pay(t, o)
	for _, s := range streams {
		got, _ := until(t, s, o.ID, 2)
		require.Equal(t, "PAID", got.Status)
		require.Equal(t, f.order(t, o.ID), got, "the whole order")
	}
	f.cancel(t, before.ID)
	for _, s := range streams {
		got, _ := until(t, s, before.ID, 2)
		require.Equal(t, "CANCELLING", got.Status)
	}
}

func TestStreamHasHeartbeatsThatMoveItsID(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := follow(t, f.Service, 1, "")
	_, first := snapshot(t, s)
	f.place(t, 2, "1") // transactions go on
	moved := false
	for began := time.Now(); !moved && time.Since(began) < servicetest.Patience; { // it stands still while a transaction is open, be it another test's
		moved = heartbeat(t, s) > number(t, first)
	}
	require.True(t, moved)
}

// The replica stops while an order changes: the client comes back at another one and
// misses nothing, and what it had seen is not told again.
func TestStreamIsResumedAtAnotherReplica(t *testing.T) {
	t.Parallel()
	f := start(t)
	other := f.another(t).Ready(t)
	s := follow(t, other, 1, "")
	snapshot(t, s)
	seen := f.place(t, 1, "1")
	_, last := until(t, s, seen.ID, 1)
	other.Stop()
	s.Ended(t)

	missed, paid := f.place(t, 1, "2"), f.place(t, 1, "3")
	f.pay(t, paid)
	f.becomes(t, paid.ID, "PAID")
	s = follow(t, f.Service, 1, last)
	got := map[string]int{}
	for got[missed.ID] == 0 || got[paid.ID] == 0 {
		o, _ := change(t, s)
		got[o.ID] = o.Version
	}
	require.Equal(t, 1, got[missed.ID])
	require.Equal(t, 2, got[paid.ID])
	f.pay(t, missed)
	until(t, s, missed.ID, 2)
}

// A change whose transaction began before the client's last event, and committed after
// it, is not missed: this is what ids that are times or counters get wrong.
func TestLateCommitIsNotMissed(t *testing.T) {
	t.Parallel()
	f := start(t)
	late := f.place(t, 1, "1")
	tx, err := f.pool.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }() // after a commit this does nothing
	_, err = tx.ExecContext(t.Context(), `UPDATE orders.orders SET status = 'CANCELLING', version = 2, changed_in = pg_current_xact_id()::text::bigint WHERE id = $1`, late.ID)
	require.NoError(t, err)
	f.place(t, 2, "1") // a younger transaction has ended before the stream begins

	s := follow(t, f.Service, 1, "")
	snapshot(t, s)
	early := f.place(t, 1, "2")
	_, last := until(t, s, early.ID, 1)
	s.Close()
	require.NoError(t, tx.Commit())
	got, _ := until(t, follow(t, f.Service, 1, last), late.ID, 2)
	require.Equal(t, "CANCELLING", got.Status)
}

// A client resumes and is cut off before it has all that it missed: what it got so far
// does not take it past the rest.
func TestResumedStartThatIsCutOffIsResumedAgain(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := follow(t, f.Service, 1, "")
	_, last := snapshot(t, s)
	s.Close()
	missed := map[string]bool{}
	for range 3 {
		missed[f.place(t, 1, "1").ID] = true
	}
	for range 3 {
		s = follow(t, f.Service, 1, last)
		var o placed
		o, last = change(t, s) // and no more
		require.True(t, missed[o.ID])
		s.Close()
	}
	s = follow(t, f.Service, 1, last)
	for len(missed) > 0 {
		o, _ := change(t, s)
		delete(missed, o.ID)
	}
	require.GreaterOrEqual(t, heartbeat(t, s), number(t, last), "then the new id, at once")
}

func TestIDsThatAreOfNoUseGetASnapshot(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	for _, lastID := range []string{"x", "-1", "0", "9223372036854775807", "99999999999999999999"} {
		orders, _ := snapshot(t, follow(t, f.Service, 1, lastID))
		require.Equal(t, []placed{o}, orders)
	}
	for _, query := range []string{"", "?user_id=0", "?user_id=1&limit=0", "?user_id=1&limit=101"} {
		require.Equal(t, http.StatusBadRequest, f.Send(t, http.MethodGet, "/orders/events"+query, "").Status)
	}
}

// The listener's connection is cut. What changes before it has a new one is told all
// the same.
func TestListenerThatIsCutOffMissesNothing(t *testing.T) {
	t.Parallel()
	f := start(t)
	s := follow(t, f.Service, 1, "")
	snapshot(t, s)
	for range 5 {
		var cut int
		require.NoError(t, f.pool.QueryRowContext(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND query LIKE 'LISTEN%'`).Scan(&cut))
		require.Equal(t, 1, cut, "one listener connection a replica")
		o := f.place(t, 1, "1")
		until(t, s, o.ID, 1)
		f.Ready(t)
	}
}

// Nothing was notified of the change at all: the next reconciliation finds it.
func TestChangeWithoutNotificationIsTold(t *testing.T) {
	t.Parallel()
	f := start(t)
	o := f.place(t, 1, "1")
	s := follow(t, f.Service, 1, "")
	snapshot(t, s)
	_, err := f.pool.ExecContext(t.Context(), `UPDATE orders.orders SET status = 'CANCELLING', version = 2, changed_in = pg_current_xact_id()::text::bigint WHERE id = $1`, o.ID)
	require.NoError(t, err)
	until(t, s, o.ID, 2)
}

func TestStreamSurvivesItsDatabase(t *testing.T) {
	t.Parallel()
	database, server := databasetest.Own(t)
	f := startOn(t, database, brokertest.New(t))
	f.Ready(t)
	s := follow(t, f.Service, 1, "")
	snapshot(t, s)
	server.Kill(t)
	require.Equal(t, http.StatusServiceUnavailable, f.Send(t, http.MethodGet, "/orders/events?user_id=1", "").Status)
	server.Restart(t)
	f.Ready(t)
	o := f.place(t, 1, "1")
	until(t, s, o.ID, 1)
}
