package database

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Connect opens a single connection that does not belong to the pool and keeps its session,
// for LISTEN.
func Connect(ctx context.Context, c Config) (*pgx.Conn, error) {
	cfg, err := c.sessionConfig()
	if err != nil {
		return nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

// sessionConfig returns the configuration of connections that keep their session. They are
// refused by a pooler.
func (c Config) sessionConfig() (*pgx.ConnConfig, error) {
	name, url, pooled := "DATABASE_URL", c.URL, errPooled
	if c.SessionURL != "" {
		name, url, pooled = "DATABASE_SESSION_URL", c.SessionURL, errSessionPooled
	}
	cfg, err := c.connConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database: %s %w", name, err)
	}
	validate := cfg.ValidateConnect
	cfg.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if validate != nil {
			if err := validate(ctx, conn); err != nil {
				return err
			}
		}
		direct, err := isDirect(ctx, conn)
		if err == nil && !direct {
			err = pooled
		}
		return err
	}
	return cfg, nil
}

var (
	errPooled        = errors.New("DATABASE_URL leads to a connection pooler, where LISTEN and migrations fail: set DATABASE_SESSION_URL to a URL that leads directly to PostgreSQL")
	errSessionPooled = errors.New("DATABASE_SESSION_URL leads to a connection pooler, where LISTEN and migrations fail: it must lead directly to PostgreSQL")
)

// isDirect reports whether conn is a connection to PostgreSQL. A pooler gives its clients
// process ids of its own, with which they cancel statements. In session mode, too, whose
// sessions would do: it cannot be told from transaction mode.
func isDirect(ctx context.Context, conn *pgconn.PgConn) (bool, error) {
	result := conn.ExecParams(ctx, "SELECT pg_backend_pid()::text", nil, nil, nil, nil).Read()
	if result.Err != nil {
		return false, result.Err
	}
	return string(result.Rows[0][0]) == strconv.FormatUint(uint64(conn.PID()), 10), nil
}
