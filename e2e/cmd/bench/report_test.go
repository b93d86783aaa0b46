package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func sample() Report {
	return Report{
		Started: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), Took: 90 * time.Second,
		Machine: []Property{{"CPU", "two cores"}},
		Figures: []Figure{
			compared("throughput", []float64{1, 3, 2.5}, atLeast(2), "a & b"),
			measured("latency_p99", 66, "ms", atMost(40), "100 orders/s"),
		},
		Tables: []Table{{Title: "CPU", Header: []string{"µs", "sum"}, Rows: [][]string{{"the shop", "850"}, {"a|b", "1,190"}}}},
	}
}

func TestPrintEndsWithOneLineForEachFigure(t *testing.T) {
	t.Parallel()
	r := sample()
	var out bytes.Buffer
	require.NoError(t, r.Print(&out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Equal(t, []string{r.Figures[0].String(), r.Figures[1].String()}, lines[len(lines)-2:])
	require.Contains(t, out.String(), "the shop    850\na|b       1,190\n")
}

func TestReportIsWrittenAsMarkdownAndJSON(t *testing.T) {
	t.Parallel()
	r, folder := sample(), filepath.Join(t.TempDir(), "results")
	require.NoError(t, r.Write(folder))

	markdown, err := os.ReadFile(filepath.Join(folder, "report.md"))
	require.NoError(t, err)
	for _, line := range []string{
		"| `throughput` | 2.50 times | ≥ 2 | reached | 1.00 to 3.00 | a & b |",
		"| `latency_p99` | 66.0 ms | ≤ 40 | missed |  | 100 orders/s |",
		`| a\|b | 1,190 |`,
		"- CPU: two cores",
		"(plot.svg)",
	} {
		require.Contains(t, string(markdown), line)
	}

	data, err := os.ReadFile(filepath.Join(folder, "report.json"))
	require.NoError(t, err)
	var read Report
	require.NoError(t, json.Unmarshal(data, &read))
	require.Equal(t, r, read)
}

func TestPlotShowsTheShareOfEachTarget(t *testing.T) {
	t.Parallel()
	figures := sample().Figures
	figures = append(figures, measured("huge", 100, "times", atLeast(1), ""))
	svg := plot(figures)
	var bars []string
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err, "the plot must be well-formed")
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			for _, a := range e.Attr {
				if a.Name.Local == "width" {
					bars = append(bars, a.Value)
				}
			}
		}
	}
	// The background; 2.5 of 2; 40 of 66; cut at twice the target.
	require.Equal(t, []string{"860", "300.0", "145.5", "480.0"}, bars)
	require.Contains(t, svg, "≥ 2)")
}

func TestOnlyKnownFiguresCanBeSelected(t *testing.T) {
	t.Parallel()
	s, err := parseSelection("throughput, cpu_per_order")
	require.NoError(t, err)
	require.Equal(t, selection{"throughput": true, "cpu_per_order": true}, s)
	s, err = parseSelection("all")
	require.NoError(t, err)
	require.Len(t, s, len(allFigures()))
	_, err = parseSelection("throughput,speed")
	require.ErrorContains(t, err, `unknown figure "speed"`)
}

func TestCPURowIsTheMedianForOneOrder(t *testing.T) {
	t.Parallel()
	run := func(orders int, gateway, postgres time.Duration) result {
		return result{orders: orders, cpu: cpuTime{"gateway": gateway, "postgres": postgres}, load: gateway}
	}
	row := cpuRow("the shop", []result{
		run(1000, 100*time.Millisecond, 200*time.Millisecond), // 100 and 200 µs
		run(2000, 400*time.Millisecond, 200*time.Millisecond), // 200 and 100 µs
		run(1000, 150*time.Millisecond, 900*time.Millisecond), // 150 and 900 µs
	})
	require.Len(t, row, len(cpuHeader()))
	require.Equal(t, []string{"the shop", "150", "–", "–", "200", "–", "–", "–", "300", "150"}, row)
}
