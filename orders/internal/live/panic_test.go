package live_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/orders/internal/live"
)

// A panic while a change is read and a panic of the source are each logged with their stack.
// The missed changes are then delivered.
func TestHubResumesAfterPanics(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	stop := f.run(t)
	s := f.follow(t, 1)

	f.store.panicOnRead.Store(true)
	ids := f.place(t, 1, 1)
	f.receive <- []live.Changed{{UserID: 1, OrderID: onlyID(t, ids)}}
	requireDelivered(t, s, ids)

	f.fail <- struct{}{}
	f.listen <- struct{}{} // the source was restarted
	f.waitUntilReady(t)
	ids = f.place(t, 1, 1)
	f.receive <- []live.Changed{{UserID: 1, OrderID: onlyID(t, ids)}}
	requireDelivered(t, s, ids)

	stop()
	for _, cause := range []string{"the store panicked", "the source panicked"} {
		require.Equal(t, 1, strings.Count(f.log.String(), cause))
	}
	require.Equal(t, 2, strings.Count(f.log.String(), "runtime/debug.Stack"))
}
