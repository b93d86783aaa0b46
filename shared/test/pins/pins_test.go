package pins

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

// Actions are pinned by commit, and workflows have no more rights than they need.
func TestWorkflowsArePinnedAndConfined(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`^[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	files, err := filepath.Glob(path(".github/workflows/*.yml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text := read(t, file)
		require.Regexp(t, `(?m)^permissions: *(\{\}|\n  contents: read)$`, text, file)
		for line := range strings.Lines(text) {
			if _, action, ok := strings.Cut(strings.TrimSpace(line), "uses: "); ok && !strings.HasPrefix(action, "./") {
				require.Regexp(t, pinned, action, file)
			}
		}
		require.Equal(t, strings.Count(text, "actions/checkout@"), strings.Count(text, "persist-credentials: false"), file)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}
