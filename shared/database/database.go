// Package database opens a service's own part of PostgreSQL: its pool, its
// migrations, its transactions, and what its errors mean.
package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// Conn is what runs SQL: a pool or a transaction, of database/sql or of gorm.
type Conn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Config is read from the environment; embed it in a service's configuration.
type Config struct {
	URL      string `env:"DATABASE_URL,notEmpty" usage:"postgres://role:password@host:5432/database"`
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

// Open makes a pool. It does not connect yet: a database that is down shows at
// the first query.
func Open(c Config) (*sql.DB, *gorm.DB, error) {
	cfg, err := pgx.ParseConfig(c.URL)
	if err != nil {
		return nil, nil, errors.New("database: DATABASE_URL is not a PostgreSQL connection URL")
	}
	cfg.ConnectTimeout = 3 * time.Second
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
		Logger:                 logger.Discard, // errors are returned, and logged once where they end
		NowFunc:                func() time.Time { return time.Now().UTC().Truncate(time.Microsecond) },
	})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("database: %w", err), pool.Close())
	}
	return pool, db, nil
}

// Migrate brings the schema up to date. Replicas that start together wait for
// each other on an advisory lock.
func Migrate(ctx context.Context, db *sql.DB, schema string, migrations fs.FS) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations,
		goose.WithSessionLocker(locker), goose.WithTableName(schema+".goose_db_version"))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// MigrateWhenUp migrates as soon as the database answers, trying again until ctx
// is done; a migration that the database refuses is returned at once.
func MigrateWhenUp(ctx context.Context, db *sql.DB, schema string, migrations fs.FS) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			err = Migrate(ctx, db, schema, migrations)
		}
		var refused *pgconn.PgError
		if err == nil || errors.As(err, &refused) && !transient(refused.Code) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// IsData reports whether err is the database's refusal of what was said: a value
// that does not fit (class 22) or breaks a constraint (class 23). Saying it again
// is of no use. A unique violation is left out: it means that somebody else was
// faster, and the next attempt sees what they wrote.
func IsData(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code == "23505" {
		return false
	}
	return pg.Code[:2] == "22" || pg.Code[:2] == "23"
}

// transient codes are of a server that is starting, stopping, full, or choosing between two transactions.
func transient(code string) bool {
	switch code[:2] {
	case "08", "40", "53", "55", "57", "58":
		return true
	}
	return false
}

// ErrCommit is wrapped by an error of [InTx] that came from the commit itself:
// the transaction may or may not have happened.
var ErrCommit = errors.New("commit failed, outcome unknown")

// InTx runs fn in a transaction and commits it, or rolls it back when fn fails or panics.
func InTx(ctx context.Context, db *gorm.DB, fn func(tx *gorm.DB) error) error {
	finished := false
	err := db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		err := fn(tx)
		finished = err == nil
		return err
	})
	if err != nil && finished {
		return fmt.Errorf("%w: %w", ErrCommit, err)
	}
	return err
}

// IsUnavailable reports whether err says that the database could not be reached,
// is not ready, or did not answer in time. Another attempt may succeed.
func IsUnavailable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return transient(pg.Code)
	}
	var network net.Error // also pgconn's connect errors and deadlines
	var connect *pgconn.ConnectError
	return errors.As(err, &network) || errors.As(err, &connect) || pgconn.SafeToRetry(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// RegisterMetrics registers the metrics of a pool.
func RegisterMetrics(reg prometheus.Registerer, pool *sql.DB, name string) {
	reg.MustRegister(collectors.NewDBStatsCollector(pool, name))
}

// RunPruner has prune delete what is too old, now and every hour, until ctx is done. It
// works in steps of at most limit rows, so that no transaction is long, and may run in
// every replica. prune says how many rows it has deleted.
func RunPruner(ctx context.Context, log *slog.Logger, what string, prune func(ctx context.Context, limit int) (int64, error)) error {
	const step = 5000
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		for n := int64(step); n == step; {
			var err error
			if n, err = prune(ctx, step); err != nil && ctx.Err() == nil {
				log.WarnContext(ctx, "not pruned, will try again in an hour", "what", what, "error", err)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
