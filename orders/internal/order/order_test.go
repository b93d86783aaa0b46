package order

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func after(seconds int) time.Time { return at.Add(time.Duration(seconds) * time.Second) }

// What payments may say, with the times that it tells.
var (
	succeeded = PaymentResult{Result: ResultSucceeded, Saga: Saga{PublishedAt: after(1), ChargedAt: after(2)}}
	failed    = PaymentResult{Result: ResultFailed, Reason: "insufficient_funds", Saga: Saga{PublishedAt: after(1), RefusedAt: after(2)}}
	voided    = PaymentResult{Result: ResultVoided}
	voidedToo = PaymentResult{Result: ResultVoided, Saga: Saga{PublishedAt: after(1), RefusedAt: after(2)}} // of a refused one
	refunded  = PaymentResult{Result: ResultRefunded, Saga: Saga{PublishedAt: after(1), ChargedAt: after(2), RefundedAt: after(5)}}
)

// Orders as they can be, made by what can make them.
func made(t *testing.T, state string) Order {
	t.Helper()
	o := Draft{UserID: 1, Item: "x", Price: 1}.Place(uuid.New(), at)
	apply := func(r PaymentResult) { require.NotEqual(t, OutcomeContradictory, o.Settle(r, after(6))) }
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

// Every state and every result.
func TestSettle(t *testing.T) {
	t.Parallel()
	const same = "" // as it was
	type want struct {
		outcome Outcome
		status  Status
	}
	applied := func(s Status) want { return want{OutcomeApplied, s} }
	noted := want{OutcomeNoted, StatusCancelling}
	dup, contra := want{OutcomeDuplicate, same}, want{OutcomeContradictory, same}
	results := []PaymentResult{succeeded, failed, voided, voidedToo, refunded}
	for state, wants := range map[string][5]want{
		//                      succeeded                failed                       voided                       voided, refused before       refunded
		"new":                  {applied(StatusPaid), applied(StatusCancelled), contra, contra, contra},
		"paid":                 {dup, contra, contra, contra, contra},
		"refused":              {contra, dup, contra, contra, contra},
		"cancelling":           {noted, noted, applied(StatusCancelled), applied(StatusCancelled), applied(StatusCancelled)},
		"cancelling, charged":  {dup, contra, contra, contra, applied(StatusCancelled)},
		"cancelling, refused":  {contra, dup, applied(StatusCancelled), applied(StatusCancelled), contra},
		"cancelling, was paid": {dup, contra, contra, contra, applied(StatusCancelled)},
		"voided":               {contra, dup, dup, dup, contra},
		"refunded":             {dup, contra, contra, contra, dup},
	} {
		for i, w := range wants {
			t.Run(fmt.Sprintf("%s, %s %d", state, results[i].Result, i), func(t *testing.T) {
				t.Parallel()
				o := made(t, state)
				before := o
				require.Equal(t, w.outcome, o.Settle(results[i], after(9)))
				if w.status == same {
					require.Equal(t, before, o, "nothing has changed")
					return
				}
				require.Equal(t, w.status, o.Status)
				require.Equal(t, before.Version+1, o.Version)
				require.Equal(t, after(9), o.UpdatedAt)
				require.Equal(t, o.Status == StatusCancelled, o.CancelReason != "")
				if before.Status == StatusCancelling && o.Status == StatusCancelled {
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
			o := made(t, state)
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
		for _, s := range made(t, state).Timeline() {
			require.False(t, s.At.IsZero())
			steps = append(steps, s.Name)
		}
		require.Equal(t, want, steps, state)
	}
	// The charge won the race, but was made after the cancellation had been requested.
	o := Draft{UserID: 1, Item: "x", Price: 1}.Place(uuid.New(), at)
	_, err := o.Cancel(after(1))
	require.NoError(t, err)
	require.Equal(t, OutcomeApplied, o.Settle(refunded, after(9)))
	require.Equal(t, []Step{
		{"placed", at}, {"published", after(1)}, {"cancel_requested", after(1)}, {"charged", after(2)}, {"refunded", after(5)}, {"cancelled", after(9)},
	}, o.Timeline())
}

func TestSameMessageTwiceInOneBatchCountsOnce(t *testing.T) {
	t.Parallel()
	o := Draft{UserID: 1, Item: "x", Price: 1}.Place(uuid.New(), at)
	r := succeeded
	r.MessageID, r.OrderID = uuid.New(), o.ID
	settled, changed, err := settle([]PaymentResult{r, r}, map[uuid.UUID]bool{r.MessageID: true}, map[uuid.UUID]*Order{o.ID: &o}, at)
	require.NoError(t, err)
	require.Equal(t, OutcomeApplied, settled[0].Outcome)
	require.Equal(t, OutcomeDuplicate, settled[1].Outcome)
	require.Len(t, changed, 1)
	require.EqualValues(t, 2, changed[0].Version)
}

// Neither may be acknowledged and forgotten: money may have moved for nothing.
func TestResultThatCannotBeTrueIsAnError(t *testing.T) {
	t.Parallel()
	paid, refused := made(t, "new"), failed
	unknown := succeeded
	unknown.MessageID, unknown.OrderID = uuid.New(), uuid.New()
	_, _, err := settle([]PaymentResult{unknown}, map[uuid.UUID]bool{unknown.MessageID: true}, map[uuid.UUID]*Order{paid.ID: &paid}, at)
	require.ErrorIs(t, err, ErrNotFound)

	require.Equal(t, OutcomeApplied, paid.Settle(succeeded, at))
	refused.MessageID, refused.OrderID = uuid.New(), paid.ID
	_, _, err = settle([]PaymentResult{refused}, map[uuid.UUID]bool{refused.MessageID: true}, map[uuid.UUID]*Order{paid.ID: &paid}, at)
	require.ErrorIs(t, err, ErrContradiction)
	require.IsType(t, RuleError(""), ErrContradiction)
}

func TestOrderThatChangesTwiceInOneBatchIsWrittenOnce(t *testing.T) {
	t.Parallel()
	o := made(t, "cancelling")
	first, second := succeeded, refunded
	first.MessageID, first.OrderID, second.MessageID, second.OrderID = uuid.New(), o.ID, uuid.New(), o.ID
	settled, changed, err := settle([]PaymentResult{first, second}, map[uuid.UUID]bool{first.MessageID: true, second.MessageID: true}, map[uuid.UUID]*Order{o.ID: &o}, at)
	require.NoError(t, err)
	require.Equal(t, OutcomeNoted, settled[0].Outcome)
	require.Equal(t, OutcomeApplied, settled[1].Outcome)
	require.Len(t, changed, 1)
	require.Equal(t, StatusCancelled, changed[0].Status)
	require.EqualValues(t, 4, changed[0].Version)
}

func TestCancellationsOfOneBatch(t *testing.T) {
	t.Parallel()
	fresh, refused, nobody := made(t, "new"), made(t, "refused"), uuid.New()
	results, changed, requested := cancel([]uuid.UUID{fresh.ID, nobody, refused.ID, fresh.ID},
		map[uuid.UUID]*Order{fresh.ID: &fresh, refused.ID: &refused}, after(9))
	require.Equal(t, StatusCancelling, results[0].Value.Status)
	require.ErrorIs(t, results[1].Err, ErrNotFound)
	require.ErrorIs(t, results[2].Err, ErrNotCancellable)
	require.Equal(t, results[0], results[3], "the same answer, nothing twice")
	require.Len(t, changed, 1)
	require.Equal(t, []events.Event{fresh.CancelRequested()}, requested)
}

// Kept results outlive a deployment by a day: their form stays, and so does what a
// fingerprint is made of.
func TestKeptResultIsItsGolden(t *testing.T) {
	t.Parallel()
	o := made(t, "refunded")
	o.ID = uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001")
	result, err := json.Marshal(o)
	require.NoError(t, err)
	require.JSONEq(t, `{"ID":"01980f5e-7b1c-7000-8000-000000000001","UserID":1,"Item":"x","Price":0.01,"Status":"CANCELLED",`+
		`"CancelReason":"cancelled_by_user","Version":3,"CreatedAt":"2026-01-02T03:04:05Z","UpdatedAt":"2026-01-02T03:04:11Z",`+
		`"Saga":{"PublishedAt":"2026-01-02T03:04:06Z","ChargedAt":"2026-01-02T03:04:07Z","RefusedAt":"0001-01-01T00:00:00Z",`+
		`"ConfirmedAt":"0001-01-01T00:00:00Z","CancelRequestedAt":"2026-01-02T03:04:09Z","RefundedAt":"2026-01-02T03:04:10Z"},"ChangedIn":0}`, string(result))
	var back Order
	require.NoError(t, json.Unmarshal(result, &back))
	require.Equal(t, o, back)
	what, err := json.Marshal(Draft{UserID: 1, Item: "x", Price: 1})
	require.NoError(t, err)
	require.JSONEq(t, `{"UserID":1,"Item":"x","Price":0.01}`, string(what))
}
