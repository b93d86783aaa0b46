// Command bench measures how fast the shop is and what it costs. Each figure is compared
// with a yardstick that runs in the same run on the same machine, in turns with the shop
// (A, B, A, B), so that a machine whose speed drifts favors neither. docs/performance.md
// describes each figure and each yardstick.
//
// At its end it prints one line for each figure:
//
//	name value unit (what was compared; median and range of the rounds), target: reached or missed
//
// and writes the same with tables and a plot to bench-results. A quick comparison while
// optimizing:
//
//	go run ./cmd/bench -figures throughput,cpu_per_order -rounds 1 -orders 10000
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"gozon/e2e/stack"
)

// options are the command line flags.
type options struct {
	figures selection
	project string // compose project of the main shop; the other shops add a suffix
	rounds  int
	orders  int
	out     string

	latencyOrders int
	drainOrders   int
	drainRounds   int
	streams       int
	history       int

	log io.Writer // receives the output of compose and docker
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		err = run(ctx, o, os.Stdout, os.Stderr)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{log: io.Discard}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	names := flags.String("figures", "all", "figures to measure, comma separated: "+strings.Join(allFigures(), ", "))
	flags.StringVar(&o.project, "project", "gozon-bench", "compose project; two runs at the same time need different ones")
	flags.IntVar(&o.rounds, "rounds", 3, "number of rounds")
	flags.IntVar(&o.orders, "orders", 20_000, "orders of one measurement of the shop; the yardsticks place a part of them")
	flags.IntVar(&o.latencyOrders, "latency-orders", 6_000, "orders of the latency figure, which places 100 per second")
	flags.IntVar(&o.drainOrders, "drain-orders", 100_000, "orders that are placed while the broker is down")
	flags.IntVar(&o.drainRounds, "drain-rounds", 2, "rounds of the drain figure")
	flags.IntVar(&o.streams, "streams", 5_000, "open event streams, at most one for each of the 10,000 users")
	flags.IntVar(&o.history, "history", 5_000_000, "old orders of the history figure")
	flags.StringVar(&o.out, "out", "", "folder of the report (default: bench-results in the root of the repository)")
	verbose := flags.Bool("v", false, "show the output of compose and docker")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if min(o.rounds, o.orders, o.latencyOrders, o.drainOrders, o.drainRounds, o.streams, o.history) < 1 {
		return o, errors.New("all numbers must be positive")
	}
	if o.streams > users {
		return o, fmt.Errorf("-streams is %d: there are only %d users", o.streams, users)
	}
	if *verbose {
		o.log = stderr
	}
	var err error
	o.figures, err = parseSelection(*names)
	return o, err
}

// bench is one run of the benchmark.
type bench struct {
	options

	engine   *stack.Engine
	shop     *shop // shared by most figures; see openMain
	progress io.Writer
	report   Report
}

func run(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	engine, err := stack.NewEngine(ctx)
	if err != nil {
		return err
	}
	b := &bench{options: o, engine: engine, progress: stderr, report: Report{Started: time.Now(), Machine: describeMachine(ctx)}}
	defer func() {
		if b.shop != nil {
			err = errors.Join(err, b.shop.close(ctx, nil))
		}
	}()
	for _, g := range groups() {
		if !slices.ContainsFunc(g.figures, o.figures.has) {
			continue
		}
		start := time.Now()
		b.note("measuring %s", strings.Join(slices.DeleteFunc(g.figures, func(name string) bool { return !o.figures.has(name) }), ", "))
		figures, failed := g.measure(ctx, b)
		b.report.Figures = append(b.report.Figures, figures...)
		if failed != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", strings.Join(g.figures, ", "), failed))
			b.note("failed: %v", failed)
		}
		if ctx.Err() != nil {
			break
		}
		b.note("took %.0f s", time.Since(start).Seconds())
	}
	b.report.Took = time.Since(b.report.Started)
	if e := b.report.Write(o.out); e != nil {
		err = errors.Join(err, e)
	}
	return errors.Join(err, b.report.Print(stdout))
}

// note prints the progress of the run.
func (b *bench) note(format string, args ...any) {
	fmt.Fprintf(b.progress, "%s "+format+"\n", append([]any{time.Now().Format(time.TimeOnly)}, args...)...)
}

// closeShop deletes a shop. A failure is only noted, because the figures are measured.
func (b *bench) closeShop(ctx context.Context, s *shop) {
	if err := s.close(ctx, nil); err != nil {
		b.note("could not delete %s: %v", s.Project, err)
	}
}

// openMain starts the shop that most figures share, once, and warms it up.
func (b *bench) openMain(ctx context.Context) (*shop, error) {
	if b.shop != nil {
		return b.shop, nil
	}
	b.note("starting the shop")
	s, err := openShop(ctx, b.engine, b.log, b.project)
	if err != nil {
		return nil, err
	}
	b.shop = s
	if _, err := s.settle(ctx, users, max(1, b.orders/4)); err != nil {
		return nil, fmt.Errorf("warm-up: %w", err)
	}
	return s, nil
}
