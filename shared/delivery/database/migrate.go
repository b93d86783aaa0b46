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
	// migrateSaysEvery is how often a migration that is still running is logged.
	migrateSaysEvery = 10 * time.Second
)

// Migrate brings the schema up to date, one migration after the other. Replicas that
// start together wait for each other on an advisory lock. While the database cannot be
// reached, or somebody else holds a lock, it logs that and retries until ctx is done;
// any other error is returned at once.
//
// It uses connections of its own, with limits of their own. A migration may run for
// hours. A transactional one waits for a lock for three seconds only, because all
// traffic waits behind it, and is retried. One that is marked NO TRANSACTION, such as
// CREATE INDEX CONCURRENTLY, delays nobody and waits for as long as it takes: starting
// again would not bring it any further.
func Migrate(ctx context.Context, c Config, schema string, migrations fs.FS, log *slog.Logger) error {
	wait := migrateRetryFirst
	for {
		err := migrate(ctx, c, schema, migrations, log)
		if err == nil || ctx.Err() != nil || !retriable(err) {
			return err
		}
		log.WarnContext(ctx, "migrate: cannot run yet, retrying", "error", err, "after", wait.String())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		}
		wait = min(2*wait, migrateRetryMax)
	}
}

// errMigrating says that another replica holds the lock.
var errMigrating = errors.New("another replica is migrating")

func retriable(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok { // also a refused connection, for a wrong password say
		return unavailable(pg.Code) || IsBusy(err)
	}
	return IsUnavailable(err) || errors.Is(err, errMigrating)
}

func migrate(ctx context.Context, c Config, schema string, migrations fs.FS, log *slog.Logger) error {
	cfg, err := c.connConfig()
	if err != nil {
		return err
	}
	cfg.RuntimeParams["statement_timeout"] = "0"
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
		done := said(ctx, log, locker)
		_, err := p.UpByOne(ctx)
		done()
		switch {
		case errors.Is(err, goose.ErrNoNextVersion):
			return nil
		case err != nil:
			return fmt.Errorf("migrate: %w", err)
		}
	}
}

// said logs every now and then that a migration is still running, until it is called.
func said(ctx context.Context, log *slog.Logger, l *migrationLocker) (done func()) {
	ctx, stop := context.WithCancel(ctx)
	began := time.Now()
	tick := time.NewTicker(migrateSaysEvery)
	go func() {
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				log.InfoContext(ctx, "migrate: still running", "schema", l.schema, "for", time.Since(began).Round(time.Second).String())
			case <-ctx.Done():
				return
			}
		}
	}()
	return stop
}

// migrationLocker is goose's advisory lock, one for each schema. Once it is held, it sets the
// lock_timeout that the next migration needs on the connection that goose will use for it.
type migrationLocker struct {
	lock.SessionLocker
	schema   string
	versions []int64        // ascending
	patient  map[int64]bool // those that run outside of a transaction
}

func newMigrationLocker(schema string, migrations fs.FS) (*migrationLocker, error) {
	id := fnv.New32a()
	_, _ = id.Write([]byte("migrate " + schema)) // it never fails
	inner, err := lock.NewPostgresSessionLocker(lock.WithLockID(int64(id.Sum32())), lock.WithLockTimeout(1, 5))
	if err != nil {
		return nil, err
	}
	l := &migrationLocker{SessionLocker: inner, schema: schema, patient: map[int64]bool{}}
	files, err := fs.Glob(migrations, "*.sql") // in the order of their names, and so of their versions
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
		l.patient[version] = bytes.Contains(text, []byte("+goose NO TRANSACTION"))
	}
	return l, nil
}

// SessionLock implements lock.SessionLocker.
func (l *migrationLocker) SessionLock(ctx context.Context, conn *sql.Conn) error {
	if err := l.SessionLocker.SessionLock(ctx, conn); err != nil {
		if ctx.Err() == nil && !retriable(err) {
			return errMigrating // what goose says when it has run out of attempts
		}
		return err
	}
	timeout := "3s"
	if next, err := l.next(ctx, conn); err != nil {
		return errors.Join(err, l.SessionUnlock(ctx, conn))
	} else if l.patient[next] {
		timeout = "0"
	}
	if _, err := conn.ExecContext(ctx, "SELECT set_config('lock_timeout', $1, false)", timeout); err != nil {
		return errors.Join(err, l.SessionUnlock(ctx, conn))
	}
	return nil
}

// next is the version that goose will migrate to, 0 when there is none.
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
