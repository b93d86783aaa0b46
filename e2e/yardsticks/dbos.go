package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	"github.com/jackc/pgx/v5"
)

// payOrder returns the workflow: three steps that each write to the database. A data source
// that shares the pool of DBOS commits the writes of a step together with its checkpoint.
func payOrder(ds *dbos.DataSource) dbos.Workflow[placed, string] {
	step := func(ctx dbos.Context, name string, fn func(context.Context, dbos.Tx) error) error {
		_, err := dbos.RunAsTransaction(ctx, ds, func(ctx context.Context, tx dbos.Tx) (bool, error) {
			return true, fn(ctx, tx)
		}, dbos.WithStepName(name))
		return err
	}
	return func(ctx dbos.Context, o placed) (string, error) {
		if err := step(ctx, "place", func(ctx context.Context, tx dbos.Tx) error {
			_, err := tx.Exec(ctx, insertOrder, o.ID, o.User, price)
			return err
		}); err != nil {
			return "", fmt.Errorf("place: %w", err)
		}
		if err := step(ctx, "debit", func(ctx context.Context, tx dbos.Tx) error {
			queryRow := func(ctx context.Context, sql string, args ...any) pgx.Row { return tx.QueryRow(ctx, sql, args...) }
			return debit(ctx, o, queryRow, func(ctx context.Context, sql string, args ...any) error {
				_, err := tx.Exec(ctx, sql, args...)
				return err
			})
		}); err != nil {
			return "", fmt.Errorf("debit: %w", err)
		}
		if err := step(ctx, "mark paid", func(ctx context.Context, tx dbos.Tx) error {
			_, err := tx.Exec(ctx, markPaid, o.ID)
			return err
		}); err != nil {
			return "", fmt.Errorf("mark paid: %w", err)
		}
		return "PAID", nil
	}
}

// runDBOS measures from the first order until the last workflow has ended.
func runDBOS(ctx context.Context, w workload) (result, error) {
	pool, err := connect(ctx, w.server, w.clients+16)
	if err != nil {
		return result{}, err
	}
	defer pool.Close()
	d, err := dbos.NewContext(ctx, dbos.Config{
		AppName: "yardstick", SystemDBPool: pool,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return result{}, fmt.Errorf("context: %w", err)
	}
	ds, err := dbos.NewDataSource(d, pool)
	if err != nil {
		return result{}, fmt.Errorf("data source: %w", err)
	}
	workflow := payOrder(ds)
	dbos.RegisterWorkflow(d, workflow, dbos.WithWorkflowName("pay"))
	if err := dbos.Launch(d); err != nil {
		return result{}, fmt.Errorf("launch: %w", err)
	}
	r, err := measure(w.orders, func() error {
		return place(ctx, w, func(context.Context) error {
			o, err := newPlaced(w.users)
			if err != nil {
				return err
			}
			handle, err := dbos.RunWorkflow(d, workflow, o)
			if err != nil {
				return err
			}
			_, err = handle.GetResult()
			return err
		})
	})
	return r, errors.Join(err, dbos.Shutdown(d, 5*time.Second))
}
