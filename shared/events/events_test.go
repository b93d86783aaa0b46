package events_test

import (
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/events"
)

const orderID = "01980f5e-7b1c-7000-8000-000000000001"

// The goldens are what the types produce, and what they are read back from.
func TestGoldens(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		id, source string
		event      events.Event
		read       events.Event
	}{
		{"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e5f", "gozon/orders", &events.OrderCreated{OrderID: orderID, UserID: 1, Amount: 100000}, &events.OrderCreated{}},
		{"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e60", "gozon/payments", &events.PaymentSucceeded{OrderID: orderID, UserID: 1, Amount: 100000}, &events.PaymentSucceeded{}},
		{"01980f5e-7b1c-7c3a-9f00-5a1b2c3d4e61", "gozon/payments", &events.PaymentFailed{OrderID: orderID, UserID: 1, Amount: 100000, Reason: events.ReasonInsufficientFunds}, &events.PaymentFailed{}},
	} {
		t.Run(tc.event.EventType(), func(t *testing.T) {
			t.Parallel()
			golden, err := os.ReadFile("testdata/" + tc.event.EventType() + ".json")
			require.NoError(t, err)
			data, err := json.Marshal(tc.event)
			require.NoError(t, err)
			body, err := json.Marshal(events.Envelope{
				SpecVersion: "1.0", ID: tc.id, Source: tc.source, Type: tc.event.EventType(), Subject: tc.event.EventSubject(),
				Time: time.Date(2026, 11, 24, 10, 0, 0, 123456000, time.UTC), DataContentType: "application/json",
				TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Data: data,
			})
			require.NoError(t, err)
			require.JSONEq(t, string(golden), string(body))

			e, err := events.Parse(golden)
			require.NoError(t, err)
			require.NoError(t, e.Decode(tc.read))
			require.Equal(t, tc.event, tc.read)
		})
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	e, err := events.Parse([]byte(`{"specversion":"1.0","id":"x","type":"t","new":1,"data":{"order_id":"o","newer":[]}}`))
	require.NoError(t, err)
	var o events.OrderCreated
	require.NoError(t, e.Decode(&o))
	require.Equal(t, "o", o.OrderID)
}

func TestMalformedIsSaid(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		``, `null`, `[]`, `{}`, `{"specversion":"0.3","id":"x","type":"t","data":{}}`, `{"specversion":"1.0","type":"t","data":{}}`,
		`{"specversion":"1.0","id":"x","data":{}}`, `{"specversion":"1.0","id":"x","type":"t"}`, `{"specversion":"1.0","id":"x","type":"t","data":{}`,
	} {
		_, err := events.Parse([]byte(body))
		require.ErrorIs(t, err, events.ErrMalformed, body)
	}
	e, err := events.Parse([]byte(`{"specversion":"1.0","id":"x","type":"t","data":{"user_id":"1"}}`))
	require.NoError(t, err)
	require.ErrorIs(t, e.Decode(&events.OrderCreated{}), events.ErrMalformed)
}
