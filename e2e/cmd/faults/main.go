// Command faults starts a shop of its own, sends it a stream of orders and cancellations,
// each again with its key until it is answered, and meanwhile kills one process after the
// other as a crash would: orders, payments, the gateway, the broker, the database, again
// and again. No hand helps the shop. In the end every order must be there once with a
// final status, those that were cancelled be cancelled, and the money be exact to the
// kopek.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stack"
)

const (
	users   = 500
	balance = 4 // too little for all of the orders: some must be refused
	workers = 8
	pause   = 200 * time.Millisecond
	settle  = 3 * time.Minute
)

var victims = []string{"orders", "payments", "rabbitmq", "gateway", "postgres"}

func main() {
	orders := flag.Int("orders", 3000, "orders that must be accepted")
	every := flag.Duration("every", 4*time.Second, "time between two kills")
	scale := flag.Int("scale", 1, "replicas of orders and of payments")
	verbose := flag.Bool("v", false, "show what compose prints")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	log := io.Discard
	if *verbose {
		log = os.Stderr
	}
	err := run(ctx, *orders, *every, *scale, log)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, orders int, every time.Duration, scale int, log io.Writer) (err error) {
	out := os.Stdout
	s, err := stack.Up(ctx, stack.Options{Project: "gozon-faults", Log: log, Scale: map[string]int{"orders": scale, "payments": scale}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down(context.WithoutCancel(ctx))) }()
	client := load.NewClient(s.API, workers)
	if err := client.OpenAccounts(ctx, users, balance); err != nil {
		return err
	}

	start := time.Now()
	loading, done := context.WithCancel(ctx)
	defer done()
	kills := make(chan map[string]int, 1)
	go func() { kills <- crash(loading, s, every, out) }()
	var placed load.Orders
	err = client.PlaceThroughFaults(ctx, workers, users, orders, pause, &placed)
	done()
	killed := <-kills
	if err != nil {
		return err
	}
	accepted, cancelled := placed.Accepted(), placed.Cancelled()
	fmt.Fprintf(out, "%d orders accepted and %d cancelled, %d requests sent again with their keys, in %.0f s, kills: %v\n",
		len(accepted), len(cancelled), placed.Repeated.Load(), time.Since(start).Seconds(), killed)

	took, err := settled(ctx, s)
	if err != nil {
		return err
	}
	counts, err := s.SQL(ctx, `SELECT status, coalesce(cancel_reason, ''), count(*) FROM orders.orders GROUP BY 1, 2 ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "all are terminal %.1f s after the last order:\n%s\n", took.Seconds(), counts)
	wrong, err := s.Audit(ctx, accepted, cancelled)
	if err != nil {
		return err
	}
	for _, w := range wrong {
		fmt.Fprintln(out, "WRONG:", w)
	}
	if len(wrong) > 0 {
		return errors.New("the audit failed")
	}
	fmt.Fprintln(out, "audit: no accepted order is lost, none was placed, charged or refunded twice, the money is exact")
	return nil
}

// crash kills one victim after the other until ctx ends, and counts.
func crash(ctx context.Context, s *stack.Stack, every time.Duration, out io.Writer) map[string]int {
	killed := map[string]int{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return killed
		}
		victim := victims[i%len(victims)]
		running, err := s.Containers(ctx, victim)
		if err == nil && len(running) > 0 {
			err = s.Crash(ctx, running[i%len(running)])
		}
		switch {
		case ctx.Err() != nil:
		case err != nil:
			fmt.Fprintln(out, "not killed:", victim, err)
		case len(running) > 0: // else it is not back from its last death
			killed[victim]++
		}
	}
}

// settled waits, without a hand on anything, until every order has its end and no event waits.
func settled(ctx context.Context, s *stack.Stack) (time.Duration, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := s.SQL(ctx, `SELECT (SELECT count(*) FROM orders.orders WHERE status IN ('NEW', 'CANCELLING')) + (SELECT count(*) FROM orders.outbox) + (SELECT count(*) FROM payments.outbox)`)
		if err == nil && left == "0" {
			return time.Since(start), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, fmt.Errorf("after %s still not settled: %s orders and events (%w)", settle, left, errors.Join(err, ctx.Err()))
		}
	}
}
