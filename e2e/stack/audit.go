package stack

import (
	"context"
	"errors"
	"strings"
)

// audits are questions about the whole shop's data whose answer must be 0.
var audits = []struct{ what, query string }{
	{"orders without a final status", `SELECT count(*) FROM orders.orders WHERE status NOT IN ('PAID', 'CANCELLED')`},
	{"orders whose status is not what payments decided", `SELECT count(*) FROM orders.orders o FULL JOIN payments.payments p ON p.order_id = o.id
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
	{"entries that break the chain of their statement", `SELECT count(*) FROM
		(SELECT balance_after, coalesce(lag(balance_after) OVER chain, 0) + CASE WHEN credit = 'user' THEN amount ELSE -amount END AS expected
		FROM payments.entries WINDOW chain AS (PARTITION BY user_id ORDER BY seq)) c WHERE balance_after <> expected`},
	{"events that were never published", `SELECT (SELECT count(*) FROM orders.outbox) + (SELECT count(*) FROM payments.outbox)`},
}

// Audit checks orders against payments against entries against balances, that the orders
// are those of accepted, each once and no other, and that those of cancelled were
// cancelled by their users and nobody paid for them. It returns what it found wrong, one
// line each.
func (s *Stack) Audit(ctx context.Context, accepted, cancelled []string) ([]string, error) {
	var wrong []string
	for _, a := range audits {
		n, err := s.SQL(ctx, a.query)
		if err != nil {
			return nil, err
		}
		if n != "0" {
			wrong = append(wrong, n+" "+a.what)
		}
	}
	n, err := s.SQLInput(ctx, copied("accepted", accepted)+copied("cancelled", cancelled)+`
		SELECT (SELECT count(*) FROM accepted a LEFT JOIN orders.orders o USING (id) WHERE o.id IS NULL),
			(SELECT count(*) FROM orders.orders o WHERE id NOT IN (SELECT id FROM accepted)) + (SELECT count(*) - count(DISTINCT id) FROM accepted),
			(SELECT count(*) FROM cancelled c JOIN orders.orders o USING (id) WHERE o.cancel_reason IS DISTINCT FROM 'cancelled_by_user');`)
	if err != nil {
		return nil, err
	}
	found := strings.Split(n, "|")
	for i, what := range []string{"accepted orders that are lost", "orders that were placed twice for one key", "cancelled orders that are not cancelled"} {
		if len(found) <= i || found[i] != "0" {
			wrong = append(wrong, n+" "+what)
		}
	}
	dead, err := s.deadLetters(ctx)
	if err != nil {
		return nil, err
	}
	return append(wrong, dead...), nil
}

// copied is a script that makes a table of ids.
func copied(table string, ids []string) string {
	rows := strings.Join(ids, "\n")
	if rows != "" {
		rows += "\n"
	}
	return "CREATE TEMP TABLE " + table + " (id uuid);\nCOPY " + table + " FROM stdin;\n" + rows + "\\.\n"
}

func (s *Stack) deadLetters(ctx context.Context) ([]string, error) {
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
	var wrong []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 2 && f[1] != "0" {
			wrong = append(wrong, f[1]+" messages left in "+f[0])
		}
	}
	return wrong, nil
}
