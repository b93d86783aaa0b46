// Package outbox is the transactional outbox: an event is written in the same
// transaction as the change it tells of, and a relay publishes it afterwards.
//
//	tx { change rows; Append(events) }      nothing is published that was not committed
//	    │ commit ──► Wake
//	    ▼
//	relay tx { claim rows FOR UPDATE SKIP LOCKED ─► publish ─► all confirms ─► delete what was confirmed }
//
// What a crash leaves behind:
//
//	before the commit                    nothing: no change, no event
//	after the commit, before the claim   the row; any replica's slow poll finds it
//	between publish and confirm          the row, unlocked; it is published again
//	between confirm and delete           the row, unlocked; it is published twice, the inbox drops the copy
//
// The table belongs to the service's own migrations; outboxtest holds it to this
// contract:
//
//	<schema>.outbox (id uuid PRIMARY KEY, type text, subject text, data json, traceparent text NULL, created_at timestamptz)
package outbox

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/database"
	"gozon/shared/events"
)

// Outbox is the outbox table of one service.
type Outbox struct {
	source                             string
	insert, claim, remove, depthAndAge string
}

// New is the outbox in the given schema; source names the service in its events
// (CloudEvents source).
func New(schema, source string) Outbox {
	table := schema + ".outbox"
	return Outbox{
		source: source,
		insert: `INSERT INTO ` + table + ` (id, type, subject, data, created_at)
			SELECT id, type, subject, data::json, $5 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) AS e (id, type, subject, data)`,
		claim: `SELECT id, type, subject, data, traceparent, created_at FROM ` + table + `
			ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED`,
		remove:      `DELETE FROM ` + table + ` WHERE id = ANY($1::uuid[])`,
		depthAndAge: `SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM ` + table,
	}
}

// Append writes events to be published once the transaction tx has committed.
// Each gets a new UUIDv7 as its message id.
func (o Outbox) Append(ctx context.Context, tx database.Conn, evs ...events.Event) error {
	if len(evs) == 0 {
		return nil
	}
	ids := make([]uuid.UUID, len(evs))
	types, subjects, data := make([]string, len(evs)), make([]string, len(evs)), make([]string, len(evs))
	for i, e := range evs {
		id, err := uuid.NewV7()
		if err != nil {
			return fmt.Errorf("outbox append: %w", err)
		}
		b, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("outbox append: %w", err)
		}
		ids[i], types[i], subjects[i], data[i] = id, e.EventType(), e.EventSubject(), string(b)
	}
	if _, err := tx.ExecContext(ctx, o.insert, ids, types, subjects, data, time.Now()); err != nil {
		return fmt.Errorf("outbox append: %w", err)
	}
	return nil
}

// claimed locks up to limit of the oldest rows that nobody else has locked.
func (o Outbox) claimed(ctx context.Context, tx database.Conn, limit int) ([]events.Envelope, error) {
	rows, err := tx.QueryContext(ctx, o.claim, limit)
	if err != nil {
		return nil, fmt.Errorf("outbox claim: %w", err)
	}
	defer rows.Close()
	var found []events.Envelope
	for rows.Next() {
		e := events.Envelope{SpecVersion: "1.0", Source: o.source, DataContentType: "application/json"}
		var trace *string
		if err := rows.Scan(&e.ID, &e.Type, &e.Subject, (*[]byte)(&e.Data), &trace, &e.Time); err != nil {
			return nil, fmt.Errorf("outbox claim: %w", err)
		}
		if trace != nil {
			e.TraceParent = *trace
		}
		e.Time = e.Time.UTC()
		found = append(found, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("outbox claim: %w", err)
	}
	return found, nil
}

func (o Outbox) delete(ctx context.Context, tx database.Conn, ids []string) error {
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
