// Package docstest compares the documentation with what it describes.
package docstest

import (
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

var fqName = regexp.MustCompile(`fqName: "([^"]+)"`)

// Metrics requires that docs/operations/metrics.md names exactly the metrics that a service
// exports, whether they have samples or not. It ignores those of the Go runtime and the process.
func Metrics(t testing.TB, service string, exported prometheus.Collector) {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() {
		defer close(descriptions)
		exported.Describe(descriptions)
	}()
	var names, documented []string
	for d := range descriptions {
		name := fqName.FindStringSubmatch(d.String())[1]
		if strings.HasPrefix(name, "go_") && !strings.HasPrefix(name, "go_sql_") || strings.HasPrefix(name, "process_") {
			continue
		}
		names = append(names, name)
	}
	for _, row := range Table(t, "docs/operations/metrics.md") {
		if row[1] == "all" || slices.Contains(strings.Split(row[1], ", "), service) {
			documented = append(documented, row[0])
		}
	}
	slices.Sort(names)
	require.ElementsMatch(t, slices.Compact(names), documented)
}

// Table returns the rows that begin with code, of all tables with more than two columns in a
// Markdown file. The path is relative to the root of the repository. The first cell is
// without its quotes.
func Table(t testing.TB, path string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(), path))
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) < 3 {
			continue
		}
		cells[0] = strings.Trim(cells[0], "| `")
		rows = append(rows, cells)
	}
	return rows
}

// root returns the root of the repository.
func root() string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(here), "../../..")
}
