package messaging

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/payments/internal/payment"
	"gozon/shared/events"
)

func golden(t *testing.T, eventType string) events.Envelope {
	t.Helper()
	body, err := os.ReadFile("../../../shared/events/testdata/" + eventType + ".json")
	require.NoError(t, err)
	e, err := events.Parse(body)
	require.NoError(t, err)
	return e
}

func TestGoldenIsUnderstood(t *testing.T) {
	t.Parallel()
	o, err := decode(golden(t, events.TypeOrderCreated))
	require.NoError(t, err)
	require.Equal(t, payment.Order{
		MessageID: uuid.MustParse("01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f"), OrderID: uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001"),
		UserID: 1, Amount: 100000,
	}, o)
	_, err = decode(golden(t, events.TypePaymentFailed))
	require.ErrorIs(t, err, events.ErrMalformed)
}

func TestResultsAreTheirGoldens(t *testing.T) {
	t.Parallel()
	p := payment.Payment{OrderID: uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001"), UserID: 1, Amount: 100000, Status: payment.StatusSucceeded}
	data, err := json.Marshal(p.Event())
	require.NoError(t, err)
	require.JSONEq(t, string(golden(t, events.TypePaymentSucceeded).Data), string(data))
	p.Status, p.Reason = payment.StatusFailed, events.ReasonInsufficientFunds
	data, err = json.Marshal(p.Event())
	require.NoError(t, err)
	require.JSONEq(t, string(golden(t, events.TypePaymentFailed).Data), string(data))
}
