package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// group is a set of figures that are measured together.
type group struct {
	figures []string
	measure func(context.Context, *bench) ([]Figure, error)
}

// groups returns all groups in the order in which they run.
func groups() []group {
	return []group{
		{[]string{"throughput", "throughput_sequential", "cpu_per_order", "vs_river", "vs_dbos"}, measureThroughput},
		{[]string{"latency"}, measureLatency},
		{[]string{"accept"}, measureAccept},
		{[]string{"hot_account"}, measureHotAccount},
		{[]string{"audit"}, measureAudit},
		{[]string{"drain"}, measureDrain},
		{[]string{"gateway"}, measureGateway},
		{[]string{"streams"}, measureStreams},
		{[]string{"footprint"}, measureFootprint},
		{[]string{"history"}, measureHistory}, // last, because it deletes the shared shop
	}
}

func allFigures() []string {
	var names []string
	for _, g := range groups() {
		names = append(names, g.figures...)
	}
	return names
}

// selection is a set of names of figures.
type selection map[string]bool

func (s selection) has(name string) bool { return s[name] }

// parseSelection parses "all" or names separated by commas.
func parseSelection(names string) (selection, error) {
	s, known := selection{}, allFigures()
	for name := range strings.SplitSeq(names, ",") {
		switch name = strings.TrimSpace(name); {
		case name == "all":
			for _, n := range known {
				s[n] = true
			}
		case slices.Contains(known, name):
			s[name] = true
		default:
			return nil, fmt.Errorf("unknown figure %q, want one of %s", name, strings.Join(known, ", "))
		}
	}
	return s, nil
}

// any reports whether one of the names is selected.
func (s selection) any(names []string) bool { return slices.ContainsFunc(names, s.has) }
