package messaging

import (
	"encoding/json"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/orders/internal/order"
	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

func TestOrderEventsMatchTheGoldenEvents(t *testing.T) {
	t.Parallel()
	o := order.Order{ID: uuid.MustParse("01980f5e-7b1c-7000-8000-000000000001"), UserID: 1, Price: 100000}
	for _, event := range []events.Event{o.Created(), o.CancelRequested()} {
		golden := eventstest.Newest(t, event.EventType())
		data, err := json.Marshal(event)
		require.NoError(t, err)
		require.JSONEq(t, string(golden.Data), string(data), golden.Name)
		require.Equal(t, golden.Subject, event.EventSubject())
	}
}
