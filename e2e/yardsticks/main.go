// Command yardsticks runs what the benchmark compares the shop with: the same business
// without HTTP and without a broker on two libraries, each used as its documentation
// advises, and the publishing of single messages.
//
//	yardsticks river   -orders 5000    River: an order and its job in one transaction, then a worker's transaction
//	yardsticks dbos    -orders 5000    DBOS Transact: one workflow of three transactional steps
//	yardsticks publish -orders 100000  RabbitMQ: one persistent message an order, each confirmed by a quorum queue
//
// DATABASE_URL and AMQP_URL are the addresses of the servers. The tables of the schema
// bench, which are copies of the shop's tables, must exist. The result is one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// workload is the number of orders and who places them.
type workload struct {
	orders  int
	clients int // that place orders concurrently, each one order at a time
	users   int // the accounts have the ids 1 to users
	workers int // of a queue
	server  string
}

// result is printed as JSON.
type result struct {
	Orders  int     `json:"orders"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"cpu_seconds"` // CPU time of this process meanwhile
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "yardsticks:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	yardsticks := map[string]func(context.Context, workload) (result, error){"river": runRiver, "dbos": runDBOS, "publish": runPublish}
	if len(args) == 0 || yardsticks[args[0]] == nil {
		return errors.New("usage: yardsticks river|dbos|publish [flags]")
	}
	w := workload{server: getenv("DATABASE_URL")}
	if args[0] == "publish" {
		w.server = getenv("AMQP_URL")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&w.orders, "orders", 5000, "number of orders")
	flags.IntVar(&w.clients, "clients", 64, "clients that place orders; for publish, confirms in flight")
	flags.IntVar(&w.users, "users", 10_000, "number of accounts")
	flags.IntVar(&w.workers, "workers", 64, "workers of River")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if w.orders < 1 || w.clients < 1 || w.users < 1 || w.workers < 1 {
		return errors.New("all numbers must be positive")
	}
	r, err := yardsticks[args[0]](ctx, w)
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return json.NewEncoder(stdout).Encode(r)
}

// measure runs fn and returns its duration and the CPU time of the process meanwhile.
func measure(orders int, fn func() error) (result, error) {
	cpu, start := cpuTime(), time.Now()
	if err := fn(); err != nil {
		return result{}, err
	}
	return result{orders, time.Since(start).Seconds(), (cpuTime() - cpu).Seconds()}, nil
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// place calls fn once for each order, on w.clients goroutines. It stops at the first error.
func place(ctx context.Context, w workload, fn func(context.Context) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range w.clients {
		g.Go(func() error {
			for int(next.Add(1)) <= w.orders && ctx.Err() == nil {
				if err := fn(ctx); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}
