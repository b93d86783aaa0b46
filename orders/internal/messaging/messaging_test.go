package messaging

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

// Every revision, because an old replica of payments may send it still, and because
// a dead letter may be moved back after years.
func TestEveryRevisionOfAResultIsUnderstood(t *testing.T) {
	t.Parallel()
	understood := 0
	for _, eventType := range eventstest.Types(t) {
		for _, golden := range eventstest.Goldens(t, eventType) {
			r, err := decode(golden.Envelope)
			if !strings.HasPrefix(eventType, "payment.") {
				require.ErrorIs(t, err, events.ErrMalformed, golden.Name)
				continue
			}
			understood++
			require.NoError(t, err, golden.Name)
			require.Equal(t, uuid.MustParse(golden.ID), r.MessageID, golden.Name)
			require.Equal(t, uuid.MustParse(golden.Subject), r.OrderID, golden.Name)
		}
	}
	require.NotZero(t, understood)
}
