// Package database opens a service's own part of PostgreSQL: its pool, its
// migrations, its transactions, and what its errors mean.
//
// What a fault of the database does:
//
//	down, starting, full, out of connections    IsUnavailable: nothing was done, another attempt may succeed
//	read-only (a failover, a maintenance)       the same; its connections are closed, so that none outlives that state
//	a row or table that somebody else locks     IsBusy within 100 ms: that item is retried, its neighbors commit
//	a value or constraint violated              IsData: another attempt fails the same way
//	the connection lost during a commit         ErrCommit: it may or may not have happened
//	a schema other than the program expects     IsSchema: no item has caused it
package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"gozon/shared/delivery/batch"
)

// Conn is what runs SQL: a pool or a transaction, of database/sql or of gorm.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Config is read from the environment; embed it in a service's configuration.
type Config struct {
	URL      string `env:"DATABASE_URL,notEmpty" usage:"postgres://role:password@host:5432/database; of several hosts (host1:5432,host2:5432) the writable one is used"`
	MaxConns int    `env:"DATABASE_MAX_CONNS" envDefault:"10" usage:"size of the connection pool"`
}

// Validate reports a URL or a size that cannot work, without showing the password.
func (c Config) Validate() error {
	if _, err := pgx.ParseConfig(c.URL); err != nil {
		return errors.New("DATABASE_URL is not a PostgreSQL connection URL")
	}
	if c.MaxConns < 4 {
		return fmt.Errorf("DATABASE_MAX_CONNS is %d: a service needs at least 4", c.MaxConns)
	}
	return nil
}

// connConfig is how every connection of a service is made.
func (c Config) connConfig() (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("database: DATABASE_URL is not a PostgreSQL connection URL")
	}
	cfg.ConnectTimeout = 3 * time.Second
	// A host that vanishes without closing its connections is noticed within half a minute.
	cfg.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}).DialContext
	if cfg.ValidateConnect == nil && !strings.Contains(c.URL, "target_session_attrs") {
		// A standby, or a server that is read-only for now, is as good as one that is down.
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	keep := cfg.OnPgError
	cfg.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return !unusable(err.Code) && keep(conn, err)
	}
	return cfg, nil
}

// Connect makes a connection of its own, beside the pool.
func Connect(ctx context.Context, c Config) (*pgx.Conn, error) {
	cfg, err := c.connConfig()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// Open makes a pool. It does not connect yet: a database that is down shows at
// the first query.
func Open(c Config) (*sql.DB, *gorm.DB, error) {
	cfg, err := c.connConfig()
	if err != nil {
		return nil, nil, err
	}
	// No statement and no lock may outlive the caller that gave up on it, even
	// when this process is cut off without a goodbye.
	for name, value := range map[string]string{
		"statement_timeout": "15s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "30s",
	} {
		if cfg.RuntimeParams[name] == "" {
			cfg.RuntimeParams[name] = value
		}
	}
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(c.MaxConns)
	pool.SetMaxIdleConns(c.MaxConns)
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), &gorm.Config{
		SkipDefaultTransaction: true, // every write says its own transaction
		DisableAutomaticPing:   true,
		QueryFields:            true,           // never SELECT *: its cached plans fail once a column is added
		Logger:                 logger.Discard, // errors are returned, and logged once where they end
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("database: %w", err), pool.Close())
	}
	return pool, db, nil
}

// Ready is nil when the pool reaches a server that can be written to. A connection to
// one that cannot is closed: it would stay read-only after the server no longer is.
func Ready(ctx context.Context, pool *sql.DB) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var readOnly string
	if err := conn.QueryRowContext(ctx, "SHOW transaction_read_only").Scan(&readOnly); err != nil {
		return err
	}
	if readOnly == "on" {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // closes it
		return errors.New("the server is read-only")
	}
	return nil
}

// How long a statement of a transaction waits for a lock. The shop's own transactions hold
// locks for milliseconds. Whoever holds one for longer, such as an operator in psql, must
// not stall a whole set (see [batch.Isolate]).
const (
	lockTimeout    = "SET LOCAL lock_timeout = '100ms'"
	lockTimeoutMin = "SET LOCAL lock_timeout = '1ms'" // PostgreSQL's minimum; 0 disables the timeout
)

// Begin starts a transaction in which a statement that waits too long for a lock fails
// with an error that [IsBusy]: after 100 ms, or at once where [batch.MayWait] is false.
// The caller defers Rollback.
func Begin(ctx context.Context, pool *sql.DB) (*sql.Tx, error) {
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("begin: %w", err)
	}
	timeout := lockTimeout
	if !batch.MayWait(ctx) {
		timeout = lockTimeoutMin
	}
	if _, err := tx.ExecContext(ctx, timeout); err != nil {
		return nil, errors.Join(fmt.Errorf("begin: %w", err), tx.Rollback())
	}
	return tx, nil
}

// Commit commits tx. Its error wraps [ErrCommit] unless the server reported a rollback.
func Commit(tx *sql.Tx) error {
	err := tx.Commit()
	if err != nil && !rolledBack(err) {
		return fmt.Errorf("%w: %w", ErrCommit, err)
	}
	return err
}

// RegisterMetrics registers the metrics of a pool.
func RegisterMetrics(reg prometheus.Registerer, pool *sql.DB, name string) {
	reg.MustRegister(collectors.NewDBStatsCollector(pool, name))
}
