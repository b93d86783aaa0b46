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

// ErrCommit is wrapped by an error of [InTx] that came from the commit itself:
// the transaction may or may not have happened.
var ErrCommit = errors.New("commit failed, outcome unknown")

// rolledBack reports whether an error of a commit leaves no doubt: the server answered
// with an ERROR, which aborts the transaction. FATAL may also follow a commit.
func rolledBack(err error) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) {
		return true
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.SeverityUnlocalized == "ERROR"
}

// Faults classifies the errors of [InTx] for a batch.
func Faults() batch.Faults {
	return batch.Faults{
		Whole:     func(err error) bool { return IsUnavailable(err) || IsSchema(err) || errors.Is(err, ErrCommit) },
		Busy:      IsBusy,
		Permanent: IsData,
	}
}

// IsUnavailable reports whether err says that the database could not be reached,
// is not ready, is read-only, or did not answer in time. Another attempt may succeed.
func IsUnavailable(err error) bool {
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true // whatever the server had against it: a password is being changed, say
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return unavailable(pg.Code)
	}
	_, network := errors.AsType[net.Error](err) // also the deadlines of pgconn
	return network || pgconn.SafeToRetry(err) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// IsBusy reports whether err says that somebody else held a lock for too long, or was
// preferred in a deadlock: nothing was done, another attempt may succeed.
func IsBusy(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "55P03" || pg.Code[:2] == "40") // lock_not_available, transaction rollback
}

// IsData reports whether err is the database's refusal of what was said: a value
// that does not fit (class 22) or breaks a constraint (class 23). Another attempt fails
// the same way. A unique violation is left out: it means that somebody else was
// faster, and the next attempt sees what they wrote.
func IsData(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pg.Code == "23505" {
		return false
	}
	return pg.Code[:2] == "22" || pg.Code[:2] == "23"
}

// IsSchema reports whether err says that the database is not as the program expects it: a
// table, a column or a privilege is missing. No item has caused that, and each would fail.
func IsSchema(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code[:2] == "42" || pg.Code[:2] == "3F")
}

// unavailable codes are of a server that is starting, stopping, full or read-only, or
// that has ended the session (PostgreSQL manual, appendix A).
func unavailable(code string) bool {
	switch code[:2] {
	case "08", "53", "57", "58":
		return true
	case "55":
		return code != "55P03" // a lock is a matter of one item
	}
	return unusable(code) || code == "25P03" || code == "25P04"
}

// unusable codes say that a connection cannot do its work and will not be able to, although
// the server keeps it: 25006 is a session that is read-only, which it stays after the
// server is writable again.
func unusable(code string) bool { return code == "25006" }
