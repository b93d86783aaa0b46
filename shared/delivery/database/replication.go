package database

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// With synchronous replication, COMMIT first commits on the primary and then waits for the
// standby. Until the wait ends, no other transaction sees the changes. If the wait is cancelled,
// they become visible although the standby, which may be promoted, does not have them: a retry
// with the same idempotency key would get the response of an order that can still be lost.

// Keys of the data of a connection.
const (
	committing   = "committing"   // an *atomic.Bool: it is sending COMMIT, or has failed while it did
	unreplicated = "unreplicated" // the wait for the standby was cancelled by somebody else
)

var (
	errCommitting   = errors.New("database: a commit is not cancelled")
	errUnreplicated = errors.New("the wait for the synchronous standby was cancelled")
)

// keepCommits makes a connection that is being opened leave a commit alone when its deadline
// expires. For any other statement, pgx sends a cancel request over a connection of its own.
func keepCommits(cfg *pgx.ConnConfig) {
	commits, dial := &atomic.Bool{}, cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if commits.Load() {
			return nil, errCommitting
		}
		return dial(ctx, network, addr)
	}
	cfg.AfterConnect = func(_ context.Context, conn *pgconn.PgConn) error {
		conn.CustomData()[committing] = commits
		return nil
	}
}

// noticeUnreplicated records the warning of a commit whose wait was cancelled. The name of the
// routine is not translated, unlike the message.
func noticeUnreplicated(conn *pgconn.PgConn, n *pgconn.Notice) {
	if n.Routine == "SyncRepWaitForLSN" {
		conn.CustomData()[unreplicated] = true
	}
}

// replicated returns an error if the commit that has just succeeded may not be on the standby.
func replicated(conn *pgconn.PgConn) error {
	if conn.CustomData()[unreplicated] == nil {
		return nil
	}
	delete(conn.CustomData(), unreplicated)
	return errUnreplicated
}
