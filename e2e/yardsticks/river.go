package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// payArgs are the arguments of the job that pays an order.
type payArgs struct{ placed }

// Kind implements river.JobArgs.
func (payArgs) Kind() string { return "pay" }

// payWorker debits the account, marks the order PAID and completes the job in one
// transaction, as River's example of transactional completion does.
type payWorker struct {
	river.WorkerDefaults[payArgs]

	pool *pgxpool.Pool
	left atomic.Int64  // orders that are not paid yet
	done chan struct{} // closed when there are none
}

// Work implements river.Worker.
func (w *payWorker) Work(ctx context.Context, job *river.Job[payArgs]) error {
	err := pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		exec := func(ctx context.Context, sql string, args ...any) error {
			_, err := tx.Exec(ctx, sql, args...)
			return err
		}
		if err := debit(ctx, job.Args.placed, tx.QueryRow, exec); err != nil {
			return err
		}
		if err := exec(ctx, markPaid, job.Args.ID); err != nil {
			return fmt.Errorf("mark paid: %w", err)
		}
		_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
	if err == nil && w.left.Add(-1) == 0 {
		close(w.done)
	}
	return err
}

// fetchCooldown is shorter than River's default of 100 ms, because it limits the throughput.
const fetchCooldown = 5 * time.Millisecond

// runRiver measures from the first order until the last one is paid. The clients place
// orders without waiting for their payment, as the clients of the shop do.
func runRiver(ctx context.Context, w workload) (result, error) {
	pool, err := connect(ctx, w.server, w.clients+w.workers)
	if err != nil {
		return result{}, err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return result{}, fmt.Errorf("migrate: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return result{}, fmt.Errorf("migrate: %w", err)
	}
	worker := &payWorker{pool: pool, done: make(chan struct{})}
	worker.left.Store(int64(w.orders))
	workers := river.NewWorkers()
	river.AddWorker(workers, worker)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: w.workers}},
		Workers:       workers,
		FetchCooldown: fetchCooldown,
		Logger:        slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return result{}, fmt.Errorf("client: %w", err)
	}
	if err := client.Start(ctx); err != nil {
		return result{}, fmt.Errorf("start: %w", err)
	}
	r, err := measure(w.orders, func() error {
		err := place(ctx, w, func(ctx context.Context) error {
			o, err := newPlaced(w.users)
			if err != nil {
				return err
			}
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, insertOrder, o.ID, o.User, price); err != nil {
					return fmt.Errorf("insert order: %w", err)
				}
				_, err := client.InsertTx(ctx, tx, payArgs{o}, nil)
				return err
			})
		})
		if err != nil {
			return err
		}
		select {
		case <-worker.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		return result{}, err
	}
	return r, client.Stop(ctx)
}
