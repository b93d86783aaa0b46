package servicetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Patience is how long a test waits for what must happen: long enough for a broker
// to restart.
const Patience = 90 * time.Second

// The pause between two looks grows with the time that has passed, to a tenth of it.
const (
	pollFirst = 20 * time.Millisecond
	pollMax   = time.Second
)

// Eventually waits until condition is true and fails the test if it is still false after
// [Patience]. Unlike testify's function of the same name, it calls condition on the
// goroutine of its caller, so condition may use require.
func Eventually(t testing.TB, condition func() bool, msgAndArgs ...any) {
	t.Helper()
	began := time.Now()
	for !condition() {
		waited := time.Since(began)
		if waited > Patience {
			require.Fail(t, "the condition was never true", msgAndArgs...)
		}
		<-time.After(min(max(pollFirst, waited/10), pollMax))
	}
}
