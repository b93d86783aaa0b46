package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// The statements of the business, the same for both libraries.
const (
	insertOrder = `INSERT INTO bench.orders (id, user_id, item, price, status, version, created_at, updated_at)
		VALUES ($1, $2, 'Book', $3, 'NEW', 1, now(), now())`
	lockAccount   = `SELECT balance, seq FROM bench.accounts WHERE user_id = $1 FOR UPDATE`
	updateAccount = `UPDATE bench.accounts SET balance = $2, seq = $3 WHERE user_id = $1`
	insertEntry   = `INSERT INTO bench.entries (user_id, seq, kind, debit, credit, amount, balance_after, order_id, created_at)
		VALUES ($1, $2, 'charge', 'user', 'shop', $3, $4, $5, now())`
	markPaid = `UPDATE bench.orders SET status = 'PAID', version = version + 1, updated_at = now() WHERE id = $1 AND status = 'NEW'`

	price = 100 // minor units
)

// placed is an order that is to be paid.
type placed struct {
	ID   uuid.UUID `json:"id"`
	User int64     `json:"user"`
}

func newPlaced(users int) (placed, error) {
	id, err := uuid.NewV7()
	return placed{id, 1 + rand.Int64N(int64(users))}, err //nolint:gosec // not a secret
}

// debit charges the account of the order and writes the entry, as two statements after the
// one that locks the account.
func debit(ctx context.Context, o placed, queryRow func(context.Context, string, ...any) pgx.Row, exec func(context.Context, string, ...any) error) error {
	var balance, seq int64
	if err := queryRow(ctx, lockAccount, o.User).Scan(&balance, &seq); err != nil {
		return fmt.Errorf("lock account: %w", err)
	}
	if balance < price {
		return fmt.Errorf("the balance of user %d is too small", o.User)
	}
	if err := exec(ctx, updateAccount, o.User, balance-price, seq+1); err != nil {
		return fmt.Errorf("update account: %w", err)
	}
	if err := exec(ctx, insertEntry, o.User, seq+1, price, balance-price, o.ID); err != nil {
		return fmt.Errorf("insert entry: %w", err)
	}
	return nil
}

// connect opens a pool of the given number of connections.
func connect(ctx context.Context, url string, connections int) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %w", err)
	}
	cfg.MaxConns = int32(connections) //nolint:gosec // a small number
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return pool, nil
}
