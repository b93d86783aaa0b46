package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gozon/orders/internal/live"
	"gozon/orders/internal/order"
)

// notificationSize is the number of orders in one notification, which is limited to 8,000
// bytes.
const notificationSize = 128

// notify queues notifications of changed orders, which the commit sends to the listeners of
// [Channel].
func (t *tx) notify(changed []order.Order) {
	if len(changed) == 0 {
		return
	}
	var payloads []string
	var payload []byte
	for part := range slices.Chunk(changed, notificationSize) {
		payload = payload[:0]
		for _, o := range part {
			if len(payload) > 0 {
				payload = append(payload, ',')
			}
			payload = append(strconv.AppendInt(payload, o.UserID, 10), ' ')
			payload = append(payload, o.ID.String()...)
		}
		payloads = append(payloads, string(payload))
	}
	t.Queue("notify", "SELECT pg_notify('"+Channel+"', payload) FROM unnest($1::text[]) AS n (payload)", payloads)
}

func (r orderRow) revision() live.Revision {
	return live.Revision{Order: r.order(), ChangedIn: live.Watermark(r.ChangedIn)}
}

// Revisions implements live.Store.
func (s *Store) Revisions(ctx context.Context, ids ...uuid.UUID) ([]live.Revision, error) {
	var found []live.Revision
	for r, err := range s.orders.Query(ctx, s.DB, "WHERE id = ANY($1::uuid[])", ids) {
		if err != nil {
			return nil, fmt.Errorf("read orders: %w", err)
		}
		found = append(found, r.revision())
	}
	return found, nil
}

// ChangedSince implements live.Store. The query is planned for each call, because the best
// plan for one user differs from that for thousands, and a generic plan would read all of
// their orders. The upper bound excludes rows that were restored from another cluster, where
// transaction ids may be higher.
func (s *Store) ChangedSince(ctx context.Context, since live.Snapshot, limit int, users ...int64) iter.Seq2[live.Revision, error] {
	return func(yield func(live.Revision, error) bool) {
		for r, err := range s.orders.Query(ctx, s.DB, `
			WHERE user_id = ANY($1::bigint[]) AND (changed_in >= $2 OR changed_in = ANY($3::bigint[]))
				AND changed_in < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
			ORDER BY user_id LIMIT nullif($4::bigint, 0)`, pgx.QueryExecModeCacheDescribe, users, int64(since.Max), since.Open, limit) {
			if err != nil {
				err = fmt.Errorf("read orders: %w", err)
			}
			if !yield(r.revision(), err) {
				return
			}
		}
	}
}

// Snapshot implements live.Store.
func (s *Store) Snapshot(ctx context.Context) (live.Snapshot, error) {
	var text string
	if err := s.DB.Gorm.WithContext(ctx).Raw("SELECT pg_current_snapshot()::text").Scan(&text).Error; err != nil {
		return live.Snapshot{}, fmt.Errorf("read snapshot: %w", err)
	}
	snapshot, err := parseSnapshot(text)
	if err != nil {
		return live.Snapshot{}, fmt.Errorf("read snapshot %q: %w", text, err)
	}
	return snapshot, nil
}

// parseSnapshot parses PostgreSQL's "xmin:xmax:xid,xid,…".
func parseSnapshot(text string) (live.Snapshot, error) {
	var ids []live.Watermark
	for field := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ':' || r == ',' }) {
		id, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return live.Snapshot{}, err
		}
		ids = append(ids, live.Watermark(id))
	}
	if len(ids) < 2 {
		return live.Snapshot{}, errors.New("it has no bounds")
	}
	return live.Snapshot{Min: ids[0], Max: ids[1], Open: ids[2:]}, nil
}
