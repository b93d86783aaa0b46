package containertest

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel could assign an ephemeral port to any process while the container is down.
func TestHostPortsAreBelowTheEphemeralPorts(t *testing.T) {
	t.Parallel()
	limits, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip("not on Linux")
	}
	var first, last int
	_, err = fmt.Sscan(string(limits), &first, &last)
	require.NoError(t, err)
	for range 1000 {
		require.Less(t, hostPort(), first)
	}
}
