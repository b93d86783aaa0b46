// Command bench measures the shop against PostgreSQL doing the same work without
// batches, in one run on one machine, and prints one figure a line at its end:
//
//	B1   orders a second, from POST through the gateway until all are terminal, as a
//	     ratio to pgbench running the SQL of the three steps one by one, one commit a step
//	B1c  the same against pgbench with as many clients as the load has connections:
//	     PostgreSQL then commits in groups itself, and has neither HTTP nor a broker to do
//
// All run on the same PostgreSQL server with fsync and synchronous_commit on; the
// shop's queues are quorum queues and every publish is confirmed. They take
// turns, so that a machine whose speed drifts does not favour one of them.
package main

import (
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stack"
)

//go:embed three_steps.sql
var threeSteps string

const (
	connections = 64
	users       = 10_000
	balance     = 1_000_000
)

func main() {
	rounds := flag.Int("rounds", 3, "how often the two take turns")
	orders := flag.Int("orders", 20_000, "orders in one round")
	verbose := flag.Bool("v", false, "show what compose prints")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	log := io.Discard
	if *verbose {
		log = os.Stderr
	}
	err := run(ctx, *rounds, *orders, log)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds, orders int, log io.Writer) (err error) {
	out := os.Stdout
	s, err := stack.Up(ctx, stack.Options{Project: "gozon-bench", Log: log, Env: []string{"LOG_LEVEL=warn"}})
	if err != nil {
		return err
	}
	defer func() {
		if down := s.Down(context.WithoutCancel(ctx)); err == nil {
			err = down
		}
	}()
	// On Linux the load goes to the gateway's own address: the engine's port
	// forwarder would otherwise be a good part of what is measured.
	base := s.API
	if gateway, err := s.Containers(ctx, "gateway"); err == nil && len(gateway) == 1 && reachable(ctx, gateway[0].IP) {
		base = "http://" + gateway[0].IP + ":8080"
	}
	client := load.NewClient(base, connections)
	if err := client.OpenAccounts(ctx, users, balance); err != nil {
		return err
	}
	if err := prepare(ctx, s); err != nil {
		return err
	}
	if _, err := shop(ctx, s, client, orders/4); err != nil { // warm-up
		return err
	}
	var oneByOne, concurrent []float64
	for i := range rounds {
		rate, err := shop(ctx, s, client, orders)
		if err != nil {
			return err
		}
		single, err := pgbench(ctx, s, 1, orders/4)
		if err != nil {
			return err
		}
		many, err := pgbench(ctx, s, connections, orders/4)
		if err != nil {
			return err
		}
		oneByOne, concurrent = append(oneByOne, rate/single), append(concurrent, rate/many)
		fmt.Fprintf(out, "round %d: shop %.0f orders/s, pgbench one by one %.0f, with %d clients %.0f\n", i+1, rate, single, connections, many)
	}
	figure(out, "B1", oneByOne, "orders/s of the shop over pgbench doing the three steps one by one")
	figure(out, "B1c", concurrent, fmt.Sprintf("orders/s of the shop over pgbench doing them with %d clients", connections))
	return nil
}

// figure prints the median of the rounds' ratios, and how far they lie apart.
func figure(w io.Writer, name string, ratios []float64, what string) {
	slices.Sort(ratios)
	fmt.Fprintf(w, "%s %.2f %s (median of %d, %.2f to %.2f)\n", name, ratios[len(ratios)/2], what, len(ratios), ratios[0], ratios[len(ratios)-1])
}

func reachable(ctx context.Context, ip string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, _, err := load.NewClient("http://"+ip+":8080", 1).Post(ctx, "/", "", nil)
	return err == nil && status != 0
}

// shop places orders and waits until all are terminal; it returns orders a second.
func shop(ctx context.Context, s *stack.Stack, c *load.Client, n int) (float64, error) {
	var placed load.Orders
	start := time.Now()
	if err := c.Place(ctx, connections, users, n, &placed); err != nil {
		return 0, err
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := s.SQL(ctx, "SELECT count(*) FROM orders.orders WHERE status = 'NEW'")
		if err != nil {
			return 0, err
		}
		if left == "0" {
			return float64(n) / time.Since(start).Seconds(), nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// prepare gives pgbench tables of its own, made like the shop's, with the same accounts.
func prepare(ctx context.Context, s *stack.Stack) error {
	_, err := s.SQL(ctx, `CREATE SCHEMA bench;
		CREATE TABLE bench.orders (LIKE orders.orders INCLUDING ALL);
		CREATE TABLE bench.orders_outbox (LIKE orders.outbox INCLUDING ALL);
		CREATE TABLE bench.orders_inbox (LIKE orders.inbox INCLUDING ALL);
		CREATE TABLE bench.accounts (LIKE payments.accounts INCLUDING ALL);
		CREATE TABLE bench.payments (LIKE payments.payments INCLUDING ALL);
		CREATE TABLE bench.entries (LIKE payments.entries INCLUDING ALL);
		CREATE TABLE bench.payments_outbox (LIKE payments.outbox INCLUDING ALL);
		CREATE TABLE bench.payments_inbox (LIKE payments.inbox INCLUDING ALL);
		INSERT INTO bench.accounts SELECT * FROM payments.accounts;
		ANALYZE bench.accounts`)
	return err
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench runs the three steps for n orders and returns orders a second.
func pgbench(ctx context.Context, s *stack.Stack, clients, n int) (float64, error) {
	db, err := s.Containers(ctx, "postgres")
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", db[0].ID, "pgbench", "-U", "gozon", "-n", "-M", "prepared", //nolint:gosec // fixed words and a container id
		"-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(2, clients)), "-t", strconv.Itoa(max(1, n/clients)), "-D", "users="+strconv.Itoa(users), "-f", "/dev/stdin", "gozon")
	cmd.Stdin = strings.NewReader(threeSteps)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	m := tps.FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("pgbench printed no tps: %s", out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		return 0, fmt.Errorf("pgbench: %w", err)
	}
	return rate, nil
}
