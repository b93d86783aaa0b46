// Package database provides a service's access to PostgreSQL: connection pool,
// migrations, transactions, and the classification of errors.
//
// Errors by fault:
//
//	down, starting, full, out of connections    IsUnavailable: nothing was done, a retry may succeed
//	read-only (failover, maintenance)           IsUnavailable; the connections are closed, because they would stay read-only
//	row or table locked by another transaction  IsBusy within 100 ms: the item is retried, its neighbors commit
//	invalid value, constraint violated          IsData: a retry fails the same way
//	connection lost during a commit             ErrCommit: the transaction may or may not have committed
//	schema not as the program expects           IsSchema: not caused by an item, every item fails
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

// Conn executes SQL. Pools and transactions of database/sql and of gorm implement it.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Config holds the settings from the environment. Embed it in a service's configuration.
type Config struct {
	URL      string `env:"DATABASE_URL,notEmpty" usage:"postgres://role:password@host:5432/database; if several hosts are given (host1:5432,host2:5432), the writable one is used"`
	MaxConns int    `env:"DATABASE_MAX_CONNS" envDefault:"10" usage:"size of the connection pool"`
}

// Validate reports an invalid URL or pool size. The error does not contain the password.
func (c Config) Validate() error {
	if _, err := pgx.ParseConfig(c.URL); err != nil {
		return errors.New("DATABASE_URL is not a PostgreSQL connection URL")
	}
	if c.MaxConns < 4 {
		return fmt.Errorf("DATABASE_MAX_CONNS is %d: it must be at least 4", c.MaxConns)
	}
	return nil
}

// connConfig returns the configuration of every connection of a service.
func (c Config) connConfig() (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, errors.New("database: DATABASE_URL is not a PostgreSQL connection URL")
	}
	cfg.ConnectTimeout = 3 * time.Second
	// Detect within 30 seconds that a host disappeared without closing its connections.
	cfg.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}).DialContext
	if cfg.ValidateConnect == nil && !strings.Contains(c.URL, "target_session_attrs") {
		// Treat a standby or a server that is temporarily read-only as down.
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	onPgError := cfg.OnPgError
	cfg.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return !isReadOnly(err.Code) && onPgError(conn, err)
	}
	return cfg, nil
}

// Connect opens a single connection that does not belong to a pool.
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

// Open returns a pool and a gorm handle on it. It does not connect: if the database is
// down, the first query fails.
func Open(c Config) (*sql.DB, *gorm.DB, error) {
	cfg, err := c.connConfig()
	if err != nil {
		return nil, nil, err
	}
	// Bound statements and locks on the server, so that they end even if this process
	// disappears without closing its connections.
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
		SkipDefaultTransaction: true, // writes begin their transactions explicitly
		DisableAutomaticPing:   true,
		QueryFields:            true,           // no SELECT *: its cached plans fail after a column is added
		Logger:                 logger.Discard, // errors are returned and logged once, by the caller that handles them
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("database: %w", err), pool.Close())
	}
	return pool, db, nil
}

// Ready returns nil if the pool reaches a writable server. It closes a connection to a
// read-only server: its session would stay read-only after the server becomes writable.
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
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // removes conn from the pool
		return errors.New("the server is read-only")
	}
	return nil
}

// The lock timeouts of a transaction. The shop's own transactions hold locks for
// milliseconds. A transaction that holds a lock for longer, such as one that an operator
// left open in psql, must not delay a whole set (see [batch.Isolate]).
const (
	lockTimeout    = "SET LOCAL lock_timeout = '100ms'"
	lockTimeoutMin = "SET LOCAL lock_timeout = '1ms'" // the minimum in PostgreSQL; 0 disables the timeout
)

// Begin starts a transaction. A statement that waits for a lock fails after 100 ms with an
// error for which [IsBusy] is true, or after 1 ms if [batch.MayWait] is false. The caller
// defers Rollback.
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

// Commit commits tx. The error wraps [ErrCommit] unless the server reported a rollback.
func Commit(tx *sql.Tx) error {
	err := tx.Commit()
	if err != nil && !rolledBack(err) {
		return fmt.Errorf("%w: %w", ErrCommit, err)
	}
	return err
}

// RegisterMetrics registers the metrics of pool with the label db_name set to name.
func RegisterMetrics(reg prometheus.Registerer, pool *sql.DB, name string) {
	reg.MustRegister(collectors.NewDBStatsCollector(pool, name))
}
