package order

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// after returns the time that many seconds after at.
func after(seconds int) time.Time { return at.Add(time.Duration(seconds) * time.Second) }

// Decisions of payments. Their times are relative to at, when the order was placed.
var (
	succeeded = PaymentDecision{Status: PaymentSucceeded, Saga: Saga{PublishedAt: after(1), ChargedAt: after(2)}}
	failed    = PaymentDecision{Status: PaymentFailed, Reason: "insufficient_funds", Saga: Saga{PublishedAt: after(1), RefusedAt: after(2)}}
	voided    = PaymentDecision{Status: PaymentVoided}
	// The payment was refused before it was voided.
	voidedRefused = PaymentDecision{Status: PaymentVoided, Saga: Saga{PublishedAt: after(1), RefusedAt: after(2)}}
	refunded      = PaymentDecision{Status: PaymentRefunded, Saga: Saga{PublishedAt: after(1), ChargedAt: after(2), RefundedAt: after(5)}}
)

// orderIn returns an order that has reached the state by the transitions of the domain.
func orderIn(t *testing.T, state string) Order {
	t.Helper()
	o := Draft{UserID: 1, Item: "x", Price: 1}.Place(uuid.New(), at)
	apply := func(d PaymentDecision) { require.NotEqual(t, EffectContradictory, o.Settle(d, after(6))) }
	cancel := func() {
		changed, err := o.Cancel(after(4))
		require.NoError(t, err)
		require.True(t, changed)
	}
	switch state {
	case "new":
	case "paid":
		apply(succeeded)
	case "refused":
		apply(failed)
	case "cancelling":
		cancel()
	case "cancelling, charged":
		cancel()
		apply(succeeded)
	case "cancelling, refused":
		cancel()
		apply(failed)
	case "cancelling, was paid":
		apply(succeeded)
		cancel()
	case "voided":
		cancel()
		apply(voided)
	case "refunded":
		cancel()
		apply(refunded)
	default:
		require.Fail(t, state)
	}
	return o
}

// Every decision in every state.
func TestSettle(t *testing.T) {
	t.Parallel()
	const unchanged = ""
	type want struct {
		effect Effect
		status Status
	}
	applied := func(s Status) want { return want{EffectApplied, s} }
	noted := want{EffectNoted, StatusCancelling}
	dup, contra := want{EffectDuplicate, unchanged}, want{EffectContradictory, unchanged}
	decisions := []struct {
		name string
		PaymentDecision
	}{{"succeeded", succeeded}, {"failed", failed}, {"voided", voided}, {"voided after a refusal", voidedRefused}, {"refunded", refunded}}
	for state, wants := range map[string][5]want{
		//                      succeeded                failed                       voided                       voided after refusal       refunded
		"new":                  {applied(StatusPaid), applied(StatusCancelled), applied(StatusCancelled), applied(StatusCancelled), applied(StatusCancelled)},
		"paid":                 {dup, contra, contra, contra, applied(StatusCancelled)},
		"refused":              {contra, dup, contra, contra, contra},
		"cancelling":           {noted, noted, applied(StatusCancelled), applied(StatusCancelled), applied(StatusCancelled)},
		"cancelling, charged":  {dup, contra, contra, contra, applied(StatusCancelled)},
		"cancelling, refused":  {contra, dup, applied(StatusCancelled), applied(StatusCancelled), contra},
		"cancelling, was paid": {dup, contra, contra, contra, applied(StatusCancelled)},
		"voided":               {contra, dup, dup, dup, contra},
		"refunded":             {dup, contra, contra, contra, dup},
	} {
		for i, w := range wants {
			t.Run(state+" then "+decisions[i].name, func(t *testing.T) {
				t.Parallel()
				o := orderIn(t, state)
				before := o
				require.Equal(t, w.effect, o.Settle(decisions[i].PaymentDecision, after(9)))
				if w.status == unchanged {
					require.Equal(t, before, o, "the order must not change")
					return
				}
				require.Equal(t, w.status, o.Status)
				require.Equal(t, before.Version+1, o.Version)
				require.Equal(t, after(9), o.UpdatedAt)
				require.Equal(t, o.Status == StatusCancelled, o.CancelReason != "")
				if o.Status == StatusCancelled && decisions[i].Status != PaymentFailed {
					require.Equal(t, ReasonCancelledByUser, o.CancelReason)
				}
			})
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	for state, want := range map[string]struct {
		changed bool
		err     error
	}{
		"new":                  {true, nil},
		"paid":                 {true, nil},
		"refused":              {false, ErrNotCancellable},
		"cancelling":           {false, nil},
		"cancelling, charged":  {false, nil},
		"cancelling, was paid": {false, nil},
		"voided":               {false, nil},
		"refunded":             {false, nil},
	} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			o := orderIn(t, state)
			before := o
			changed, err := o.Cancel(after(9))
			require.ErrorIs(t, err, want.err)
			require.Equal(t, want.changed, changed)
			if !changed {
				require.Equal(t, before, o)
				return
			}
			require.Equal(t, StatusCancelling, o.Status)
			require.Equal(t, before.Version+1, o.Version)
			require.Equal(t, after(9), o.Saga.CancelRequestedAt)
		})
	}
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	for state, want := range map[string][]string{
		"new":                  {"placed"},
		"paid":                 {"placed", "published", "charged", "confirmed"},
		"refused":              {"placed", "published", "refused", "cancelled"},
		"cancelling":           {"placed", "cancel_requested"},
		"cancelling, charged":  {"placed", "published", "charged", "cancel_requested"},
		"cancelling, was paid": {"placed", "published", "charged", "confirmed", "cancel_requested"},
		"voided":               {"placed", "cancel_requested", "cancelled"},
		"refunded":             {"placed", "published", "charged", "cancel_requested", "refunded", "cancelled"},
	} {
		var steps []string
		for _, s := range orderIn(t, state).Timeline() {
			require.False(t, s.At.IsZero())
			steps = append(steps, s.Name)
		}
		require.Equal(t, want, steps, state)
	}
	// The charge was made after the cancellation was requested and before payments received it.
	o := Draft{UserID: 1, Item: "x", Price: 1}.Place(uuid.New(), at)
	_, err := o.Cancel(after(1))
	require.NoError(t, err)
	require.Equal(t, EffectApplied, o.Settle(refunded, after(9)))
	require.Equal(t, []Step{
		{"placed", at}, {"published", after(1)}, {"cancel_requested", after(1)}, {"charged", after(2)}, {"refunded", after(5)}, {"cancelled", after(9)},
	}, o.Timeline())
}

func TestBatchOfCancellations(t *testing.T) {
	t.Parallel()
	fresh, refused, unknown := orderIn(t, "new"), orderIn(t, "refused"), uuid.New()
	results, changed, requested := cancel([]uuid.UUID{fresh.ID, unknown, refused.ID, fresh.ID},
		map[uuid.UUID]*Order{fresh.ID: &fresh, refused.ID: &refused}, after(9))
	require.Equal(t, StatusCancelling, results[0].Value.Status)
	require.ErrorIs(t, results[1].Err, ErrNotFound)
	require.ErrorIs(t, results[2].Err, ErrNotCancellable)
	require.Equal(t, results[0], results[3], "a second request for the order gets the same response")
	require.Len(t, changed, 1)
	require.Equal(t, []events.Event{fresh.CancelRequested()}, requested)
}
