// Package eventstest provides the golden files of the events to tests: the wire format of
// each type, in its current and in every earlier revision.
package eventstest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
)

// Golden is one revision of an event type.
type Golden struct {
	events.Envelope
	Name string // type/revision
	Body []byte
}

// Types returns the event types that have goldens.
func Types(t testing.TB) []string {
	t.Helper()
	files, err := fs.Glob(testdata(t), "*/1.json")
	require.NoError(t, err)
	types := make([]string, len(files))
	for i, file := range files {
		types[i] = path.Dir(file)
	}
	return types
}

// Goldens returns the revisions of a type, oldest first. The last is the current one.
func Goldens(t testing.TB, eventType string) []Golden {
	t.Helper()
	var goldens []Golden
	for {
		name := fmt.Sprintf("%s/%d", eventType, len(goldens)+1)
		body, err := fs.ReadFile(testdata(t), name+".json")
		if errors.Is(err, fs.ErrNotExist) {
			require.NotEmpty(t, goldens, eventType)
			return goldens
		}
		require.NoError(t, err)
		e, err := events.Parse(body)
		require.NoError(t, err, name)
		require.Equal(t, eventType, e.Type, name)
		goldens = append(goldens, Golden{Envelope: e, Name: name, Body: body})
	}
}

// Newest returns the last of [Goldens].
func Newest(t testing.TB, eventType string) Golden {
	t.Helper()
	goldens := Goldens(t, eventType)
	return goldens[len(goldens)-1]
}

// testdata returns the testdata directory of package events. Its path is derived from this
// source file because the tests of other modules read it too.
func testdata(t testing.TB) fs.FS {
	t.Helper()
	_, here, _, ok := runtime.Caller(0)
	require.True(t, ok)
	return os.DirFS(filepath.Join(filepath.Dir(here), "..", "..", "contract", "events", "testdata"))
}
