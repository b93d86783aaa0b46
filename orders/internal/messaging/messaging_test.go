package messaging

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

// Old revisions too: an old replica of payments may still send them, and a dead letter may be
// redriven after years.
func TestEveryRevisionOfAResultIsDecoded(t *testing.T) {
	t.Parallel()
	decoded := 0
	for _, eventType := range eventstest.Types(t) {
		for _, golden := range eventstest.Goldens(t, eventType) {
			r, err := decode(golden.Envelope)
			if !strings.HasPrefix(eventType, "payment.") {
				require.ErrorIs(t, err, events.ErrMalformed, golden.Name)
				continue
			}
			decoded++
			require.NoError(t, err, golden.Name)
			require.Equal(t, uuid.MustParse(golden.Subject), r.OrderID, golden.Name)
		}
	}
	require.NotZero(t, decoded)
}
