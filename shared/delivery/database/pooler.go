package database

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// settings are the parameters of the pool's sessions, unless the URL sets others.
var settings = map[string]string{
	// Bound statements and locks on the server, so that they end even if this process
	// disappears without closing its connections.
	"statement_timeout": "15s", "lock_timeout": "10s", "idle_in_transaction_session_timeout": "30s",
	// The statements of a batch find their rows by an index. A cached plan that was made
	// while its table was empty would read the whole table, as it grows, until the next
	// ANALYZE.
	"enable_seqscan": "off",
	// The few statements that must read a whole table now look so expensive to the planner
	// that it would compile them, which takes 0.1 s.
	"jit": "off",
}

// poolConfig returns the configuration of the pool's connections, and the parameters of their
// sessions. A pooler refuses parameters that it does not know when a connection starts, and
// does not carry them to the sessions of the server. They are then defaults of the role, which
// [Await] sets.
func (c Config) poolConfig() (cfg *pgx.ConnConfig, params map[string]string, err error) {
	if cfg, err = c.connConfig(c.URL); err != nil {
		return nil, nil, fmt.Errorf("database: DATABASE_URL %w", err)
	}
	params = maps.Clone(settings)
	for name := range settings {
		if value := cfg.RuntimeParams[name]; value != "" {
			params[name] = value
		}
		delete(cfg.RuntimeParams, name)
	}
	if c.SessionURL == "" {
		maps.Copy(cfg.RuntimeParams, params)
	}
	return cfg, params, nil
}

// preparePooler sets the parameters of the pool's sessions as defaults of the role in this
// database, and checks that the pool works with the pooler.
func (c Config) preparePooler(ctx context.Context) error {
	_, params, err := c.poolConfig()
	if err != nil {
		return err
	}
	if err := c.setDefaults(ctx, params); err != nil {
		return fmt.Errorf("set the defaults of the role: %w", err)
	}
	db, err := Open(c) //nolint:contextcheck // it does not connect
	if err != nil {
		return err
	}
	defer db.Close()
	return db.checkPooler(ctx, params)
}

// setDefaults does nothing if the defaults are set. Otherwise it takes a lock, because two
// sessions that set defaults of the same role at the same time fail. Any role of the database
// can take that lock, so the wait for it is limited.
func (c Config) setDefaults(ctx context.Context, params map[string]string) error {
	conn, err := Connect(ctx, c)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var defaults []string
	err = conn.QueryRow(ctx, `SELECT coalesce((SELECT setconfig FROM pg_db_role_setting
		WHERE setrole = current_user::regrole AND setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())), '{}')`).Scan(&defaults)
	if err != nil {
		return err
	}
	missing := maps.Clone(params)
	maps.DeleteFunc(missing, func(name, value string) bool { return slices.Contains(defaults, name+"="+value) })
	if len(missing) == 0 {
		return nil
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '3s'"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('defaults of ' || current_user))"); err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(missing)) {
			var statement string
			err := tx.QueryRow(ctx, "SELECT format('ALTER ROLE %I IN DATABASE %I SET %I = %L', current_user, current_database(), $1::text, $2::text)",
				name, missing[name]).Scan(&statement)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

var (
	errNotPrepared = errors.New("the connection pooler at DATABASE_URL does not keep prepared statements: set max_prepared_statements of pgbouncer (1.21 or newer), or add default_query_exec_mode=cache_describe to DATABASE_URL")
	// errOldSessions is not permanent: the pooler replaces its sessions from time to time.
	errOldSessions = errors.New("the connection pooler at DATABASE_URL uses sessions that are older than the defaults of the role: run RECONNECT in its console")
)

// checkAttempts is how often the pooler is checked. It may use a different session each time.
const checkAttempts = 3

// checkPooler finds a pooler whose sessions lack what the statements of the pool rely on.
func (db *DB) checkPooler(ctx context.Context, params map[string]string) error {
	for range checkAttempts {
		var seqscan string
		err := pgx.BeginFunc(ctx, db.Pool, func(tx pgx.Tx) error {
			return tx.QueryRow(ctx, "SHOW enable_seqscan", pgx.QueryExecModeExec).Scan(&seqscan)
		})
		if err != nil {
			return err
		}
		if seqscan != params["enable_seqscan"] {
			return errOldSessions
		}
		if err := db.checkPrepared(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkPrepared fails if a statement that one connection prepares is known to another one by
// the same name: they share a session, and would mix up their statements.
func (db *DB) checkPrepared(ctx context.Context) error {
	if db.Config().ConnConfig.DefaultQueryExecMode != pgx.QueryExecModeCacheStatement {
		return nil
	}
	one, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	defer one.Release()
	other, err := db.Acquire(ctx)
	if err != nil {
		return err
	}
	defer other.Release()
	name := "check_" + rand.Text()
	if _, err := one.Conn().PgConn().Prepare(ctx, name, "SELECT 1", nil); err != nil {
		return err
	}
	var shared bool
	err = other.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_prepared_statements WHERE name = $1)", pgx.QueryExecModeExec, name).Scan(&shared)
	if err == nil && shared {
		err = errNotPrepared
	}
	return errors.Join(err, one.Conn().PgConn().Deallocate(ctx, name))
}
