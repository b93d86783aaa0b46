package main

import (
	"context"
	"fmt"
)

// contender is the shop or a yardstick that settles orders.
type contender struct {
	name  string
	needs []string // the figures that it is measured for
	run   func(context.Context) (result, error)
	runs  []result
}

func (c *contender) rates() []float64 { return pick(c.runs, result.rate) }

func (c *contender) cpuPerOrder() []float64 {
	return pick(c.runs, func(r result) float64 { return float64(r.cpu.sum().Nanoseconds()) / 1e3 / float64(r.orders) })
}

// against describes a comparison of two contenders, with the medians of their rates.
func (c *contender) against(other *contender) string {
	return fmt.Sprintf("%s orders/s against %s orders/s of %s", number(median(c.rates())), number(median(other.rates())), other.name)
}

// measureThroughput lets the shop and all yardsticks that settle orders take turns.
func measureThroughput(ctx context.Context, b *bench) ([]Figure, error) {
	s, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	if err := createBenchTables(ctx, s); err != nil {
		return nil, err
	}
	shop := &contender{name: "the shop", needs: allFigures(), run: func(ctx context.Context) (result, error) { return s.settle(ctx, users, b.orders) }}
	many := &contender{
		name: fmt.Sprintf("pgbench with %d clients", connections), needs: []string{"throughput", "cpu_per_order"},
		run: func(ctx context.Context) (result, error) {
			return pgbench(ctx, s, connections, max(connections, b.orders))
		},
	}
	one := &contender{
		name: "pgbench with one client", needs: []string{"throughput_sequential"},
		run: func(ctx context.Context) (result, error) { return pgbench(ctx, s, 1, max(1, b.orders/5)) },
	}
	river := &contender{name: "River", needs: []string{"vs_river"}}
	dbos := &contender{name: "DBOS Transact", needs: []string{"vs_dbos"}}
	if b.figures.has("vs_river") || b.figures.has("vs_dbos") {
		y, err := buildYardsticks(ctx, s)
		if err != nil {
			return nil, err
		}
		defer y.close(ctx)
		river.run = func(ctx context.Context) (result, error) {
			return y.run(ctx, "postgres", "river", max(connections, b.orders/3), connections)
		}
		dbos.run = func(ctx context.Context) (result, error) {
			return y.run(ctx, "postgres", "dbos", max(connections, b.orders/5), connections)
		}
	}
	all := []*contender{shop, many, one, river, dbos}
	if err := b.warmUp(ctx, all[1:]...); err != nil {
		return nil, err
	}
	if err := b.takeTurns(ctx, b.rounds, all); err != nil {
		return nil, err
	}
	var figures []Figure
	compare := func(name string, with *contender, bound float64) {
		if b.figures.has(name) {
			figures = append(figures, compared(name, ratios(shop.rates(), with.rates()), atLeast(bound), shop.against(with)))
		}
	}
	compare("throughput", many, 2)
	compare("throughput_sequential", one, 6)
	compare("vs_river", river, 4)
	compare("vs_dbos", dbos, 8)
	if b.figures.has("cpu_per_order") {
		figures = append(figures, compared("cpu_per_order", ratios(shop.cpuPerOrder(), many.cpuPerOrder()), atMost(0.45),
			fmt.Sprintf("%s µs against %s µs of %s", number(median(shop.cpuPerOrder())), number(median(many.cpuPerOrder())), many.name)))
	}
	b.report.Tables = append(b.report.Tables, cpuTable(all), rateTable(all))
	return figures, nil
}

// takeTurns runs the contenders that the selected figures need in each round, one after
// another.
func (b *bench) takeTurns(ctx context.Context, rounds int, all []*contender) error {
	for round := range rounds {
		for _, c := range all {
			if !b.figures.any(c.needs) {
				continue
			}
			r, err := c.run(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			c.runs = append(c.runs, r)
			b.note("round %d: %s: %s orders/s, %s µs of CPU an order, load generator %s", round+1, c.name, number(r.rate()),
				number(float64(r.cpu.sum().Microseconds())/float64(r.orders)), number(float64(r.load.Microseconds())/float64(r.orders)))
		}
	}
	return nil
}

// warmUp runs each selected contender once: libraries create their tables, and the first
// rows of empty tables cost more than later ones.
func (b *bench) warmUp(ctx context.Context, all ...*contender) error {
	for _, c := range all {
		if !b.figures.any(c.needs) {
			continue
		}
		if _, err := c.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

// cpuTable shows where the CPU time of an order goes.
func cpuTable(all []*contender) Table {
	t := Table{Title: "CPU time by container", Header: cpuHeader()}
	for _, c := range all {
		if len(c.runs) > 0 {
			t.Rows = append(t.Rows, cpuRow(c.name, c.runs))
		}
	}
	return t
}

// rateTable shows the rate of each contender in each round.
func rateTable(all []*contender) Table {
	t := Table{Title: "Orders per second by round", Header: []string{"contender"}}
	for _, c := range all {
		if len(c.runs) == 0 {
			continue
		}
		row := []string{c.name}
		for i, rate := range c.rates() {
			if len(t.Header) <= i+1 {
				t.Header = append(t.Header, fmt.Sprintf("round %d", i+1))
			}
			row = append(row, number(rate))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
