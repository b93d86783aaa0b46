package live_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/orders/internal/live"
)

// A change that panics while it is read, and a source that panics: both are logged with
// their stack, and what was missed is delivered afterwards.
func TestPanicIsRetried(t *testing.T) {
	t.Parallel()
	f := start(t, 10)
	stop := f.run(t)
	s := f.follow(t, 1)

	f.store.explode.Store(true)
	ids := f.place(t, 1, 1)
	f.receive <- []live.Changed{{UserID: 1, OrderID: one(t, ids)}}
	expect(t, s, ids)

	f.explode <- struct{}{}
	f.listen <- struct{}{} // it runs again
	f.ready(t)
	ids = f.place(t, 1, 1)
	f.receive <- []live.Changed{{UserID: 1, OrderID: one(t, ids)}}
	expect(t, s, ids)

	stop()
	for _, cause := range []string{"the store exploded", "the source exploded"} {
		require.Equal(t, 1, strings.Count(f.log.String(), cause))
	}
	require.Equal(t, 2, strings.Count(f.log.String(), "runtime/debug.Stack"))
}
