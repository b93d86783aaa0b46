package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

// A broker without disk space or memory stops nothing but publishing. It resumes by itself,
// and no order is lost or published in two messages with different ids.
func TestBrokerAlarmStopsOnlyPublishing(t *testing.T) {
	t.Parallel()
	vhost, _ := brokertest.Own(t)
	f := startOn(t, databasetest.New(t), vhost, "OVERDUE_AFTER", "1h") // nobody pays, and no request may be repeated
	f.Ready(t)
	placed, published := map[string]bool{}, map[string]string{} // ids of orders, and of their messages
	for _, resource := range []string{"disk", "memory"} {
		end := vhost.Alarm(t, resource)
		const before, after = 10, 10
		for range before {
			placed[f.place(t, 1, "1").ID] = true
		}
		f.Degraded(t)
		for range after {
			o := f.place(t, 1, "1")
			placed[o.ID] = true
			require.Equal(t, o, f.order(t, o.ID))
		}
		require.Positive(t, f.Metric(t, "outbox_rows"))
		end()
		f.Ready(t)
		servicetest.Eventually(t, func() bool { return f.rows(t, "outbox") == 0 })
	}
	for len(published) < len(placed) || f.broker.Depth(t, broker.OrdersQueue) > 0 {
		message := f.broker.Get(t, broker.OrdersQueue)
		bodies, err := events.Split(message.Body)
		require.NoError(t, err)
		for _, body := range bodies {
			e, err := events.Parse(body)
			require.NoError(t, err)
			require.True(t, placed[e.Subject])
			if first := published[e.Subject]; first != "" {
				require.Equal(t, first, e.ID, "a different event for the same order")
			}
			published[e.Subject] = e.ID
		}
	}
}
