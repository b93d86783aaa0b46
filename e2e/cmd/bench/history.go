package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"gozon/e2e/load"
)

const (
	readers     = 100 // users whose orders and statements are read
	readerPage  = 20  // rows of a page; every reader has at least as many, with history and without
	readsEach   = 20  // reads of each page by each reader in a round
	historyDays = 6   // before now; the services delete inbox rows after 7
)

// historyScript inserts old rows as the shop would have left them. The ids are UUIDv7 of the
// past days and grow with time. Placeholder: the number of orders.
const historyScript = `
SET synchronous_commit = off;
SET maintenance_work_mem = '256MB';
CREATE FUNCTION pg_temp.id(ms bigint, i bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
	$$ SELECT (lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(i % 4096), 3, '0') || '8' || substr(md5(i::text), 1, 15))::uuid $$;
CREATE UNLOGGED TABLE old AS
	SELECT i, 1 + i % USERS AS user_id, i / USERS AS nth, pg_temp.id(ms, i) AS id, pg_temp.id(ms + 1, i + ROWS) AS message, to_timestamp(ms / 1000.0) AS at
	FROM (SELECT i, (extract(epoch FROM now())::bigint * 1000 - DAYS * 86400000::bigint) + i * (DAYS * 86400000::bigint - 3600000) / ROWS AS ms
		FROM generate_series(0, ROWS - 1) i) t;
INSERT INTO orders.orders (id, user_id, item, price, status, version, created_at, updated_at, published_at, charged_at, confirmed_at, changed_in)
	SELECT id, user_id, 'Book', 100, 'PAID', 2, at, at, at, at, at, 1 FROM old;
INSERT INTO payments.payments (order_id, user_id, amount, status, created_at, updated_at, published_at)
	SELECT id, user_id, 100, 'succeeded', at, at, at FROM old;
INSERT INTO payments.entries (user_id, seq, kind, debit, credit, amount, balance_after, order_id, created_at)
	SELECT o.user_id, a.seq + 1 + nth, 'charge', 'user', 'shop', 100, a.balance - 100 * (1 + nth), o.id, at
	FROM old o JOIN payments.accounts a USING (user_id);
UPDATE payments.accounts a SET balance = balance - 100 * n, seq = seq + n
	FROM (SELECT user_id, count(*) AS n FROM old GROUP BY user_id) o WHERE o.user_id = a.user_id;
INSERT INTO orders.inbox (message_id, received_at) SELECT message, at FROM old;
INSERT INTO payments.inbox (message_id, received_at) SELECT message, at FROM old;
DROP TABLE old;
VACUUM (ANALYZE) orders.orders, payments.payments, payments.entries, payments.accounts, orders.inbox, payments.inbox;
CHECKPOINT;
`

// measureHistory compares a shop that has settled millions of orders with an empty one.
func measureHistory(ctx context.Context, b *bench) ([]Figure, error) {
	if b.shop != nil { // it would compete with the two shops of this figure
		b.closeShop(ctx, b.shop)
		b.shop = nil
	}
	var shops []*shop
	defer func() {
		for _, s := range shops {
			b.closeShop(ctx, s)
		}
	}()
	for _, suffix := range []string{"-empty", "-history"} {
		s, err := openShop(ctx, b.engine, b.log, b.project+suffix)
		if err != nil {
			return nil, err
		}
		shops = append(shops, s)
	}
	old := shops[1]
	b.note("inserting %s old orders", thousands(int64(b.history)))
	start := time.Now()
	script := strings.NewReplacer("USERS", strconv.Itoa(users), "ROWS", strconv.Itoa(b.history), "DAYS", strconv.Itoa(historyDays)).Replace(historyScript)
	if _, err := old.SQLInput(ctx, script); err != nil {
		return nil, fmt.Errorf("insert history: %w", err)
	}
	b.note("inserted in %.0f s", time.Since(start).Seconds())
	for _, s := range shops {
		if _, err := s.settleOfReaders(ctx); err != nil {
			return nil, err
		}
		if _, err := s.settle(ctx, users, max(1, b.orders/4)); err != nil { // warm-up
			return nil, err
		}
	}
	var measurements [2]struct{ rates, lists, statements []float64 }
	for round := range b.rounds {
		for i, s := range shops {
			m := &measurements[i]
			r, err := s.settle(ctx, users, b.orders)
			if err != nil {
				return nil, err
			}
			list, err := s.readLatency(ctx, "/orders/?user_id=%d&limit=%d")
			if err != nil {
				return nil, err
			}
			statement, err := s.readLatency(ctx, "/accounts/%d/entries?limit=%d")
			if err != nil {
				return nil, err
			}
			m.rates, m.lists, m.statements = append(m.rates, r.rate()), append(m.lists, list), append(m.statements, statement)
			b.note("round %d: %s: %s orders/s, list %s ms, statement %s ms", round+1, s.Project, number(r.rate()), number(list), number(statement))
		}
	}
	without, with := measurements[0], measurements[1]
	rows := thousands(int64(b.history)) + " old orders"
	latency := func(name, what string, with, without []float64) Figure {
		return compared(name, ratios(without, with), atLeast(0.9),
			fmt.Sprintf("%s in %s ms with %s, in %s ms without", what, number(median(with)), rows, number(median(without))))
	}
	return []Figure{
		compared("history_throughput", ratios(with.rates, without.rates), atLeast(0.9),
			fmt.Sprintf("%s orders/s with %s, %s orders/s without", number(median(with.rates)), rows, number(median(without.rates)))),
		latency("history_list", "a user's orders", with.lists, without.lists),
		latency("history_statement", "a statement", with.statements, without.statements),
	}, nil
}

// settleOfReaders gives each reader at least a page of orders.
func (s *shop) settleOfReaders(ctx context.Context) (result, error) {
	const n = readers * readerPage
	return s.settlePlaced(ctx, n, func(placed *load.Orders) error {
		return s.client.PlaceInTurn(ctx, connections, readers, n, placed)
	})
}

// readLatency reads a page of each reader, one after another, several times. The format is of
// a path with the user and the number of rows. It returns the median in milliseconds.
func (s *shop) readLatency(ctx context.Context, format string) (float64, error) {
	took, err := s.client.Latencies(ctx, readers*readsEach, func(i int) string {
		return fmt.Sprintf(format, 1+i%readers, readerPage)
	})
	return 1e3 * median(took), err
}
