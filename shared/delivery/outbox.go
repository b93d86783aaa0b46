package delivery

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/database"
)

// outbox is a table of messages that are not published yet. A row contains the events of
// one type that one transaction has emitted: the data of a single event, or an array of
// events, with an empty subject.
//
// Published rows are deleted, so the table stays small and there is no state to maintain.
// Ids are UUIDv7, so ordering by id publishes in the order of the emits, approximately.
// There is no guarantee, because several relays may run.
type outbox struct {
	source                                    string
	insert, claim, remove, depthAndAge, count string
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
		// In the order of the primary key, because the table may still have the pages of many deleted rows.
		count: `SELECT count(*) FROM (SELECT FROM ` + table + ` ORDER BY id LIMIT $1) AS rows`,
	}
}

// OutboxRows counts the rows of the outbox, at most limit.
func (s *Store) OutboxRows(ctx context.Context, limit int) (n int, err error) {
	if err := s.DB.QueryRow(ctx, s.outbox.count, limit).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the outbox: %w", err)
	}
	return n, nil
}

// maxMessage is the maximum size of a message with several events, in bytes. A batch of
// the shop's events is smaller. It bounds what a relay, the broker and a consumer hold in
// memory.
const maxMessage = 128 << 10

// Emit writes events to the outbox; the relay publishes them after the commit. Events of
// the same type share a message, up to [Config].EventsPerMessage. Each event gets a new
// UUIDv7 as its id.
func (t *Tx) Emit(_ context.Context, evs ...events.Event) error {
	if len(evs) == 0 {
		return nil
	}
	var ids []uuid.UUID
	var types, subjects, data []string
	at := time.Now()
	for _, group := range byType(evs) {
		for len(group) > 0 {
			m, n, err := t.store.outbox.pack(group, at, t.store.eventsPerMessage)
			if err != nil {
				return fmt.Errorf("emit: %w", err)
			}
			ids, types, subjects, data = append(ids, m.id), append(types, group[0].EventType()), append(subjects, m.subject), append(data, string(m.data))
			group = group[n:]
		}
	}
	t.Queue("emit", t.store.outbox.insert, ids, types, subjects, data, at)
	t.emitted = true
	return nil
}

// byType groups events by their type. It keeps their order.
func byType(evs []events.Event) [][]events.Event {
	var groups [][]events.Event
	index := map[string]int{}
	for _, e := range evs {
		i, known := index[e.EventType()]
		if !known {
			i = len(groups)
			index[e.EventType()], groups = i, append(groups, nil)
		}
		groups[i] = append(groups[i], e)
	}
	return groups
}

type outboxRow struct {
	id      uuid.UUID
	subject string
	data    []byte
}

// pack returns a row with the first n events of a type, at most limit.
func (o outbox) pack(evs []events.Event, at time.Time, limit int) (row outboxRow, n int, err error) {
	envelopes, size := make([]events.Envelope, 0, min(len(evs), limit)), 0
	for _, e := range evs[:min(len(evs), limit)] {
		id, err := uuid.NewV7()
		if err != nil {
			return row, 0, err
		}
		data, err := json.Marshal(e)
		if err != nil {
			return row, 0, err
		}
		if size += len(data) + len(e.EventSubject()) + envelopeSize; size > maxMessage && len(envelopes) > 0 {
			break
		}
		envelopes = append(envelopes, o.envelope(id.String(), e.EventType(), e.EventSubject(), at, data))
		row = outboxRow{id, e.EventSubject(), data}
	}
	if len(envelopes) == 1 {
		return row, 1, nil
	}
	if row.id, err = uuid.NewV7(); err != nil {
		return row, 0, err
	}
	row.subject = ""
	row.data, _, err = events.Encode(envelopes...)
	return row, len(envelopes), err
}

// envelopeSize is about the size of an encoded envelope without its subject and data.
const envelopeSize = 300

func (o outbox) envelope(id, eventType, subject string, at time.Time, data []byte) events.Envelope {
	return events.Envelope{
		SpecVersion: "1.0", ID: id, Source: o.source, Type: eventType, Subject: subject,
		Time: at.UTC().Truncate(time.Microsecond), DataContentType: "application/json", Data: data,
	}
}

// claimed locks up to limit rows that no other relay has locked and returns their messages,
// ordered by id. publishedAt is when they are published. The id of a message is that of its
// row.
func (o outbox) claimed(ctx context.Context, tx *database.Tx, limit int, publishedAt time.Time) ([]events.Message, error) {
	var rows []events.Envelope // with the columns of a row
	var row events.Envelope
	var trace *string
	into := []any{&row.ID, &row.Type, &row.Subject, (*[]byte)(&row.Data), &trace, &row.Time}
	claim := database.Select("outbox claim", into, func() {
		row.TraceParent = database.Value(trace)
		rows = append(rows, row)
	}, o.claim, limit)
	if err := tx.Read(ctx, claim); err != nil {
		return nil, err
	}
	messages := make([]events.Message, len(rows))
	for i, row := range rows {
		var err error
		if messages[i], err = o.message(row, publishedAt); err != nil {
			return nil, fmt.Errorf("outbox claim: %s: %w", row.ID, err)
		}
	}
	return messages, nil
}

func (o outbox) message(row events.Envelope, publishedAt time.Time) (m events.Message, err error) {
	m = events.Message{ID: row.ID, Source: o.source, Type: row.Type, Time: row.Time.UTC()}
	if events.IsBatch(row.Data) {
		m.ContentType = events.BatchContentType
		m.Body, err = events.Published(row.Data, publishedAt)
		return m, err
	}
	e := o.envelope(row.ID, row.Type, row.Subject, row.Time, row.Data)
	e.TraceParent, e.PublishedAt = row.TraceParent, publishedAt
	m.Body, m.ContentType, err = events.Encode(e)
	return m, err
}

// delete queues the deletion of the rows with ids.
func (o outbox) delete(tx *database.Tx, ids []string) error {
	parsed := make([]uuid.UUID, len(ids))
	for i, id := range ids {
		var err error
		if parsed[i], err = uuid.Parse(id); err != nil {
			return fmt.Errorf("outbox delete: %w", err)
		}
	}
	tx.Queue("outbox delete", o.remove, parsed)
	return nil
}
