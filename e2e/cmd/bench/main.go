// Command bench compares the shop with pgbench doing the same work without batches, in one
// run on one machine. It prints one figure per line at the end:
//
//	B1   orders per second of the shop, from the POST through the gateway until all orders
//	     are terminal, divided by those of pgbench with one client, which runs the SQL of
//	     the three steps with one commit per step
//	B1c  the same with as many pgbench clients as the load has connections. PostgreSQL
//	     then groups commits itself, and there is no overhead of HTTP or a broker
//
// Both use the same PostgreSQL server with fsync and synchronous_commit on. The shop's
// queues are quorum queues and every publish is confirmed. The measurements alternate, so
// that a machine whose speed drifts does not favor one of them.
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
	rounds := flag.Int("rounds", 3, "number of rounds")
	orders := flag.Int("orders", 20_000, "orders per round")
	verbose := flag.Bool("v", false, "show the output of compose")
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
	// If the gateway's container is reachable (on Linux), bypass the engine's port
	// forwarder, which would take a large share of the measured time.
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
	var sequential, concurrent []float64
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
		sequential, concurrent = append(sequential, rate/single), append(concurrent, rate/many)
		fmt.Fprintf(out, "round %d: shop %.0f orders/s, pgbench with 1 client %.0f, with %d clients %.0f\n", i+1, rate, single, connections, many)
	}
	figure(out, "B1", sequential, "times the orders/s of pgbench with 1 client")
	figure(out, "B1c", concurrent, fmt.Sprintf("times the orders/s of pgbench with %d clients", connections))
	return nil
}

// figure prints the median of the ratios of all rounds, and their range.
func figure(w io.Writer, name string, ratios []float64, what string) {
	slices.Sort(ratios)
	fmt.Fprintf(w, "%s %.2f %s (median of %d rounds, range %.2f to %.2f)\n", name, ratios[len(ratios)/2], what, len(ratios), ratios[0], ratios[len(ratios)-1])
}

func reachable(ctx context.Context, ip string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	status, _, err := load.NewClient("http://"+ip+":8080", 1).Post(ctx, "/", "", nil)
	return err == nil && status != 0
}

// shop places n orders and waits until all are terminal. It returns the orders per second.
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

// prepare creates the tables of pgbench, with the same columns and indexes as the shop's
// tables and with the same accounts.
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

// pgbench runs the three steps for n orders. It returns the orders per second.
func pgbench(ctx context.Context, s *stack.Stack, clients, n int) (float64, error) {
	db, err := s.Containers(ctx, "postgres")
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", db[0].ID, "pgbench", "-U", "gozon", "-n", "-M", "prepared", //nolint:gosec // constants and a container id
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
