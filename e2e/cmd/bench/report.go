package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"gozon/e2e/stack"
)

// Report is the result of a run.
type Report struct {
	Started time.Time     `json:"started"`
	Took    time.Duration `json:"took"` // nanoseconds
	Machine []Property    `json:"machine"`
	Figures []Figure      `json:"figures"`
	Tables  []Table       `json:"tables"`
}

// Property is a fact about the machine.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Table explains figures in detail.
type Table struct {
	Title  string     `json:"title"`
	Header []string   `json:"header"`
	Rows   [][]string `json:"rows"`
}

// Print writes the tables, and then one line for each figure.
func (r *Report) Print(w io.Writer) error {
	var b strings.Builder
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "%s\n\n%s\n", t.Title, t.aligned())
	}
	for _, f := range r.Figures {
		fmt.Fprintln(&b, f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Write writes report.json, report.md and plot.svg to the folder. An empty name means
// bench-results in the root of the repository.
func (r *Report) Write(folder string) error {
	if folder == "" {
		folder = filepath.Join(stack.Root(), "bench-results")
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // the report is not a secret
		return fmt.Errorf("report: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for name, content := range map[string]string{"report.json": string(data) + "\n", "report.md": r.Markdown(), "plot.svg": plot(r.Figures)} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil { //nolint:gosec // the report is not a secret
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// Markdown returns the report as a document that shows plot.svg.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmark of %s\n\n", r.Started.UTC().Format("2006-01-02 15:04 UTC"))
	for _, p := range r.Machine {
		fmt.Fprintf(&b, "- %s: %s\n", p.Name, p.Value)
	}
	fmt.Fprintf(&b, "- duration of the run: %s\n\n", r.Took.Round(time.Second))
	figures := Table{Header: []string{"figure", "value", "target", "", "range", "measured"}}
	for _, f := range r.Figures {
		verdict, spread := "missed", ""
		if f.Reached {
			verdict = "reached"
		}
		if len(f.Runs) > 1 {
			spread = f.spread()
		}
		figures.Rows = append(figures.Rows, []string{"`" + f.Name + "`", number(f.Value) + " " + f.Unit, f.Target.String(), verdict, spread, f.Detail})
	}
	b.WriteString(figures.markdown() + "\n![How much of each target is reached](plot.svg)\n")
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "\n## %s\n\n%s", t.Title, t.markdown())
	}
	return b.String()
}

func (t Table) markdown() string {
	var b strings.Builder
	escape := strings.NewReplacer("|", `\|`, "\n", " ")
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + escape.Replace(c) + " ")
		}
		b.WriteString("|\n")
	}
	line(t.Header)
	b.WriteString(strings.Repeat("|---", len(t.Header)) + "|\n")
	for _, row := range t.Rows {
		line(row)
	}
	return b.String()
}

// aligned returns the table as text for a terminal, with the first column aligned left and
// the others right.
func (t Table) aligned() string {
	rows := append([][]string{t.Header}, t.Rows...)
	width := map[int]int{}
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		for i, c := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(c))
			if i == 0 {
				b.WriteString(c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}
