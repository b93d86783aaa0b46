package database

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"gozon/shared/delivery/batch"
)

// The lock timeouts of a transaction. The shop's own transactions hold locks for
// milliseconds. A transaction that holds a lock for longer, such as one that an operator
// left open in psql, must not delay a whole set (see [batch.Isolate]).
const (
	lockTimeout    = "SET LOCAL lock_timeout = '100ms'"
	lockTimeoutMin = "SET LOCAL lock_timeout = '1ms'" // the minimum in PostgreSQL; 0 disables the timeout
)

// rollbackTimeout bounds a rollback. If it expires, the connection is closed.
const rollbackTimeout = 3 * time.Second

// Tx is a transaction. It sends its statements in as few round trips as it can, each of
// which is a pipeline that the server executes in order up to the first error:
//
//	Queue, Queue          nothing is sent yet
//	Read                  BEGIN, the queued statements, the queries   one round trip
//	Queue, Queue          nothing is sent yet
//	Commit                the queued statements, COMMIT               one round trip
//
// After an error, the server skips the rest of a pipeline, including a COMMIT, and the
// transaction can only be rolled back. A transaction without statements is not begun. A Tx is
// not safe for concurrent use.
type Tx struct {
	db    *DB
	begin []string      // the statements that begin it
	conn  *pgxpool.Conn // nil until the first round trip and after the last
	begun bool
	queue *pgx.Batch
	err   error // of the round trip that ended it
}

// errEnded is the error of a statement after the end of its transaction.
var errEnded = errors.New("database: the transaction has ended")

// Begin returns a transaction that waits for locks up to the lock_timeout of the pool. The
// caller defers [Tx.Rollback].
func (db *DB) Begin() *Tx { return &Tx{db: db, begin: []string{"BEGIN"}, queue: &pgx.Batch{}} }

// InTx runs fn in a transaction and commits it, or rolls it back when fn fails or panics. See
// [Tx.Commit] for its errors. A statement that waits for a lock fails after 100 ms with an
// error for which [IsBusy] is true, or after 1 ms if [batch.MayWait] is false.
func (db *DB) InTx(ctx context.Context, fn func(*Tx) error) error {
	tx, timeout := db.Begin(), lockTimeout
	if !batch.MayWait(ctx) {
		timeout = lockTimeoutMin
	}
	tx.begin = append(tx.begin, timeout)
	defer tx.Rollback(ctx)
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// Queue adds a statement, which is sent with the next [Tx.Read] or [Tx.Commit]. Its error is
// returned there, prefixed with what.
func (t *Tx) Queue(what, sql string, args ...any) {
	t.queue.Queue(sql, args...).Fn = func(results pgx.BatchResults) error {
		if _, err := results.Exec(); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		return nil
	}
}

// Read sends the queued statements and the queries in one round trip. Each query takes its
// snapshot after the statements before it, so it sees their effects and what was committed
// while they waited for locks.
func (t *Tx) Read(ctx context.Context, queries ...Selection) error {
	for _, q := range queries {
		t.queue.Queue(q.sql, q.args...).Fn = q.read
	}
	_, err := t.send(ctx, false)
	return err
}

// Commit sends the queued statements and commits. The error wraps [ErrCommit] if the outcome
// is unknown. Otherwise nothing was done.
func (t *Tx) Commit(ctx context.Context) error {
	if t.err == nil && !t.begun && t.queue.Len() == 0 {
		return nil
	}
	reached, committed := false, false
	t.queue.Queue("COMMIT").Fn = func(results pgx.BatchResults) error {
		reached = true // all statements before it have succeeded
		tag, err := results.Exec()
		if err == nil && tag.String() != "COMMIT" {
			err = pgx.ErrTxCommitRollback
		}
		if err == nil {
			err = replicated(t.conn.Conn().PgConn())
		}
		committed = err == nil
		return err
	}
	sent, err := t.send(ctx, true)
	switch {
	case committed: // even if the connection was lost after the server had reported it
		t.err = errEnded
		return nil
	case sent && !rolledBack(err, reached):
		return fmt.Errorf("%w: %w", ErrCommit, err)
	default:
		return err
	}
}

// Rollback rolls the transaction back unless it has been committed, and returns its
// connection to the pool. It also works when ctx is done.
func (t *Tx) Rollback(ctx context.Context) {
	if t.err == nil {
		t.err = errEnded
	}
	if t.conn == nil {
		return
	}
	if status := t.conn.Conn().PgConn().TxStatus(); status != 'I' && !t.conn.Conn().IsClosed() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTimeout)
		defer cancel()
		_, _ = t.conn.Exec(ctx, "ROLLBACK") // if it fails, the pool closes the connection
	}
	t.conn.Release()
	t.conn = nil
}

// send sends the queue in one round trip and reads the results. sent is false if the error
// proves that the server has executed none of it. A commit is not cancelled when ctx is done.
func (t *Tx) send(ctx context.Context, commit bool) (sent bool, err error) {
	queue := t.queue
	t.queue = &pgx.Batch{}
	if t.err != nil {
		return false, t.err
	}
	defer func() { t.err = err }()
	if t.conn == nil {
		if t.conn, err = t.db.Acquire(ctx); err != nil {
			return false, fmt.Errorf("begin: %w", err)
		}
	}
	known := preparedOn(t.conn)
	if !t.begun {
		if queue, err = t.beginWith(ctx, queue, known); err != nil {
			return false, err
		}
		t.begun = true
	}
	commits := t.conn.Conn().PgConn().CustomData()[committing].(*atomic.Bool)
	commits.Store(commit)
	err = t.conn.SendBatch(ctx, queue).Close()
	if !t.conn.Conn().IsClosed() {
		commits.Store(false)
	}
	if err != nil {
		clear(known) // pgx deallocates the statements of a batch that failed
		_, preparing := errors.AsType[pgx.ErrPreprocessingBatch](err)
		return !preparing && !pgconn.SafeToRetry(err), err
	}
	for _, q := range queue.QueuedQueries {
		known[q.SQL] = true
	}
	return true, nil
}

// beginWith returns queue with the statements that begin the transaction in front of it. A
// connection that has not prepared the statements of queue begins the transaction in a
// separate round trip: pgx prepares them before it sends any, and preparing waits for a lock
// of a table, too, which must end with the lock timeout of the transaction.
func (t *Tx) beginWith(ctx context.Context, queue *pgx.Batch, known map[string]bool) (*pgx.Batch, error) {
	for _, q := range queue.QueuedQueries {
		if !known[q.SQL] {
			if _, err := t.conn.Exec(ctx, strings.Join(t.begin, "; ")); err != nil {
				return nil, fmt.Errorf("begin: %w", err)
			}
			return queue, nil
		}
	}
	all := &pgx.Batch{}
	for _, sql := range t.begin {
		all.Queue(sql).Fn = func(results pgx.BatchResults) error {
			if _, err := results.Exec(); err != nil {
				return fmt.Errorf("begin: %w", err)
			}
			return nil
		}
	}
	all.QueuedQueries = append(all.QueuedQueries, queue.QueuedQueries...)
	return all, nil
}

// preparedOn returns the statements that were executed on conn and that pgx therefore has
// prepared there.
func preparedOn(conn *pgxpool.Conn) map[string]bool {
	data := conn.Conn().PgConn().CustomData()
	known, ok := data["prepared"].(map[string]bool)
	if !ok {
		known = map[string]bool{}
		data["prepared"] = known
	}
	return known
}
