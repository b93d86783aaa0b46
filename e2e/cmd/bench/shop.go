package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"gozon/e2e/load"
	"gozon/e2e/stack"
)

const (
	connections = 64
	users       = 10_000
	balance     = 1_000_000 // of each account, in major units; an order costs 1
)

// result is one measurement of the shop or of a yardstick.
type result struct {
	orders   int
	accepted time.Duration // from the first request to the last response
	elapsed  time.Duration // from the first request until all orders were terminal
	cpu      cpuTime
	load     time.Duration // CPU time of the load generator
}

func (r result) acceptRate() float64 { return float64(r.orders) / r.accepted.Seconds() }

func (r result) rate() float64 { return float64(r.orders) / r.elapsed.Seconds() }

// shop is a running shop with open accounts.
type shop struct {
	*stack.Stack
	engine *stack.Engine
	client *load.Client
	base   string // base URL of the gateway
}

// openShop starts a shop with empty volumes and opens the accounts.
func openShop(ctx context.Context, engine *stack.Engine, log io.Writer, project string, env ...string) (*shop, error) {
	st, err := stack.Up(ctx, stack.Options{Project: project, Log: log, Env: append([]string{"LOG_LEVEL=warn"}, env...)})
	if err != nil {
		return nil, err
	}
	s := &shop{Stack: st, engine: engine}
	if err := s.connect(ctx); err != nil {
		return nil, s.close(ctx, err)
	}
	if err := s.client.OpenAccounts(ctx, users, balance); err != nil {
		return nil, s.close(ctx, err)
	}
	return s, nil
}

// connect finds the address of the gateway.
func (s *shop) connect(ctx context.Context) (err error) {
	s.base, err = s.Gateway(ctx)
	s.client = load.NewClient(s.base, connections)
	return err
}

// close deletes the shop and adds a failure to err.
func (s *shop) close(ctx context.Context, err error) error {
	if down := s.Down(context.WithoutCancel(ctx)); err == nil {
		err = down
	}
	return err
}

// settle places n orders of the users 1 to the given number and waits until all are terminal.
func (s *shop) settle(ctx context.Context, users, n int) (result, error) {
	return s.settlePlaced(ctx, n, func(placed *load.Orders) error { return s.client.Place(ctx, connections, users, n, placed) })
}

// settlePlaced calls place, which places n orders, and waits until all are terminal.
func (s *shop) settlePlaced(ctx context.Context, n int, place func(*load.Orders) error) (result, error) {
	db, err := s.Session(ctx)
	if err != nil {
		return result{}, err
	}
	defer db.Close()
	last, err := newest(db)
	if err != nil {
		return result{}, err
	}
	m, err := startMeter(ctx, s.engine, s.Stack)
	if err != nil {
		return result{}, err
	}
	var placed load.Orders
	own, start := ownCPU(), time.Now()
	if err := place(&placed); err != nil {
		return result{}, err
	}
	r := result{orders: n, accepted: time.Since(start)}
	if err := awaitTerminal(ctx, db, last); err != nil {
		return result{}, err
	}
	r.elapsed, r.load = time.Since(start), ownCPU()-own
	r.cpu, err = m.used(ctx)
	return r, err
}

// newest returns the id of the newest order. Ids grow with time, so every order placed
// later has a larger id.
func newest(db *stack.Session) (string, error) {
	return db.Value("SELECT coalesce((SELECT id FROM orders.orders ORDER BY id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000')")
}

// awaitTerminal waits until all orders with an id above last are terminal. It asks the
// database less often the longer a query takes, so that waiting takes little of its time.
func awaitTerminal(ctx context.Context, db *stack.Session, last string) error {
	for {
		start := time.Now()
		left, err := db.Value("SELECT count(*) FROM orders.orders WHERE id > '" + last + "' AND status = 'NEW'")
		if err != nil {
			return err
		}
		if left == "0" {
			return nil
		}
		select {
		case <-time.After(max(5*time.Millisecond, 10*time.Since(start))):
		case <-ctx.Done():
			return fmt.Errorf("%s orders are not terminal: %w", strings.TrimSpace(left), ctx.Err())
		}
	}
}
