package stack

import (
	"context"
	"errors"
	"strings"
)

// audits are queries over all data of the shop that count violations.
var audits = []struct{ violation, query string }{
	{"orders without a final status", `SELECT count(*) FROM orders.orders WHERE status NOT IN ('PAID', 'CANCELLED')`},
	{"orders that do not match their payment", `SELECT count(*) FROM orders.orders o FULL JOIN payments.payments p ON p.order_id = o.id
		WHERE o.id IS NULL OR p.order_id IS NULL OR o.price <> p.amount OR o.user_id <> p.user_id
			OR o.status <> CASE p.status WHEN 'succeeded' THEN 'PAID' ELSE 'CANCELLED' END
			OR p.status IN ('voided', 'refunded') AND o.cancel_reason <> 'cancelled_by_user'
			OR p.status = 'failed' AND o.cancel_reason NOT IN (p.reason, 'cancelled_by_user')`},
	{"payments without exactly one charge, or charges without a payment", `SELECT count(*) FROM
		(SELECT order_id, amount, user_id FROM payments.payments WHERE status IN ('succeeded', 'refunded')) p FULL JOIN
		(SELECT order_id, sum(amount) AS amount, min(user_id) AS user_id, count(*) AS n FROM payments.entries WHERE kind = 'charge' GROUP BY order_id) e USING (order_id)
		WHERE p.order_id IS NULL OR e.order_id IS NULL OR e.n <> 1 OR p.amount <> e.amount OR p.user_id <> e.user_id`},
	{"refunded payments without exactly one refund, or refunds without a payment", `SELECT count(*) FROM
		(SELECT order_id, amount, user_id FROM payments.payments WHERE status = 'refunded') p FULL JOIN
		(SELECT order_id, sum(amount) AS amount, min(user_id) AS user_id, count(*) AS n FROM payments.entries WHERE kind = 'refund' GROUP BY order_id) e USING (order_id)
		WHERE p.order_id IS NULL OR e.order_id IS NULL OR e.n <> 1 OR p.amount <> e.amount OR p.user_id <> e.user_id`},
	{"accounts whose balance is not the sum of their entries", `SELECT count(*) FROM payments.accounts a LEFT JOIN
		(SELECT user_id, sum(CASE WHEN credit = 'user' THEN amount ELSE -amount END) AS balance, max(seq) AS seq, count(*) AS n FROM payments.entries GROUP BY user_id) e USING (user_id)
		WHERE a.balance <> coalesce(e.balance, 0) OR a.seq <> coalesce(e.seq, 0) OR a.seq <> coalesce(e.n, 0)`},
	{"entries whose balance_after does not follow from the previous entry", `SELECT count(*) FROM
		(SELECT balance_after, coalesce(lag(balance_after) OVER chain, 0) + CASE WHEN credit = 'user' THEN amount ELSE -amount END AS expected
		FROM payments.entries WINDOW chain AS (PARTITION BY user_id ORDER BY seq)) c WHERE balance_after <> expected`},
	{"unpublished events", `SELECT (SELECT count(*) FROM orders.outbox) + (SELECT count(*) FROM payments.outbox)`},
}

// Audit checks that orders, payments, entries and balances agree and that all messages were
// processed. It also checks that the orders are exactly those in accepted, each placed once,
// and that those in cancelled were cancelled by their users, with every charge refunded.
// It returns one line for each kind of violation.
func (s *Stack) Audit(ctx context.Context, accepted, cancelled []string) ([]string, error) {
	var violations []string
	for _, a := range audits {
		n, err := s.SQL(ctx, a.query)
		if err != nil {
			return nil, err
		}
		if n != "0" {
			violations = append(violations, n+" "+a.violation)
		}
	}
	n, err := s.SQLInput(ctx, idTable("accepted", accepted)+idTable("cancelled", cancelled)+`
		SELECT (SELECT count(*) FROM accepted a LEFT JOIN orders.orders o USING (id) WHERE o.id IS NULL),
			(SELECT count(*) FROM orders.orders o WHERE id NOT IN (SELECT id FROM accepted)) + (SELECT count(*) - count(DISTINCT id) FROM accepted),
			(SELECT count(*) FROM cancelled c JOIN orders.orders o USING (id) WHERE o.cancel_reason IS DISTINCT FROM 'cancelled_by_user');`)
	if err != nil {
		return nil, err
	}
	found := strings.Split(n, "|")
	for i, violation := range []string{"accepted orders that are missing", "orders that were placed more than once for one key", "orders that are not cancelled although the cancellation was accepted"} {
		if len(found) <= i || found[i] != "0" {
			violations = append(violations, n+" "+violation)
		}
	}
	left, err := s.leftMessages(ctx)
	if err != nil {
		return nil, err
	}
	return append(violations, left...), nil
}

// idTable returns a psql script that creates a temporary table with the given ids.
func idTable(table string, ids []string) string {
	rows := strings.Join(ids, "\n")
	if rows != "" {
		rows += "\n"
	}
	return "CREATE TEMP TABLE " + table + " (id uuid);\nCOPY " + table + " FROM stdin;\n" + rows + "\\.\n"
}

// leftMessages returns one line for each queue that is not empty, including the dead-letter
// queues.
func (s *Stack) leftMessages(ctx context.Context) ([]string, error) {
	broker, err := s.Containers(ctx, "rabbitmq")
	if err != nil {
		return nil, err
	}
	if len(broker) == 0 {
		return nil, errors.New("rabbitmq is not running")
	}
	out, err := docker(ctx, nil, "exec", broker[0].ID, "rabbitmqctl", "-q", "--no-table-headers", "list_queues", "name", "messages")
	if err != nil {
		return nil, err
	}
	var left []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && f[1] != "0" {
			left = append(left, f[1]+" messages left in "+f[0])
		}
	}
	return left, nil
}
