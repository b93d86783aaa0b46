package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Figure is one result of the benchmark.
type Figure struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	Target Target  `json:"target"`
	// Reached reports whether Value is within Target.
	Reached bool `json:"reached"`
	// Runs are the values of the rounds, in the order in which they were measured. Value is
	// their median. Empty if there was one measurement.
	Runs []float64 `json:"runs,omitempty"`
	// Detail names what was compared, with absolute values.
	Detail string `json:"detail"`
}

// Target is the bound that a figure must keep.
type Target struct {
	AtMost bool    `json:"at_most"` // Bound is the largest allowed value instead of the smallest
	Bound  float64 `json:"bound"`
}

func atLeast(bound float64) Target { return Target{Bound: bound} }
func atMost(bound float64) Target  { return Target{AtMost: true, Bound: bound} }

// Met reports whether the value keeps the bound.
func (t Target) Met(value float64) bool {
	if t.AtMost {
		return value <= t.Bound
	}
	return value >= t.Bound
}

func (t Target) String() string {
	sign := "≥ "
	if t.AtMost {
		sign = "≤ "
	}
	return sign + strconv.FormatFloat(t.Bound, 'f', -1, 64)
}

// Attained returns which part of the target the value is: 1 is the bound, more is better.
func (t Target) Attained(value float64) float64 {
	if t.AtMost {
		return t.Bound / value
	}
	return value / t.Bound
}

// measured returns the figure of one measurement.
func measured(name string, value float64, unit string, target Target, detail string) Figure {
	return Figure{Name: name, Value: value, Unit: unit, Target: target, Reached: target.Met(value), Detail: detail}
}

// compared returns the figure of the ratios that several rounds have measured.
func compared(name string, runs []float64, target Target, detail string) Figure {
	f := measured(name, median(runs), "times", target, detail)
	f.Runs = slices.Clone(runs)
	return f
}

// String returns the line that the benchmark prints.
func (f Figure) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", f.Name, number(f.Value), f.Unit)
	if f.Detail != "" {
		b.WriteString(" (" + f.Detail)
		if len(f.Runs) > 1 {
			fmt.Fprintf(&b, "; median of %d, range %s", len(f.Runs), f.spread())
		}
		b.WriteString(")")
	}
	verdict := "missed"
	if f.Reached {
		verdict = "reached"
	}
	return b.String() + ", target " + f.Target.String() + ": " + verdict
}

// spread returns the range of the rounds.
func (f Figure) spread() string {
	return number(slices.Min(f.Runs)) + " to " + number(slices.Max(f.Runs))
}

// number formats a value with three significant digits, or as an integer with separated
// thousands if it is large.
func number(v float64) string {
	switch {
	case v >= 99.95 || v <= -99.95:
		return thousands(int64(v + 0.5))
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case v >= 0.9995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'f', 3, 64)
	}
}

func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
