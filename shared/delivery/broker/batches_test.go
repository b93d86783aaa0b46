package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/batch"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/inbox"
	"gozon/shared/test/brokertest"
)

var (
	errWrong = errors.New("wrong")
	errHeld  = errors.New("locked")
)

// ledger is a handler with an inbox. It applies an event, an order, once. It fails with the
// error of the order, as long as there is one.
type ledger struct {
	mu      sync.Mutex
	claimed map[uuid.UUID]bool
	applied []string // orders
	errs    map[string]error
	commits int
}

func newLedger(errs map[string]error) *ledger {
	return &ledger{claimed: map[uuid.UUID]bool{}, errs: errs}
}

func (l *ledger) handler() broker.Handler {
	return broker.Decoded(func(e events.Envelope) (string, error) { return e.Subject, nil }, l.apply, batch.Faults{
		Whole:     func(error) bool { return false },
		Busy:      func(err error) bool { return errors.Is(err, errHeld) },
		Permanent: func(err error) bool { return errors.Is(err, errWrong) },
	}, func(context.Context, inbox.Event[string], bool) {})
}

// apply is a transaction: all or nothing.
func (l *ledger) apply(_ context.Context, set []inbox.Event[string]) ([]bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	claims := map[uuid.UUID]bool{}
	for _, id := range inbox.Claims(set) {
		if !l.claimed[id] {
			claims[id] = true
		}
	}
	fresh := inbox.Fresh(set, claims)
	var applied []string
	for i, e := range set {
		if !fresh[i] {
			continue
		}
		if err := l.errs[e.Data]; err != nil {
			return nil, err
		}
		applied = append(applied, e.Data)
	}
	l.applied = append(l.applied, applied...)
	maps.Copy(l.claimed, claims)
	l.commits++
	return fresh, nil
}

func (l *ledger) orders() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.applied)
}

func (l *ledger) unlock(order string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.errs, order)
}

func created(orders ...string) []events.Event {
	evs := make([]events.Event, len(orders))
	for i, o := range orders {
		evs[i] = events.OrderCreated{OrderID: o, UserID: 1, Amount: 1}
	}
	return evs
}

// bodies returns encoded events, and their ids.
func bodies(t *testing.T, orders ...string) (all [][]byte, ids []uuid.UUID) {
	t.Helper()
	for _, o := range orders {
		id := uuid.New()
		body, err := json.Marshal(events.Envelope{SpecVersion: "1.0", ID: id.String(), Type: events.TypeOrderCreated, Subject: o, Data: json.RawMessage("{}")})
		require.NoError(t, err)
		all, ids = append(all, body), append(ids, id)
	}
	return all, ids
}

func TestMessageIsClaimedOnceForAllItsEvents(t *testing.T) {
	t.Parallel()
	l, message := newLedger(nil), uuid.New()
	all, _ := bodies(t, "a", "b", "c")
	var received []broker.Received
	for _, body := range all {
		received = append(received, broker.Received{Body: body, Message: message})
	}
	for range 2 { // the second time, it is redelivered
		require.Equal(t, []error{nil, nil, nil}, l.handler()(t.Context(), received))
	}
	require.Equal(t, []string{"a", "b", "c"}, l.orders())
	require.Equal(t, map[uuid.UUID]bool{message: true}, l.claimed)
}

// A message is split if one of its events fails. The others are applied once, even though the
// message is delivered again.
func TestBadEventFailsWithoutItsMessage(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{"permanent": errWrong, "busy": errHeld} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, first, second := newLedger(map[string]error{"bad": cause}), uuid.New(), uuid.New()
			all, ids := bodies(t, "a", "bad", "b", "c", "d")
			received := []broker.Received{{all[0], first}, {all[1], first}, {all[2], first}, {all[3], second}, {all[4], second}}
			for range 2 {
				errs := l.handler()(t.Context(), received)
				require.ErrorIs(t, errs[1], cause)
				require.Equal(t, []error{nil, nil, nil, nil}, slices.Delete(errs, 1, 2))
			}
			require.ElementsMatch(t, []string{"a", "b", "c", "d"}, l.orders())
			require.Equal(t, map[uuid.UUID]bool{ids[0]: true, ids[2]: true, second: true}, l.claimed)
		})
	}
}

// startLedger runs a consumer of orders_queue until the test ends.
func startLedger(t *testing.T, b *brokertest.Broker, l *ledger) *replica {
	t.Helper()
	return startConsumer(t, b, "ledger", broker.OrdersQueue, l.handler())
}

func TestBatchIsConsumed(t *testing.T) {
	t.Parallel()
	b, l := brokertest.New(t), newLedger(nil)
	r := startLedger(t, b, l)
	message := uuid.New()
	b.PublishBatch(t, message, created("a", "b", "c")...)
	b.PublishEvent(t, uuid.New(), created("d")[0]) // as versions before batches send it
	b.PublishBatch(t, message, created("a", "b", "c")...)
	b.PublishBatch(t, uuid.New(), created("e")...)
	eventually(t, func() bool { return len(l.orders()) == 5 }, "not consumed")
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, l.orders())
	eventually(t, func() bool { return counter(t, r, "consumer_messages_total", "done") == 8 }, "not counted")
	b.DropConnections(t, "ledger") // requeues what is not acked
	eventually(t, func() bool { return b.Depth(t, broker.OrdersQueue) == 0 && r.Ready(t.Context()) == nil }, "not acked")
	require.Equal(t, 8, counter(t, r, "consumer_messages_total", "done"), "a message was delivered again")
}

// The events of a message that cannot be handled are dead-lettered one by one, as messages of
// their own. Redriven, they take effect.
func TestBadEventOfABatchIsDeadLetteredAlone(t *testing.T) {
	t.Parallel()
	b, l := brokertest.New(t), newLedger(map[string]error{"bad": errWrong})
	startLedger(t, b, l)
	ids := b.PublishBatch(t, uuid.New(), created("a", "bad", "b")...)
	dead := b.Get(t, broker.OrdersQueue+broker.DeadSuffix)
	require.Equal(t, ids[1], dead.MessageId)
	require.Equal(t, events.ContentType, dead.ContentType)
	require.Contains(t, dead.Headers[broker.HeaderReason], "wrong")
	require.Equal(t, events.TypeOrderCreated, dead.Headers[broker.HeaderRoutingKey])
	e, err := events.Parse(dead.Body)
	require.NoError(t, err)
	require.Equal(t, "bad", e.Subject)
	eventually(t, func() bool { return len(l.orders()) == 2 }, "its neighbors are not settled")

	l.unlock("bad")
	b.Publish(t, e.Type, dead.Body)
	eventually(t, func() bool { return slices.Contains(l.orders(), "bad") }, "the redriven event has no effect")
	require.Zero(t, b.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
}

func TestUndecodablePartsOfABatchAreDeadLettered(t *testing.T) {
	t.Parallel()
	b, l := brokertest.New(t), newLedger(nil)
	startLedger(t, b, l)
	good, _ := bodies(t, "a")
	for body, dead := range map[string]string{
		`[{"specversion":"1.0"},` + string(good[0]) + `]`: `{"specversion":"1.0"}`,
		`[]`:  `[]`,
		`[{]`: `[{]`,
	} {
		b.Publish(t, events.TypeOrderCreated, []byte(body))
		require.Equal(t, dead, string(b.Get(t, broker.OrdersQueue+broker.DeadSuffix).Body))
	}
	eventually(t, func() bool { return slices.Equal(l.orders(), []string{"a"}) }, "the valid event is not applied")
}

// More messages than the consumer can hold have an event that waits for a lock. All other
// events are settled meanwhile, and each event takes effect once.
func TestLockedEventsOfManyBatchesDelayNoOthers(t *testing.T) {
	t.Parallel()
	const messages = 300
	b, errs := brokertest.New(t), map[string]error{}
	var free, locked []string
	for range messages {
		free, locked = append(free, uuid.NewString()), append(locked, uuid.NewString())
		errs[locked[len(locked)-1]] = errHeld
	}
	l := newLedger(errs)
	startLedger(t, b, l)
	for i := range messages {
		b.PublishBatch(t, uuid.New(), created(free[i], locked[i])...)
	}
	eventually(t, func() bool { return len(l.orders()) == messages }, "events without a lock are delayed")
	require.ElementsMatch(t, free, l.orders())
	for _, o := range locked {
		l.unlock(o)
	}
	eventually(t, func() bool { return len(l.orders()) == 2*messages }, "the events are lost")
	require.ElementsMatch(t, slices.Concat(free, locked), l.orders())
	require.Zero(t, b.Depth(t, broker.OrdersQueue+broker.DeadSuffix))
}

// counter returns the value of a counter with a label of the given value.
func counter(t *testing.T, r *replica, name, label string) int {
	t.Helper()
	families, err := r.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	require.Fail(t, "no counter "+name)
	return 0
}
