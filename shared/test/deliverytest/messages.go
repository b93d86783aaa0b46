package deliverytest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
)

var messageTests = map[string]func(*testing.T, *fixture){
	"events of one type of a transaction share a message":           eventsShareAMessage,
	"a message has at most as many events as configured":            eventsPerMessage,
	"a message is bounded in bytes":                                 messageBounded,
	"an event of the previous version is published in its own form": rowOfPreviousVersion,
}

func eventsShareAMessage(t *testing.T, f *fixture) {
	evs, created := someEvents(3)
	cancelled := events.OrderCancelRequested{OrderID: uuid.NewString(), UserID: 1, Amount: 100}
	p := &recorder{}
	emit(t, f.store, evs[0], cancelled, evs[1], evs[2])
	require.Equal(t, 2, f.count(t, "outbox"), "one row per type")
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Len(t, p.messages(), 2)
	batch, single := p.messages()[0], p.messages()[1]
	require.Equal(t, events.TypeOrderCreated, batch.Type)
	require.Equal(t, events.BatchContentType, batch.ContentType)
	require.Equal(t, created, subjects(decoded(batch)))
	require.Equal(t, events.TypeOrderCancelRequested, single.Type)
	require.Equal(t, events.ContentType, single.ContentType)
	require.Equal(t, []string{cancelled.OrderID}, subjects(decoded(single)))

	ids := map[string]bool{batch.ID: true}
	for i, e := range decoded(batch) {
		require.False(t, ids[e.ID], "the id is not unique")
		ids[e.ID] = true
		require.Equal(t, "gozon/"+f.schema, e.Source)
		require.Equal(t, events.TypeOrderCreated, e.Type)
		require.WithinDuration(t, time.Now(), e.Time, time.Minute)
		require.WithinRange(t, e.PublishedAt, e.Time, time.Now())
		var data events.OrderCreated
		require.NoError(t, e.Decode(&data))
		require.Equal(t, evs[i], data)
	}
}

// sizes returns the number of events in each message.
func (r *recorder) sizes() []int {
	var sizes []int
	for _, m := range r.messages() {
		sizes = append(sizes, len(decoded(m)))
	}
	return sizes
}

func eventsPerMessage(t *testing.T, f *fixture) {
	evs, want := someEvents(5)
	for limit, sizes := range map[int][]int{1: {1, 1, 1, 1, 1}, 2: {2, 2, 1}, 5: {5}} {
		p := &recorder{}
		emit(t, f.newStore(limit), evs...)
		stop := f.startRelay(t, p)
		f.waitUntilEmpty(t)
		stop()
		require.Equal(t, sizes, p.sizes())
		require.Equal(t, want, p.subjects())
		for _, m := range p.messages() {
			if all := decoded(m); len(all) == 1 { // the form that earlier versions can read
				require.Equal(t, events.ContentType, m.ContentType)
				require.Equal(t, m.ID, all[0].ID)
				require.False(t, events.IsBatch(m.Body))
			}
		}
	}
}

func messageBounded(t *testing.T, f *fixture) {
	small, large := event(), events.OrderCreated{OrderID: strings.Repeat("x", 50<<10), UserID: 1, Amount: 1}
	huge := events.OrderCreated{OrderID: strings.Repeat("y", 200<<10), UserID: 1, Amount: 1}
	p := &recorder{}
	emit(t, f.store, small, large, large, large, huge, small)
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Equal(t, []int{2, 1, 1, 1, 1}, p.sizes()) // an event contains its subject twice
	require.Less(t, len(p.messages()[0].Body), 128<<10)
}

func rowOfPreviousVersion(t *testing.T, f *fixture) {
	insert := "INSERT INTO " + f.schema + ".outbox (id, type, subject, data, created_at) VALUES ($1, 'order.created.v1', 'o', $2, now())" //nolint:gosec // constants of tests
	_, err := f.pool.ExecContext(t.Context(), insert, messageID(t), `{"order_id": "o", "user_id": 1, "amount_minor": 2}`)
	require.NoError(t, err)
	p := &recorder{}
	f.startRelay(t, p)
	f.waitUntilEmpty(t)
	require.Equal(t, []string{"o"}, p.subjects())
	require.Equal(t, events.ContentType, p.messages()[0].ContentType)
	var data events.OrderCreated
	require.NoError(t, p.events()[0].Decode(&data))
	require.Equal(t, events.OrderCreated{OrderID: "o", UserID: 1, Amount: 2}, data)
}
