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
	b := start(t, 10)
	stop := b.run(t)
	s := b.follow(t, 1)

	b.store.explode.Store(true)
	ids := b.place(t, 1, 1)
	b.receive <- []live.Changed{{UserID: 1, OrderID: one(t, ids)}}
	expect(t, s, ids)

	b.explode <- struct{}{}
	b.listen <- struct{}{} // it runs again
	b.ready(t)
	ids = b.place(t, 1, 1)
	b.receive <- []live.Changed{{UserID: 1, OrderID: one(t, ids)}}
	expect(t, s, ids)

	stop()
	for _, cause := range []string{"the store exploded", "the source exploded"} {
		require.Equal(t, 1, strings.Count(b.log.String(), cause))
	}
	require.Equal(t, 2, strings.Count(b.log.String(), "runtime/debug.Stack"))
}
