package database

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

const (
	migrateRetryFirst = 500 * time.Millisecond
	migrateRetryMax   = 5 * time.Second
	// migrateLogInterval is the time between two log lines about a running migration.
	migrateLogInterval = 10 * time.Second
)

// Migrate applies all pending migrations to the schema, in order, as the role that owns the
// schema. If it runs twice at the same time, one waits for the other on an advisory lock. If
// the database is unavailable or another transaction holds a lock, Migrate logs the error and
// retries until ctx is done. Any other error is returned at once.
//
// Migrate uses its own connections, to [Config.SessionURL] if there is one, without the
// timeouts of the pool. A migration may run for hours. A transactional migration waits at most
// three seconds for a lock, because all traffic queues behind it, and is then retried. A
// migration marked NO TRANSACTION, such as CREATE INDEX CONCURRENTLY, does not block traffic
// and has no lock timeout: a retry would start over.
func Migrate(ctx context.Context, c Config, schema string, migrations fs.FS, log *slog.Logger) error {
	return retry(ctx, func() error { return migrate(ctx, c, schema, migrations, log) }, retriable, func(err error, delay time.Duration) {
		log.WarnContext(ctx, "migrate: cannot run yet, retrying", "error", err, "retry_in", delay.String())
	})
}

// retry calls fn until it succeeds, ctx is done, or again returns false for its error. It
// calls warn before each delay.
func retry(ctx context.Context, fn func() error, again func(error) bool, warn func(error, time.Duration)) error {
	delay := migrateRetryFirst
	for {
		err := fn()
		if err == nil || ctx.Err() != nil || !again(err) {
			return err
		}
		warn(err, delay)
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		}
		delay = min(2*delay, migrateRetryMax)
	}
}

// errMigrating reports that another session holds the advisory lock.
var errMigrating = errors.New("another process is migrating")

func retriable(err error) bool {
	for _, permanent := range []error{errPooled, errSessionPooled, errNotPrepared} {
		if errors.Is(err, permanent) {
			return false
		}
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok { // also in a ConnectError: a wrong password must not be retried
		return unavailable(pg.Code) || IsBusy(err)
	}
	return IsUnavailable(err) || errors.Is(err, errMigrating) || errors.Is(err, errOldSessions)
}

func migrate(ctx context.Context, c Config, schema string, migrations fs.FS, log *slog.Logger) error {
	cfg, err := c.sessionConfig()
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	locker, err := newMigrationLocker(schema, migrations)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations,
		goose.WithSessionLocker(locker), goose.WithTableName(schema+".goose_db_version"))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for {
		stop := logProgress(ctx, log, schema)
		_, err := p.UpByOne(ctx)
		stop()
		switch {
		case errors.Is(err, goose.ErrNoNextVersion):
			return nil
		case err != nil:
			return fmt.Errorf("migrate: %w", err)
		}
	}
}

// logProgress logs periodically that a migration is still running, until stop is called.
func logProgress(ctx context.Context, log *slog.Logger, schema string) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	start := time.Now()
	tick := time.NewTicker(migrateLogInterval)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				log.InfoContext(ctx, "migrate: still running", "schema", schema, "elapsed", time.Since(start).Round(time.Second).String())
			case <-ctx.Done():
				return
			}
		}
	}()
	return stop
}

// migrationLocker is goose's advisory lock, one per schema. After locking, it sets the
// timeouts of the next migration on the connection that goose uses for it.
type migrationLocker struct {
	lock.SessionLocker
	schema        string
	versions      []int64        // ascending
	noTransaction map[int64]bool // versions marked NO TRANSACTION
}

func newMigrationLocker(schema string, migrations fs.FS) (*migrationLocker, error) {
	id := fnv.New32a()
	_, _ = id.Write([]byte("migrate " + schema)) // never fails
	inner, err := lock.NewPostgresSessionLocker(lock.WithLockID(int64(id.Sum32())), lock.WithLockTimeout(1, 5))
	if err != nil {
		return nil, err
	}
	l := &migrationLocker{SessionLocker: inner, schema: schema, noTransaction: map[int64]bool{}}
	files, err := fs.Glob(migrations, "*.sql") // sorted by name, which begins with a zero-padded version
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return nil, err
		}
		text, err := fs.ReadFile(migrations, file)
		if err != nil {
			return nil, err
		}
		l.versions = append(l.versions, version)
		l.noTransaction[version] = bytes.Contains(text, []byte("+goose NO TRANSACTION"))
	}
	return l, nil
}

// SessionLock implements lock.SessionLocker.
func (l *migrationLocker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := l.SessionLocker.SessionLock(ctx, conn); err != nil {
		if ctx.Err() == nil && !retriable(err) {
			return errMigrating // goose ran out of attempts to lock
		}
		return err
	}
	timeout := "3s"
	if next, err := l.next(ctx, conn); err != nil {
		return errors.Join(err, l.SessionUnlock(ctx, conn))
	} else if l.noTransaction[next] {
		timeout = "0"
	}
	if _, err := conn.ExecContext(ctx, "SELECT set_config('lock_timeout', $1, false), set_config('statement_timeout', '0', false)", timeout); err != nil {
		return errors.Join(err, l.SessionUnlock(ctx, conn))
	}
	return nil
}

// next returns the version that goose migrates to next, or 0 if there is none.
func (l *migrationLocker) next(ctx context.Context, conn *sql.Conn) (int64, error) {
	var exists bool
	table := l.schema + ".goose_db_version"
	if err := conn.QueryRowContext(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&exists); err != nil {
		return 0, err
	}
	var current int64
	if exists {
		if err := conn.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+table).Scan(&current); err != nil {
			return 0, err
		}
	}
	for _, v := range l.versions {
		if v > current {
			return v, nil
		}
	}
	return 0, nil
}
