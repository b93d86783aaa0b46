package stack

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestResidentMemoryIsTheSumOfTheProcesses(t *testing.T) {
	t.Parallel()
	bytes, err := sumRSS("PID                 RSS\n16184               26212\n16190               100\n")
	require.NoError(t, err)
	require.EqualValues(t, (26212+100)*1024, bytes)
	for _, invalid := range []string{"", "PID RSS\n", "PID RSS\n1 2 3\n", "PID RSS\n1 many\n"} {
		_, err := sumRSS(invalid)
		require.Error(t, err, invalid)
	}
}
