package order

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Every status and every result.
func TestSettle(t *testing.T) {
	t.Parallel()
	paid, refused := PaymentResult{Paid: true}, PaymentResult{Reason: "insufficient_funds"}
	for name, tc := range map[string]struct {
		status     Status
		reason     CancelReason
		result     PaymentResult
		outcome    Outcome
		want       Status
		wantReason CancelReason
	}{
		"new, paid":                          {StatusNew, "", paid, OutcomeApplied, StatusPaid, ""},
		"new, refused":                       {StatusNew, "", refused, OutcomeApplied, StatusCancelled, "insufficient_funds"},
		"paid, paid":                         {StatusPaid, "", paid, OutcomeDuplicate, StatusPaid, ""},
		"paid, refused":                      {StatusPaid, "", refused, OutcomeContradictory, StatusPaid, ""},
		"cancelled, paid":                    {StatusCancelled, "insufficient_funds", paid, OutcomeContradictory, StatusCancelled, "insufficient_funds"},
		"cancelled, refused":                 {StatusCancelled, "insufficient_funds", refused, OutcomeDuplicate, StatusCancelled, "insufficient_funds"},
		"cancelled, refused for other cause": {StatusCancelled, "account_not_found", refused, OutcomeContradictory, StatusCancelled, "account_not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Order{Status: tc.status, CancelReason: tc.reason, Version: 3}
			require.Equal(t, tc.outcome, o.Settle(tc.result, at))
			require.Equal(t, tc.want, o.Status)
			require.Equal(t, tc.wantReason, o.CancelReason)
			if tc.outcome == OutcomeApplied {
				require.EqualValues(t, 4, o.Version)
				require.Equal(t, at, o.UpdatedAt)
			} else {
				require.EqualValues(t, 3, o.Version)
				require.Zero(t, o.UpdatedAt)
			}
		})
	}
}

func TestSameMessageTwiceInOneBatchCountsOnce(t *testing.T) {
	t.Parallel()
	o := Draft{UserID: 1, Item: "x", Price: 1}.Place(uuid.New(), at)
	r := PaymentResult{MessageID: uuid.New(), OrderID: o.ID, Paid: true}
	unknown := PaymentResult{MessageID: uuid.New(), OrderID: uuid.New(), Paid: true}
	settled, changed := settle([]PaymentResult{r, r, unknown}, map[uuid.UUID]bool{r.MessageID: true, unknown.MessageID: true}, map[uuid.UUID]*Order{o.ID: &o}, at)
	require.Equal(t, OutcomeApplied, settled[0].Outcome)
	require.Equal(t, OutcomeDuplicate, settled[1].Outcome)
	require.Equal(t, OutcomeUnknownOrder, settled[2].Outcome)
	require.Len(t, changed, 1)
	require.EqualValues(t, 2, changed[0].Version)
}
