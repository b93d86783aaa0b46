package pins

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOfficialImagesArePinned(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, official())
	for name, image := range official() {
		if name == "browser" { // no digest is known, see ADR 33
			continue
		}
		require.Regexp(t, `^[a-z/-]+:[\w.-]+@sha256:[0-9a-f]{64}$`, image)
	}
}

// The files that must repeat a pin repeat it exactly. If not: make pins.
func TestRepeatedImagesMatchTheirPins(t *testing.T) {
	t.Parallel()
	repeated := regexp.MustCompile(`[A-Z]+_IMAGE(?::-|=)([^}\s]+)`)
	for file, count := range map[string]int{"Dockerfile": 2, "docker-compose.yml": 4, "deploy/pooler.yml": 1, "e2e/failover/compose.yml": 1} {
		images := repeated.FindAllStringSubmatch(read(t, path(file)), -1)
		require.Len(t, images, count, file)
		for _, image := range images {
			require.Contains(t, slices.Collect(maps.Values(official())), image[1], file)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
