package main

import (
	"context"
	_ "embed"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

//go:embed three_steps.sql
var threeSteps string

// createBenchTables creates the tables of pgbench, with the same columns and indexes as the
// shop's tables and with the same accounts. The libraries, which connect over the network, use
// a role that may create their own tables.
func createBenchTables(ctx context.Context, s *shop) error {
	_, err := s.SQL(ctx, `CREATE SCHEMA IF NOT EXISTS bench;
		CREATE TABLE bench.orders (LIKE orders.orders INCLUDING ALL);
		CREATE TABLE bench.orders_outbox (LIKE orders.outbox INCLUDING ALL);
		CREATE TABLE bench.orders_inbox (LIKE orders.inbox INCLUDING ALL);
		CREATE TABLE bench.accounts (LIKE payments.accounts INCLUDING ALL);
		CREATE TABLE bench.payments (LIKE payments.payments INCLUDING ALL);
		CREATE TABLE bench.entries (LIKE payments.entries INCLUDING ALL);
		CREATE TABLE bench.payments_outbox (LIKE payments.outbox INCLUDING ALL);
		CREATE TABLE bench.payments_inbox (LIKE payments.inbox INCLUDING ALL);
		INSERT INTO bench.accounts SELECT * FROM payments.accounts;
		ANALYZE bench.accounts;
		ALTER ROLE orders_owner CONNECTION LIMIT -1;
		GRANT CREATE ON DATABASE gozon TO orders_owner;
		GRANT ALL ON SCHEMA bench TO orders_owner;
		GRANT ALL ON ALL TABLES IN SCHEMA bench TO orders_owner`)
	return err
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench runs the three steps for n orders. Its CPU time is that of the container of
// PostgreSQL, in which pgbench runs too.
func pgbench(ctx context.Context, s *shop, clients, n int) (result, error) {
	db, err := s.Containers(ctx, "postgres")
	if err != nil {
		return result{}, err
	}
	m, err := startMeter(ctx, s.engine, s.Stack, "postgres")
	if err != nil {
		return result{}, err
	}
	each := max(1, n/clients)
	cmd := exec.CommandContext(ctx, "docker", "exec", "-i", db[0].ID, "pgbench", "-U", "gozon", "-n", "-M", "prepared", //nolint:gosec // constants and a container id
		"-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(2, clients)), "-t", strconv.Itoa(each), "-D", "users="+strconv.Itoa(users), "-f", "/dev/stdin", "gozon")
	cmd.Stdin = strings.NewReader(threeSteps)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	cpu, err := m.used(ctx)
	if err != nil {
		return result{}, err
	}
	found := tps.FindSubmatch(out)
	if found == nil {
		return result{}, fmt.Errorf("pgbench printed no tps: %s", out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		return result{}, fmt.Errorf("pgbench: %w", err)
	}
	orders := each * clients
	return result{orders: orders, elapsed: time.Duration(float64(orders) / rate * float64(time.Second)), cpu: cpu}, nil
}
