package servicetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience is how long a test waits for what must happen: long enough for a broker
// to restart.
const Patience = 90 * time.Second

const pollInterval = 20 * time.Millisecond

// Eventually waits until condition is true and fails the test if it is still false after
// [Patience]. Unlike testify's function of the same name, it calls condition on the
// goroutine of its caller, so condition may use require.
func Eventually(t testing.TB, condition func() bool, msgAndArgs ...any) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	for !condition() {
		if time.Now().After(deadline) {
			require.Fail(t, "the condition was never true", msgAndArgs...)
		}
		<-time.After(pollInterval)
	}
}
