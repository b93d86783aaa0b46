package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"gozon/shared/delivery/batch"
)

// ErrCommit is wrapped by an error of [Tx.Commit] with an unknown outcome: the transaction
// may or may not have committed.
var ErrCommit = errors.New("commit failed, outcome unknown")

// rolledBack reports whether an error of a pipeline that ends with COMMIT proves that the
// transaction was rolled back. reached means that the statements before COMMIT have succeeded.
//
// The server reports results in order and executes nothing after an error, so an error
// instead of an earlier result is a proof. For COMMIT itself, only severity ERROR is: FATAL
// may also follow a successful commit. Class 08 may come from a connection pooler that lost
// its server.
func rolledBack(err error, reached bool) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return true
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code[:2] != "08" && (!reached || pg.SeverityUnlocalized == "ERROR")
}

// Faults classifies the errors of a transaction for a batch.
func Faults() batch.Faults {
	return batch.Faults{
		Whole:     func(err error) bool { return IsUnavailable(err) || IsSchema(err) || errors.Is(err, ErrCommit) },
		Busy:      IsBusy,
		Permanent: IsData,
	}
}

// IsUnavailable reports whether the database could not be reached, is not ready, is
// read-only, or did not answer in time. A retry may succeed.
func IsUnavailable(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true // for any reason: a wrong password may be a password change in progress
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return unavailable(pg.Code)
	}
	_, network := errors.AsType[net.Error](err) // includes the timeouts of pgconn
	return network || pgconn.SafeToRetry(err) || errors.Is(err, errPassword) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// IsBusy reports whether a lock was not available in time or the transaction was rolled
// back in favor of another one, such as in a deadlock. Nothing was done; a retry may succeed.
func IsBusy(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "55P03" || pg.Code[:2] == "40") // lock_not_available; class 40 is transaction rollback
}

// IsData reports whether PostgreSQL rejected the data (class 22, data exception, or 23,
// constraint violation), so a retry cannot help. A unique violation does not count: another
// transaction inserted the key first, and a retry sees its row.
func IsData(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code == "23505" {
		return false
	}
	return pg.Code[:2] == "22" || pg.Code[:2] == "23"
}

// IsSchema reports whether the schema is not as the program expects: a table, a column or a
// privilege is missing. The error is not caused by an item, and every item fails with it.
func IsSchema(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code[:2] == "42" || pg.Code[:2] == "3F")
}

// unavailable reports whether code comes from a server that is starting, stopping, full or
// read-only, or that has ended the session (PostgreSQL manual, appendix A).
func unavailable(code string) bool {
	switch code[:2] {
	case "08", "53", "57", "58":
		return true
	case "55":
		return code != "55P03" // lock_not_available concerns one item: see IsBusy
	}
	return isReadOnly(code) || code == "25P03" || code == "25P04"
}

// isReadOnly reports whether code is 25006, read_only_sql_transaction. The session stays
// read-only after the server becomes writable, so its connection must be closed.
func isReadOnly(code string) bool { return code == "25006" }
