package delivery

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/database"
)

// outbox holds the statements of the outbox table.
type outbox struct {
	source                             string
	insert, claim, remove, depthAndAge string
}

func newOutbox(schema string) outbox {
	table := schema + ".outbox"
	return outbox{
		source: "gozon/" + schema,
		insert: `INSERT INTO ` + table + ` (id, type, subject, data, created_at)
			SELECT id, type, subject, data::json, $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS e (id, type, subject, data)`,
		claim: `SELECT id, type, subject, data, traceparent, created_at FROM ` + table + `
			ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`,
		remove:      `DELETE FROM ` + table + ` WHERE id = ANY($1::uuid[])`,
		depthAndAge: `SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM ` + table,
	}
}

// Emit writes events to the outbox; the relay publishes them after the commit. Each gets
// a new UUIDv7 as its message id.
func (t *Tx) Emit(ctx context.Context, evs ...events.Event) error {
	if len(evs) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(evs))
	types, subjects, data := make([]string, len(evs)), make([]string, len(evs)), make([]string, len(evs))
	for i, e := range evs {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("emit: %w", err)
		}
		b, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("emit: %w", err)
		}
		ids[i], types[i], subjects[i], data[i] = id, e.EventType(), e.EventSubject(), string(b)
	}
	if _, err := t.ExecContext(ctx, t.store.outbox.insert, ids, types, subjects, data, time.Now()); err != nil {
		return fmt.Errorf("emit: %w", err)
	}
	t.emitted = true
	return nil
}

// claimed locks the oldest rows that no other transaction has locked, at most limit, and
// returns their events.
func (o outbox) claimed(ctx context.Context, tx database.Conn, limit int) ([]events.Envelope, error) {
	var found []events.Envelope
	for e, err := range database.Query(ctx, tx, scanEvent, o.claim, limit) {
		if err != nil {
			return nil, fmt.Errorf("outbox claim: %w", err)
		}
		e.SpecVersion, e.Source, e.DataContentType = "1.0", o.source, "application/json"
		found = append(found, e)
	}
	return found, nil
}

func scanEvent(rows *sql.Rows, e *events.Envelope) error {
	var trace *string
	err := rows.Scan(&e.ID, &e.Type, &e.Subject, (*[]byte)(&e.Data), &trace, &e.Time)
	e.TraceParent, e.Time = database.Value(trace), e.Time.UTC()
	return err
}

func (o outbox) delete(ctx context.Context, tx database.Conn, ids []string) error {
	parsed := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		var err error
		if parsed[i], err = uuid.Parse(id); err != nil {
			return fmt.Errorf("outbox delete: %w", err)
		}
	}
	if _, err := tx.ExecContext(ctx, o.remove, parsed); err != nil {
		return fmt.Errorf("outbox delete: %w", err)
	}
	return nil
}
