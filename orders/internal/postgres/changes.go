package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gozon/orders/internal/live"
	"gozon/shared/delivery/database"
)

// notify wraps a statement that changes orders, so that the commit notifies the listeners of
// [Channel] of each changed order. This costs no additional round trip. A notification is
// limited to 8,000 bytes, so each one covers at most 128 orders.
func notify(change database.Statement[orderRow]) database.Statement[orderRow] {
	change.SQL = `WITH changed AS (` + change.SQL + ` RETURNING t.user_id, t.id)
		SELECT pg_notify('` + Channel + `', string_agg(user_id || ' ' || id, ','))
		FROM (SELECT user_id, id, row_number() OVER () / 128 AS part FROM changed) AS numbered GROUP BY part`
	return change
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
