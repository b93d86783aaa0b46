package order

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
)

const limit = 30 * time.Second

var policy, onHold = Policy{Limit: limit}, Policy{Limit: limit, Hold: true}

// Which orders are repeated, by their state and the time that they have waited. Orders are
// placed at time 0 and cancelled at time 4.
func TestOnlyOverdueOrdersAreRepeated(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]struct {
		since   int // -1: it does not wait
		command events.Event
	}{
		"new":                  {0, events.OrderCreated{}},
		"cancelling":           {4, events.OrderCancelRequested{}},
		"cancelling, charged":  {4, events.OrderCancelRequested{}},
		"cancelling, refused":  {4, events.OrderCancelRequested{}},
		"cancelling, was paid": {4, events.OrderCancelRequested{}},
		"paid":                 {-1, nil},
		"refused":              {-1, nil},
		"voided":               {-1, nil},
		"refunded":             {-1, nil},
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			o := orderIn(t, state)
			for seconds := range 40 {
				w := Watched{OrderID: o.ID, Since: at, NextAt: at}
				got := w.inspect(&o, policy, after(seconds))
				require.Equal(t, want.since < 0, got.Ended)
				overdue := want.since >= 0 && seconds >= want.since+30
				require.Equal(t, overdue, got.Repeated, "after %d s", seconds)
				require.Equal(t, overdue, got.Noticed, "after %d s", seconds)
				if !got.Ended && !overdue {
					require.Equal(t, after(want.since+30), w.NextAt, "it is inspected when it becomes overdue")
				}
			}
			if want.command != nil {
				require.IsType(t, want.command, o.command())
				require.Equal(t, o.ID.String(), o.command().EventSubject())
			}
		})
	}
}

func TestWatchedOrderThatDoesNotExistIsRemoved(t *testing.T) {
	t.Parallel()
	w := Watched{}
	require.Equal(t, Inspection{Ended: true}, w.inspect(nil, policy, at))
}

// An order is inspected every second for an hour. It is noticed once and repeated after 30 s,
// then with a backoff that doubles up to ten minutes.
func TestRepetitionsBackOff(t *testing.T) {
	t.Parallel()
	o := orderIn(t, "new")
	w := watch([]Order{o})[0]
	var repeated []int
	noticed := 0
	for seconds := range 3600 {
		if after(seconds).Before(w.NextAt) {
			continue
		}
		got := w.inspect(&o, policy, after(seconds))
		require.False(t, got.Ended)
		require.LessOrEqual(t, w.NextAt.Sub(after(seconds)), limit, "it is inspected often, so that it soon stops to count")
		if got.Noticed {
			noticed++
		}
		if got.Repeated {
			repeated = append(repeated, seconds)
		}
	}
	require.Equal(t, 1, noticed)
	require.Equal(t, []int{30, 60, 120, 240, 480, 960, 1560, 2160, 2760, 3360}, repeated)
	require.EqualValues(t, len(repeated), w.Repeats)
	require.Equal(t, maxBackoff*limit, backoff(1<<40, limit))
}

// While the outbox is not emptied, an overdue order is noticed but not repeated. It is repeated
// once that is over, and the time in between does not count.
func TestNothingIsRepeatedOnHold(t *testing.T) {
	t.Parallel()
	o := orderIn(t, "new")
	w := watch([]Order{o})[0]
	require.Equal(t, Inspection{OrderID: o.ID, Noticed: true}, w.inspect(&o, onHold, after(30)))
	for seconds := 60; seconds < 3600; seconds += 30 {
		require.Zero(t, w.inspect(&o, onHold, after(seconds)).Repeated)
	}
	require.Equal(t, Inspection{OrderID: o.ID, Repeated: true}, w.inspect(&o, policy, after(3600)))
	require.Equal(t, after(3630), w.RepeatAt)
}

// A cancellation makes an order wait for something else: it starts from the beginning.
func TestCancellationRestartsTheBackoff(t *testing.T) {
	t.Parallel()
	o := orderIn(t, "new")
	w := watch([]Order{o})[0]
	for _, seconds := range []int{30, 60, 120, 240} {
		require.True(t, w.inspect(&o, policy, after(seconds)).Repeated)
	}
	_, err := o.Cancel(after(250))
	require.NoError(t, err)
	require.Equal(t, Inspection{OrderID: o.ID}, w.inspect(&o, policy, after(270)))
	require.Equal(t, Watched{OrderID: o.ID, Since: after(250), NextAt: after(280)}, w)
	require.Equal(t, Inspection{OrderID: o.ID, Noticed: true, Repeated: true}, w.inspect(&o, policy, after(280)))
}
