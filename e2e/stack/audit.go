package stack

import (
	"context"
	"errors"
	"strings"
)

// audits are questions about the whole shop's data whose answer must be 0.
var audits = []struct{ what, query string }{
	{"orders without a final status", `SELECT count(*) FROM orders.orders WHERE status = 'NEW'`},
	{"orders whose status is not what payments decided", `SELECT count(*) FROM orders.orders o FULL JOIN payments.payments p ON p.order_id = o.id
		WHERE o.id IS NULL OR p.order_id IS NULL OR o.price <> p.amount OR o.user_id <> p.user_id
			OR o.status <> CASE p.status WHEN 'succeeded' THEN 'PAID' ELSE 'CANCELLED' END
			OR o.cancel_reason IS DISTINCT FROM p.reason`},
	{"payments without exactly one charge, or charges without a payment", `SELECT count(*) FROM
		(SELECT order_id, amount, user_id FROM payments.payments WHERE status = 'succeeded') p FULL JOIN
		(SELECT order_id, sum(amount) AS amount, min(user_id) AS user_id, count(*) AS n FROM payments.entries WHERE kind = 'charge' GROUP BY order_id) e USING (order_id)
		WHERE p.order_id IS NULL OR e.order_id IS NULL OR e.n <> 1 OR p.amount <> e.amount OR p.user_id <> e.user_id`},
	{"accounts whose balance is not the sum of their entries", `SELECT count(*) FROM payments.accounts a LEFT JOIN
		(SELECT user_id, sum(CASE WHEN credit = 'user' THEN amount ELSE -amount END) AS balance, max(seq) AS seq, count(*) AS n FROM payments.entries GROUP BY user_id) e USING (user_id)
		WHERE a.balance <> coalesce(e.balance, 0) OR a.seq <> coalesce(e.seq, 0) OR a.seq <> coalesce(e.n, 0)`},
	{"entries that break the chain of their statement", `SELECT count(*) FROM
		(SELECT balance_after, coalesce(lag(balance_after) OVER chain, 0) + CASE WHEN credit = 'user' THEN amount ELSE -amount END AS expected
		FROM payments.entries WINDOW chain AS (PARTITION BY user_id ORDER BY seq)) c WHERE balance_after <> expected`},
	{"events that were never published", `SELECT (SELECT count(*) FROM orders.outbox) + (SELECT count(*) FROM payments.outbox)`},
}

// Audit checks orders against payments against entries against balances, and that
// every one of accepted is there. It returns what it found wrong, one line each.
func (s *Stack) Audit(ctx context.Context, accepted []string) ([]string, error) {
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
	n, err := s.SQLInput(ctx, "CREATE TEMP TABLE accepted (id uuid);\nCOPY accepted FROM stdin;\n"+strings.Join(accepted, "\n")+
		"\n\\.\nSELECT count(*) FROM accepted a LEFT JOIN orders.orders o USING (id) WHERE o.id IS NULL;\n")
	if err != nil {
		return nil, err
	}
	if n != "0" {
		wrong = append(wrong, n+" accepted orders that are lost")
	}
	dead, err := s.deadLetters(ctx)
	if err != nil {
		return nil, err
	}
	return append(wrong, dead...), nil
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
