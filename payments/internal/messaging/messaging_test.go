package messaging

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

// Old revisions too: an old replica of orders may still send them, and a dead letter may be
// redriven after years.
func TestEveryRevisionOfAnOrderIsDecoded(t *testing.T) {
	t.Parallel()
	decoded := 0
	for _, eventType := range eventstest.Types(t) {
		for _, golden := range eventstest.Goldens(t, eventType) {
			c, err := decode(golden.Envelope)
			if !strings.HasPrefix(eventType, "order.") {
				require.ErrorIs(t, err, events.ErrMalformed, golden.Name)
				continue
			}
			decoded++
			require.NoError(t, err, golden.Name)
			require.Equal(t, uuid.MustParse(golden.Subject), c.OrderID, golden.Name)
			require.EqualValues(t, 1, c.UserID, golden.Name)
			require.EqualValues(t, 100000, c.Amount, golden.Name)
		}
	}
	require.NotZero(t, decoded)
}
