package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"

	"gozon/e2e/load"
)

// brokerWithin bounds the start of the broker.
const brokerWithin = 2 * time.Minute

// measureDrain measures how fast the shop recovers from an outage of the broker: orders are
// accepted while the broker is down, and the time from its return until all are terminal
// counts. The yardstick only publishes as many messages.
func measureDrain(ctx context.Context, b *bench) ([]Figure, error) {
	s, err := b.openMain(ctx)
	if err != nil {
		return nil, err
	}
	y, err := buildYardsticks(ctx, s)
	if err != nil {
		return nil, err
	}
	defer y.close(ctx)
	drain := &contender{name: "the shop", needs: []string{"drain"}, run: func(ctx context.Context) (result, error) { return s.drain(ctx, b) }}
	publish := &contender{name: "publishing single messages", needs: drain.needs, run: func(ctx context.Context) (result, error) {
		return y.run(ctx, "rabbitmq", "publish", b.drainOrders, 100)
	}}
	all := []*contender{drain, publish}
	if err := b.takeTurns(ctx, b.drainRounds, all); err != nil {
		return nil, err
	}
	t := cpuTable(all)
	t.Title = "CPU time by container while draining"
	b.report.Tables = append(b.report.Tables, t)
	return []Figure{compared("drain", ratios(drain.rates(), publish.rates()), atLeast(1.5),
		fmt.Sprintf("%s orders until all were terminal at %s", thousands(int64(b.drainOrders)), drain.against(publish)))}, nil
}

// drain places orders while the broker is down and measures from its return.
func (s *shop) drain(ctx context.Context, b *bench) (result, error) {
	db, err := s.Session(ctx)
	if err != nil {
		return result{}, err
	}
	defer db.Close()
	last, err := newest(db)
	if err != nil {
		return result{}, err
	}
	if err := s.Compose(ctx, "stop", "rabbitmq"); err != nil {
		return result{}, err
	}
	var placed load.Orders
	start := time.Now()
	if err := s.client.Place(ctx, connections, users, b.drainOrders, &placed); err != nil {
		return result{}, err
	}
	b.note("accepted %s orders/s while the broker was down", number(float64(b.drainOrders)/time.Since(start).Seconds()))
	if err := s.Compose(ctx, "start", "rabbitmq"); err != nil {
		return result{}, err
	}
	if err := s.awaitBroker(ctx); err != nil {
		return result{}, err
	}
	start = time.Now()
	m, err := startMeter(ctx, s.engine, s.Stack)
	if err != nil {
		return result{}, err
	}
	if err := awaitTerminal(ctx, db, last); err != nil {
		return result{}, err
	}
	r := result{orders: b.drainOrders, elapsed: time.Since(start)}
	r.cpu, err = m.used(ctx)
	return r, err
}

// awaitBroker waits until the broker accepts connections. It connects inside the container,
// which works on every machine.
func (s *shop) awaitBroker(ctx context.Context) error {
	broker, err := s.Containers(ctx, "rabbitmq")
	if err != nil {
		return err
	}
	if len(broker) != 1 {
		return fmt.Errorf("rabbitmq has %d containers, want 1", len(broker))
	}
	err = waitUntil(ctx, brokerWithin, func() (bool, error) {
		return exec.CommandContext(ctx, "docker", "exec", broker[0].ID, "bash", "-c", ": > /dev/tcp/127.0.0.1/5672").Run() == nil, nil //nolint:gosec // a container id
	})
	if err != nil {
		return fmt.Errorf("the broker did not start: %w", err)
	}
	return nil
}
