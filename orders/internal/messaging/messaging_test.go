package messaging

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/order"
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

func TestGoldensAreUnderstood(t *testing.T) {
	t.Parallel()
	r, err := decode(golden(t, events.TypePaymentSucceeded))
	require.NoError(t, err)
	require.True(t, r.Paid)
	require.Equal(t, "01980f5e-7b1c-7000-8000-000000000001", r.OrderID.String())
	require.Equal(t, "01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e60", r.MessageID.String())
	r, err = decode(golden(t, events.TypePaymentFailed))
	require.NoError(t, err)
	require.False(t, r.Paid)
	require.EqualValues(t, "insufficient_funds", r.Reason)
	_, err = decode(golden(t, events.TypeOrderCreated))
	require.ErrorIs(t, err, events.ErrMalformed)
}

func TestOrderCreatedIsItsGolden(t *testing.T) {
	t.Parallel()
	o := order.Order{ID: uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001"), UserID: 1, Price: 100000}
	data, err := json.Marshal(o.Created())
	require.NoError(t, err)
	require.JSONEq(t, string(golden(t, events.TypeOrderCreated).Data), string(data))
}
