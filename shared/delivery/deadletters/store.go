package deadletters

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/database"
)

// The actions that are recorded.
const (
	actionCollect = "collect"
	actionEdit    = "edit"
	actionRetry   = "retry"
	actionDiscard = "discard"
)

// Action is a record of what was done with a letter.
type Action struct {
	Action, Operator string
	At               time.Time
	Reason           string // of the failure that was collected, or for discarding the letter
	Body             []byte // that an edit has set
}

// Store is the table of the dead letters of one service. It is safe for concurrent use.
type Store struct {
	db     *database.DB
	schema string

	lock, read, find, list, put, record, history, count, handled string
}

// NewStore returns the store of the tables in schema.
func NewStore(db *database.DB, schema string) *Store {
	letters, actions := schema+".dead_letters", schema+".dead_letter_actions"
	selectFrom := `SELECT id, state, queue, routing_key, reason, failed_at, retries, properties, original, body FROM ` + letters
	return &Store{
		db: db, schema: schema,
		lock: `LOCK TABLE ` + letters + ` IN SHARE ROW EXCLUSIVE MODE`, // also against other collectors
		read: selectFrom + ` WHERE id = ANY($1::uuid[])`,
		find: selectFrom + ` WHERE id = $1 FOR UPDATE`,
		list: selectFrom + ` WHERE ($1 OR state IN ('open', 'retrying')) AND ($2 = '' OR queue = $2) AND position($3 IN reason) > 0
			ORDER BY failed_at, id LIMIT $4`,
		put: `INSERT INTO ` + letters + ` (id, state, queue, routing_key, reason, failed_at, retries, properties, original, body)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8::text::json, $9, $10)
			ON CONFLICT (id) DO UPDATE SET state = EXCLUDED.state, queue = EXCLUDED.queue, routing_key = EXCLUDED.routing_key,
				reason = EXCLUDED.reason, failed_at = EXCLUDED.failed_at, retries = EXCLUDED.retries,
				properties = EXCLUDED.properties, body = EXCLUDED.body`,
		record:  `INSERT INTO ` + actions + ` (letter_id, action, operator, reason, body) VALUES ($1, $2, $3, $4, $5)`,
		history: `SELECT action, operator, at, reason, body FROM ` + actions + ` WHERE letter_id = $1 ORDER BY id`,
		count:   `SELECT count(*) FROM ` + letters + ` WHERE state IN ('open', 'retrying')`,
		handled: `SELECT received_at FROM ` + schema + `.inbox WHERE message_id = $1`,
	}
}

// Check returns an error if the database is down or the table is missing.
func (s *Store) Check(ctx context.Context) error {
	var exists bool
	if err := s.db.QueryRow(ctx, `SELECT to_regclass($1) IS NOT NULL`, s.schema+".dead_letters").Scan(&exists); err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	if !exists {
		return fmt.Errorf("dead letters: table %s.dead_letters is missing; the command migrate creates it", s.schema)
	}
	return nil
}

// Collect stores messages. One that is stored already changes nothing, unless it is the latest
// retry of its letter. operator is recorded as the one who has collected them.
func (s *Store) Collect(ctx context.Context, messages []broker.DeadLetter, operator string) error {
	var ids []uuid.UUID
	for i := range messages {
		m := &messages[i]
		m.Reason, m.RoutingKey = text(m.Reason), text(m.RoutingKey)
		ids = append(ids, candidates(*m)...)
	}
	tx := s.db.Begin()
	defer tx.Rollback(ctx)
	tx.Queue("lock", s.lock)
	known := map[uuid.UUID]*Letter{}
	if err := tx.Read(ctx, s.selected(s.read, func(l Letter) { known[l.ID] = &l }, ids)); err != nil {
		return fmt.Errorf("store dead letters: %w", err)
	}
	for _, m := range messages {
		l, changed := place(m, known)
		if !changed {
			continue
		}
		l.FailedAt = failedAt(m, time.Now())
		if err := s.queuePut(tx, l); err != nil {
			return err
		}
		s.queueRecord(tx, l.ID, Action{Action: actionCollect, Operator: operator, Reason: l.Reason})
		known[l.ID] = l
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("store dead letters: %w", err)
	}
	return nil
}

// Filter selects letters.
type Filter struct {
	Closed bool   // also letters that are retried or discarded
	Queue  string // if not empty, letters from this queue
	Reason string // letters whose reason contains it
	Max    int    // number of letters
}

// List returns the selected letters, oldest failure first.
func (s *Store) List(ctx context.Context, f Filter) (all []Letter, err error) {
	tx := s.db.Begin()
	defer tx.Rollback(ctx)
	if err := tx.Read(ctx, s.selected(s.list, func(l Letter) { all = append(all, l) }, f.Closed, f.Queue, f.Reason, f.Max)); err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return all, nil
}

// Find returns a letter and what was done with it. handledAt is when its event was claimed by
// a consumer of this service, and zero if it was not.
func (s *Store) Find(ctx context.Context, id uuid.UUID) (l Letter, actions []Action, handledAt time.Time, err error) {
	tx := s.db.Begin()
	defer tx.Rollback(ctx)
	var a Action
	event := id
	err = tx.Read(ctx, s.selected(s.read, func(found Letter) { l = found }, []uuid.UUID{id}),
		database.Select("actions", []any{&a.Action, &a.Operator, &a.At, &a.Reason, &a.Body}, func() {
			actions = append(actions, a)
			a.Body = nil
		}, s.history, id))
	if err == nil && l.ID != id {
		err = ErrNotFound
	}
	if err == nil {
		if fromBody, ok := eventID(l.Body); ok {
			event = fromBody
		}
		err = s.db.QueryRow(ctx, s.handled, event).Scan(&handledAt)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
	}
	if err != nil {
		return l, nil, handledAt, fmt.Errorf("dead letter %s: %w", id, err)
	}
	return l, actions, handledAt, nil
}

// StartRetry records that a letter is going to be published, and returns it. A retry that was
// interrupted keeps its number.
func (s *Store) StartRetry(ctx context.Context, id uuid.UUID, operator string) (Letter, error) {
	return s.change(ctx, id, func(l *Letter) (Action, error) {
		if l.State != Retrying {
			l.Retry++
		}
		l.State = Retrying
		return Action{Action: actionRetry, Operator: operator}, nil
	})
}

// FinishRetry records that the broker has confirmed a letter that [Store.StartRetry] has
// returned. If that retry has failed in the meantime, the letter stays open.
func (s *Store) FinishRetry(ctx context.Context, l Letter) error {
	_, err := s.db.Exec(ctx, `UPDATE `+s.schema+`.dead_letters SET state = 'retried' WHERE id = $1 AND state = 'retrying' AND retries = $2`, l.ID, l.Retry)
	if err != nil {
		return fmt.Errorf("dead letter %s was published, but not marked as retried; another retry is harmless: %w", l.ID, err)
	}
	return nil
}

// Edit replaces the body of an open letter with the one that edit returns.
func (s *Store) Edit(ctx context.Context, id uuid.UUID, operator string, edit func(*Letter) ([]byte, error)) error {
	_, err := s.change(ctx, id, func(l *Letter) (Action, error) {
		if l.State != Open {
			return Action{}, fmt.Errorf("%w: it is %s, and only an open letter can be edited", ErrState, l.State)
		}
		body, err := edit(l)
		l.Body = body
		return Action{Action: actionEdit, Operator: operator, Body: body}, err
	})
	return err
}

// Discard closes an open letter without a retry.
func (s *Store) Discard(ctx context.Context, id uuid.UUID, operator, reason string) error {
	_, err := s.change(ctx, id, func(l *Letter) (Action, error) {
		switch l.State {
		case Open:
		case Retrying:
			return Action{}, fmt.Errorf("%w: a retry was interrupted and may have been published; retry it again first", ErrState)
		case Retried, Discarded:
			return Action{}, fmt.Errorf("%w: it is %s", ErrState, l.State)
		}
		l.State = Discarded
		return Action{Action: actionDiscard, Operator: operator, Reason: reason}, nil
	})
	return err
}

// change changes a letter and records the action, in one transaction.
func (s *Store) change(ctx context.Context, id uuid.UUID, fn func(*Letter) (Action, error)) (l Letter, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("dead letter %s: %w", id, err)
		}
	}()
	tx := s.db.Begin()
	defer tx.Rollback(ctx)
	if err := tx.Read(ctx, s.selected(s.find, func(found Letter) { l = found }, id)); err != nil {
		return l, err
	}
	if l.ID != id {
		return l, ErrNotFound
	}
	action, err := fn(&l)
	if err != nil {
		return l, err
	}
	if err := s.queuePut(tx, &l); err != nil {
		return l, err
	}
	s.queueRecord(tx, id, action)
	return l, tx.Commit(ctx)
}

func (s *Store) selected(sql string, each func(Letter), args ...any) database.Selection {
	var l Letter
	var properties []byte
	return database.Select("dead letters", []any{
		&l.ID, &l.State, &l.Queue, &l.RoutingKey, &l.Reason, &l.FailedAt, &l.Retry, &properties, &l.Original, &l.Body,
	}, func() {
		found := l
		found.RetryOf = l.ID
		_ = json.Unmarshal(properties, &found.Properties) // queuePut has encoded them
		each(found)
		l.Original, l.Body, properties = nil, nil, nil
	}, sql, args...)
}

func (s *Store) queuePut(tx *database.Tx, l *Letter) error {
	properties, err := json.Marshal(l.Properties)
	if err != nil {
		return fmt.Errorf("encode the properties of dead letter %s: %w", l.ID, err)
	}
	tx.Queue("store dead letter", s.put, l.ID, string(l.State), l.Queue, l.RoutingKey, l.Reason, l.FailedAt, l.Retry, string(properties), l.Original, l.Body)
	return nil
}

func (s *Store) queueRecord(tx *database.Tx, id uuid.UUID, a Action) {
	tx.Queue("record action", s.record, id, a.Action, text(a.Operator), text(a.Reason), a.Body)
}

// text returns s without what PostgreSQL does not store in a text column.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
