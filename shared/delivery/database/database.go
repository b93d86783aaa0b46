// Package database provides a service's access to PostgreSQL: connection pool,
// migrations, transactions, and the classification of errors.
//
// Errors by fault:
//
//	down, starting, full, out of connections    IsUnavailable: nothing was done, a retry may succeed
//	read-only (failover, maintenance)           IsUnavailable; the connections are closed, because they would stay read-only
//	row or table locked by another transaction  IsBusy within 100 ms: the item is retried, its neighbors commit
//	invalid value, constraint violated          IsData: a retry fails the same way
//	connection lost, or deadline expired, after
//	COMMIT may have been sent                   ErrCommit: the transaction may or may not have committed
//	schema not as the program expects           IsSchema: not caused by an item, every item fails
package database

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

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
