package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/pressly/goose/v3"
)

// Await waits until [Migrate], which runs as the owner of the schema, has applied all
// migrations. It changes nothing, and takes no lock that another role could hold. While the
// database is unavailable, a migration or a privilege is missing, Await logs the error and
// retries until ctx is done. Any other error is returned at once.
//
// If there is a [Config.SessionURL], Await also prepares the database for the pooler at
// [Config.URL], and checks that the pooler is suitable.
func Await(ctx context.Context, c Config, schema string, migrations fs.FS, log *slog.Logger) error {
	newest, err := newestVersion(migrations)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	ready := func() error {
		if err := checkVersion(ctx, c, schema, newest); err != nil {
			return fmt.Errorf("schema %s: %w", schema, err)
		}
		if c.SessionURL != "" {
			return c.preparePooler(ctx)
		}
		return nil
	}
	again := func(err error) bool { return errors.Is(err, errNotMigrated) || IsSchema(err) || retriable(err) }
	return retry(ctx, ready, again, func(err error, delay time.Duration) {
		log.WarnContext(ctx, "database: not ready yet, retrying", "error", err, "retry_in", delay.String())
	})
}

var errNotMigrated = errors.New("the command migrate must be run by its owner")

func checkVersion(ctx context.Context, c Config, schema string, newest int64) error {
	conn, err := Connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var version int64
	if err := conn.QueryRow(ctx, "SELECT coalesce(max(version_id), 0) FROM "+schema+".goose_db_version").Scan(&version); err != nil {
		return err
	}
	if version < newest {
		return fmt.Errorf("it has version %d, version %d is needed: %w", version, newest, errNotMigrated)
	}
	return nil
}

// newestVersion returns the version of the newest migration.
func newestVersion(migrations fs.FS) (newest int64, err error) {
	files, err := fs.Glob(migrations, "*.sql")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		version, err := goose.NumericComponent(file)
		if err != nil {
			return 0, err
		}
		newest = max(newest, version)
	}
	return newest, nil
}
