package messaging

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

// Every revision, because an old replica of orders may send it still, and because
// a dead letter may be moved back after years.
func TestEveryRevisionOfAnOrderIsUnderstood(t *testing.T) {
	t.Parallel()
	understood := 0
	for _, eventType := range eventstest.Types(t) {
		for _, golden := range eventstest.Goldens(t, eventType) {
			o, err := decode(golden.Envelope)
			if !strings.HasPrefix(eventType, "order.") {
				require.ErrorIs(t, err, events.ErrMalformed, golden.Name)
				continue
			}
			understood++
			require.NoError(t, err, golden.Name)
			require.Equal(t, uuid.MustParse(golden.ID), o.MessageID, golden.Name)
			require.Equal(t, uuid.MustParse(golden.Subject), o.OrderID, golden.Name)
			require.EqualValues(t, 1, o.UserID, golden.Name)
			require.EqualValues(t, 100000, o.Amount, golden.Name)
		}
	}
	require.NotZero(t, understood)
}
