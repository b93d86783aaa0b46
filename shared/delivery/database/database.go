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
//	an operator cancels the wait for the
//	synchronous standby                         ErrCommit: committed, but the standby may not have it
//	schema not as the program expects           IsSchema: not caused by an item, every item fails
//	a URL leads to a pooler that loses the      [Await] fails and says which setting is missing, so the service
//	state that its connections rely on          does not start
//
// Behind a connection pooler in transaction mode, each transaction of a connection may be
// executed by another session of the server. The pool relies on nothing but transactions: its
// advisory locks and SET LOCAL end with them, its parameters are defaults of the role, and the
// pooler prepares its statements in each session. LISTEN and migrations need a session, and
// connect to [Config.SessionURL].
//
// A service runs as a role that owns nothing. [Migrate] runs as the owner of the schema, in a
// process that ends before the service starts. The roles of all services share one database,
// and PostgreSQL has no privileges for NOTIFY and for advisory locks. Therefore neither is
// more than a hint: a notification only says that something may be worth reading, and an
// advisory lock that another role holds only delays what a retry or another replica does.
// ADR 27 lists what depends on each.
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

	"gozon/shared/service/secret"
)

// Config holds the settings from the environment. Embed it in a service's configuration.
type Config struct {
	URL        string          `env:"DATABASE_URL,notEmpty" usage:"postgres://role@host:5432/database; if several hosts are given (host1:5432,host2:5432), the writable one is used"`
	SessionURL string          `env:"DATABASE_SESSION_URL" envDefault:"" usage:"the same database without a connection pooler, for LISTEN and at the start; required if DATABASE_URL leads to a pooler, such as pgbouncer in transaction mode"`
	Password   secret.Password `envPrefix:"DATABASE_"` // for both URLs
	MaxConns   int             `env:"DATABASE_MAX_CONNS" envDefault:"10" usage:"size of the connection pool"`
}

// Validate reports an invalid URL or pool size. The error does not contain the password.
func (c Config) Validate() error {
	if err := c.Password.Validate("DATABASE_"); err != nil {
		return err
	}
	if _, err := c.connConfig(c.URL); err != nil {
		return fmt.Errorf("DATABASE_URL %w", err)
	}
	if c.SessionURL != "" {
		if _, err := c.connConfig(c.SessionURL); err != nil {
			return fmt.Errorf("DATABASE_SESSION_URL %w", err)
		}
	}
	if c.MaxConns < 4 {
		return fmt.Errorf("DATABASE_MAX_CONNS is %d: it must be at least 4", c.MaxConns)
	}
	return nil
}

// ForDevelopment reports whether the password is a development password.
func (c Config) ForDevelopment() bool {
	for _, url := range []string{c.URL, c.SessionURL} {
		if cfg, err := c.connConfig(url); url != "" && err == nil && secret.ForDevelopment(cfg.Password) {
			return true
		}
	}
	return false
}

// connConfig returns the configuration that every connection of a service has in common. It
// has the current password.
func (c Config) connConfig(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, errors.New("is not a PostgreSQL connection URL")
	}
	if c.Password.IsSet() && cfg.Password != "" {
		return nil, errors.New("contains a password, and another one is configured")
	}
	if err := c.setPassword(cfg); err != nil {
		return nil, err
	}
	cfg.ConnectTimeout = 3 * time.Second // of each host, without the lookup of its name
	// The name of a host that is gone may be looked up for long. The other hosts must not wait.
	cfg.LookupFunc = func(ctx context.Context, host string) ([]string, error) {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		return net.DefaultResolver.LookupHost(ctx, host)
	}
	// Detect within 30 seconds that a host disappeared without closing its connections.
	cfg.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}).DialContext
	if cfg.ValidateConnect == nil && !strings.Contains(url, "target_session_attrs") {
		// Treat a standby or a server that is temporarily read-only as down.
		cfg.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	onPgError := cfg.OnPgError
	cfg.OnPgError = func(conn *pgconn.PgConn, err *pgconn.PgError) bool {
		return !isReadOnly(err.Code) && onPgError(conn, err)
	}
	cfg.OnNotice = noticeUnreplicated
	return cfg, nil
}

// errPassword marks an error of reading the password, such as while it is being replaced.
var errPassword = errors.New("no password")

func (c Config) setPassword(cfg *pgx.ConnConfig) error {
	if !c.Password.IsSet() {
		return nil
	}
	password, err := c.Password.Read()
	if err != nil {
		return fmt.Errorf("%w: %w", errPassword, err)
	}
	cfg.Password = password
	return nil
}
