package database

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	pgxuuid "github.com/vgarvardt/pgx-google-uuid/v5"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// DB is a service's pool of connections. It is safe for concurrent use.
type DB struct {
	*pgxpool.Pool
	Gorm *gorm.DB // reads models outside of a transaction, on connections of the pool
}

// closeTimeout bounds [DB.Close].
const closeTimeout = 2 * time.Second

// Open returns a pool. It does not connect: if the database is down, the first statement
// fails.
func Open(c Config) (*DB, error) {
	conn, _, err := c.poolConfig()
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("database: DATABASE_URL is not a PostgreSQL connection URL")
	}
	cfg.ConnConfig, cfg.MaxConns = conn, int32(c.MaxConns) //nolint:gosec // a number of connections
	cfg.PingTimeout = conn.ConnectTimeout                  // of the ping before a connection that was idle for a second is used
	cfg.BeforeConnect = func(_ context.Context, conn *pgx.ConnConfig) error {
		keepCommits(conn)
		return c.setPassword(conn)
	}
	// pgx would convert each UUID to text and back, because it is a driver.Valuer.
	cfg.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		pgxuuid.Register(conn.TypeMap())
		return nil
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("database: %w", err)
	}
	models, err := gorm.Open(postgres.New(postgres.Config{Conn: stdlib.OpenDBFromPool(pool)}), &gorm.Config{
		SkipDefaultTransaction: true, // writes begin their transactions explicitly
		DisableAutomaticPing:   true,
		QueryFields:            true,           // no SELECT *: its cached plans fail after a column is added
		Logger:                 logger.Discard, // errors are returned and logged once, by the caller that handles them
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("database: %w", err)
	}
	return &DB{pool, models}, nil
}

// Close closes the pool. It waits for connections in use, but not for those of a caller that
// hangs: after two seconds it returns an error.
func (db *DB) Close() error {
	closed := make(chan struct{})
	go func() {
		db.Pool.Close()
		close(closed)
	}()
	timer := time.NewTimer(closeTimeout)
	defer timer.Stop()
	select {
	case <-closed:
		return nil
	case <-timer.C:
		return fmt.Errorf("database: %d connections are still in use", db.Stat().AcquiredConns())
	}
}

// Ready returns nil if the pool reaches a writable server. It closes a connection to a
// read-only server: its session would stay read-only after the server becomes writable.
func (db *DB) Ready(ctx context.Context) error {
	conn, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var readOnly string
	if err := conn.QueryRow(ctx, "SHOW transaction_read_only").Scan(&readOnly); err != nil {
		return err
	}
	if readOnly == "on" {
		_ = conn.Conn().Close(ctx) // a closed connection does not return to the pool
		return errors.New("the server is read-only")
	}
	return nil
}
