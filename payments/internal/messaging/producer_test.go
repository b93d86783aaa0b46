package messaging

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/payments/internal/payment"
	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

func TestRepliesMatchTheGoldenEvents(t *testing.T) {
	t.Parallel()
	succeeded := payment.Payment{
		OrderID: uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001"), UserID: 1, Amount: 100000, Status: payment.StatusSucceeded,
		PublishedAt: time.Date(2026, 11, 24, 10, 0, 0, 125011000, time.UTC),
		CreatedAt:   time.Date(2026, 11, 24, 10, 0, 0, 131117000, time.UTC),
	}
	failed := succeeded
	failed.Status, failed.Reason = payment.StatusFailed, events.ReasonInsufficientFunds
	refusedThenCancelled := failed
	refusedThenCancelled.UpdatedAt = time.Date(2026, 11, 24, 10, 0, 5, 7291000, time.UTC)
	refunded := succeeded
	refunded.Status, refunded.UpdatedAt = payment.StatusRefunded, refusedThenCancelled.UpdatedAt

	for eventType, event := range map[string]events.Event{
		events.TypePaymentSucceeded: succeeded.ChargeReply(),
		events.TypePaymentFailed:    failed.ChargeReply(),
		events.TypePaymentVoided:    refusedThenCancelled.CancelReply(),
		events.TypePaymentRefunded:  refunded.ChargeReply(),
	} {
		golden := eventstest.Newest(t, eventType)
		data, err := json.Marshal(event)
		require.NoError(t, err)
		require.Equal(t, eventType, event.EventType())
		require.JSONEq(t, string(golden.Data), string(data), golden.Name)
		require.Equal(t, golden.Subject, event.EventSubject())
	}
	require.Equal(t, refunded.ChargeReply(), refunded.CancelReply())
}

// A payment that is voided before its order arrives has no other time than that.
func TestReplyToACancellationBeforeItsOrderHasOneTime(t *testing.T) {
	t.Parallel()
	p := payment.Payment{
		OrderID: uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001"), UserID: 1, Amount: 100000,
		Status: payment.StatusVoided, CreatedAt: time.Date(2026, 11, 24, 10, 0, 5, 7291000, time.UTC),
	}
	data, err := json.Marshal(p.CancelReply())
	require.NoError(t, err)
	require.JSONEq(t, `{"order_id":"01980f5e-7b1c-7000-8000-000000000001","user_id":1,"amount_minor":100000,"voided_at":"2026-11-24T10:00:05.007291Z"}`, string(data))
}
