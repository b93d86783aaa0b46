package servicetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience is the maximum time that a test waits for an expected event. It is long enough
// for a broker to restart.
const Patience = 90 * time.Second

// Limits of the polling interval, which is a tenth of the time that has passed.
const (
	pollFirst = 20 * time.Millisecond
	pollMax   = time.Second
)

// Eventually polls condition until it returns true, and fails the test if it is still false
// after [Patience]. Unlike testify's function of the same name, it calls condition on the
// goroutine of its caller, so condition may use require.
func Eventually(t testing.TB, condition func() bool, msgAndArgs ...any) {
	t.Helper()
	start := time.Now()
	for !condition() {
		waited := time.Since(start)
		if waited > Patience {
			require.Fail(t, "the condition did not become true in time", msgAndArgs...)
		}
		<-time.After(min(max(pollFirst, waited/10), pollMax))
	}
}
