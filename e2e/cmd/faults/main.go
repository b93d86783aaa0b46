// Command faults starts a separate shop and sends it orders and cancellations. It retries
// each request with its key until the response is definite. At the same time it kills
// orders, payments, the broker, the gateway and the database in turn, as a crash would. The
// shop must recover without intervention. At the end every order must exist exactly once
// with a final status, every accepted cancellation must have taken effect, and all balances
// must be exact to the kopek.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stack"
)

const (
	users   = 500
	balance = 4 // too little for all orders, so that some are refused
	workers = 8
	pause   = 200 * time.Millisecond
	settle  = 3 * time.Minute
)

var victims = []string{"orders", "payments", "rabbitmq", "gateway", "postgres"}

func main() {
	orders := flag.Int("orders", 3000, "number of orders to place")
	every := flag.Duration("every", 4*time.Second, "time between kills")
	scale := flag.Int("scale", 1, "replicas of orders and of payments")
	stack.Main("faults", func(ctx context.Context, log io.Writer) error {
		return run(ctx, *orders, *every, *scale, log)
	})
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
	loading, stop := context.WithCancel(ctx)
	defer stop()
	kills := make(chan map[string]int, 1)
	go func() { kills <- killInTurn(loading, s, every, out) }()
	var placed load.Orders
	err = client.PlaceThroughFaults(ctx, workers, users, orders, pause, &placed)
	stop()
	killed := <-kills
	if err != nil {
		return err
	}
	accepted, cancelled := placed.Accepted(), placed.Cancelled()
	fmt.Fprintf(out, "%d orders accepted, %d of them cancelled, %d requests retried, in %.0f s; kills: %v\n",
		len(accepted), len(cancelled), placed.Retries.Load(), time.Since(start).Seconds(), killed)

	took, err := s.Settle(ctx, settle)
	if err != nil {
		return err
	}
	counts, err := s.SQL(ctx, `SELECT status, coalesce(cancel_reason, ''), count(*) FROM orders.orders GROUP BY 1, 2 ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "all orders terminal %.1f s after the load ended; orders by status and reason:\n%s\n", took.Seconds(), counts)
	violations, err := s.Audit(ctx, accepted, cancelled)
	if err != nil {
		return err
	}
	for _, v := range violations {
		fmt.Fprintln(out, "audit: violation:", v)
	}
	if len(violations) > 0 {
		return errors.New("the audit failed")
	}
	fmt.Fprintln(out, "audit: passed. No accepted order is lost. No order was placed, charged or refunded twice. All balances are exact.")
	return nil
}

// killInTurn kills one service after another until ctx is done. It returns the number of
// kills by service.
func killInTurn(ctx context.Context, s *stack.Stack, every time.Duration, out io.Writer) map[string]int {
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
			fmt.Fprintf(out, "killing %s failed: %v\n", victim, err)
		case len(running) > 0: // otherwise it has not restarted since the last kill
			killed[victim]++
		}
	}
}
