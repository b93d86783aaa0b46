//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"gozon/e2e/stack"
	"gozon/shared/test/servicetest"
)

// recovery is a shop that loses messages or data. Its orders are soon overdue.
type recovery struct {
	*stack.Stack
	user int64 // of the orders; every scenario has a new one
}

func startRecovery(t *testing.T) *recovery {
	t.Helper()
	var log bytes.Buffer
	own, err := stack.Up(t.Context(), stack.Options{Project: "gozon-e2e-recovery", Env: []string{"OVERDUE_AFTER=3s"}, Log: &log})
	require.NoError(t, err, &log)
	t.Cleanup(func() { _ = own.Down(context.Background()) })
	return &recovery{Stack: own}
}

func (r *recovery) compose(t *testing.T, args ...string) {
	t.Helper()
	require.NoError(t, r.Compose(t.Context(), args...))
}

// start starts what is stopped or removed.
func (r *recovery) start(t *testing.T) {
	t.Helper()
	r.compose(t, "up", "-d", "--no-build")
	require.NoError(t, r.Wait(t.Context()))
}

// exec runs a command in the container of a service.
func (r *recovery) exec(t *testing.T, service string, command ...string) {
	t.Helper()
	r.docker(t, append([]string{"exec", container(t, r.Stack, service)}, command...)...)
}

func (r *recovery) docker(t *testing.T, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", args...).CombinedOutput()
	require.NoError(t, err, string(out))
}

// until waits until a query returns true.
func (r *recovery) until(t *testing.T, query string) {
	t.Helper()
	var got string
	servicetest.Eventually(t, func() bool {
		var err error
		got, err = r.SQL(t.Context(), "SELECT "+query)
		return err == nil && got == "t"
	}, "not true: %s", query)
}

// published waits until the messages of a service were confirmed.
func (r *recovery) published(t *testing.T, schema string) {
	t.Helper()
	r.until(t, "NOT EXISTS (SELECT FROM "+schema+".outbox)")
}

// place places orders, which payments does not handle as long as it is stopped.
func (r *recovery) place(t *testing.T, n int) (ids []string) {
	t.Helper()
	for range n {
		ids = append(ids, place(t, r.API, r.user, "1").ID)
	}
	r.published(t, "orders")
	return ids
}

func (r *recovery) cancel(t *testing.T, id string) {
	t.Helper()
	require.Equal(t, http.StatusAccepted, post(t, r.API+"/orders/"+id+"/cancel", "").status)
	r.published(t, "orders")
}

func (r *recovery) statusOf(t *testing.T, ids ...string) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, id := range ids {
		a, o := get(t, r.API+"/orders/"+id), order{Status: "none"}
		if a.status != http.StatusNotFound {
			a.decode(t, &o)
		}
		all[o.Status]++
	}
	return all
}

// wrongMoney counts the orders and payments whose money does not match the status of the
// order. A payment without an order must have been undone.
const wrongMoney = `(SELECT count(*) FROM orders.orders o FULL JOIN
	(SELECT order_id AS id, count(*) FILTER (WHERE kind = 'charge') AS charges, count(*) FILTER (WHERE kind = 'refund') AS refunds,
		sum(CASE kind WHEN 'charge' THEN amount ELSE -amount END) AS net
	FROM payments.entries WHERE order_id IS NOT NULL GROUP BY order_id) e USING (id)
	WHERE CASE o.status WHEN 'PAID' THEN (charges, refunds, net) IS DISTINCT FROM (1::bigint, 0::bigint, o.price::numeric) ELSE coalesce(net, 0) <> 0 END
		OR charges > 1 OR refunds > 1)`

// audit waits until every order has a final status and every message was handled, and checks
// that the money is exact.
func (r *recovery) audit(t *testing.T) {
	t.Helper()
	r.until(t, `NOT EXISTS (SELECT FROM orders.orders WHERE status IN ('NEW', 'CANCELLING'))
		AND NOT EXISTS (SELECT FROM orders.outbox) AND NOT EXISTS (SELECT FROM payments.outbox)`)
	servicetest.Eventually(t, func() bool {
		out, err := exec.CommandContext(t.Context(), "docker", "exec", container(t, r.Stack, "rabbitmq"),
			"rabbitmqctl", "-q", "--no-table-headers", "list_queues", "messages").Output()
		require.NoError(t, err)
		return len(bytes.Fields(bytes.ReplaceAll(out, []byte("0\n"), nil))) == 0
	}, "messages are left in a queue")
	r.until(t, wrongMoney+" = 0")
	r.until(t, `(SELECT sum(balance) FROM payments.accounts) = (SELECT sum(CASE credit WHEN 'user' THEN amount ELSE -amount END) FROM payments.entries)`)
	r.until(t, `(SELECT sum(amount) FROM payments.entries WHERE kind = 'top_up') = (SELECT sum(balance) FROM payments.accounts)
		+ (SELECT coalesce(sum(price), 0) FROM orders.orders WHERE status = 'PAID')`)
}

// The shop loses messages that the broker has confirmed, or data that it has answered for.
// Every order gets its final status without intervention, and the money is exact.
func TestShopRecoversFromLostMessagesAndData(t *testing.T) { //nolint:paralleltest // the scenarios use one shop
	r := startRecovery(t)
	for _, scenario := range []struct {
		name string
		run  func(*testing.T, *recovery)
	}{
		{"payments_queue is purged", repliesPurged},
		{"the broker loses its disk", diskLost},
		{"the broker is restored, the database is not", brokerRestored},
		{"the database is restored, orders_queue is not", restoredBeforeRequests},
		{"the database is restored, payments_queue is not", restoredBeforeReplies},
	} {
		r.user = newUser()
		require.Equal(t, http.StatusCreated, post(t, r.API+"/accounts/", fmt.Sprintf(`{"user_id":%d,"balance":1000}`, r.user)).status)
		if !t.Run(scenario.name, func(t *testing.T) { scenario.run(t, r) }) {
			break
		}
	}
}

// losing places and cancels orders while payments is stopped, and calls lose before it handles
// their requests.
func losing(t *testing.T, r *recovery, lose func()) {
	t.Helper()
	paid := r.place(t, 2)
	for _, id := range paid {
		require.Equal(t, "PAID", settled(t, r.API, id).Status)
	}
	r.compose(t, "stop", "payments")
	waiting, voided := r.place(t, 10), r.place(t, 3)
	for _, id := range append(voided, paid[0]) {
		r.cancel(t, id)
	}
	lose()
	r.start(t)
	r.audit(t)
	require.Equal(t, map[string]int{"PAID": 11}, r.statusOf(t, append(waiting, paid[1])...))
	require.Equal(t, map[string]int{"CANCELLED": 4}, r.statusOf(t, append(voided, paid[0])...))
}

// repliesPurged loses decisions that payments has made.
func repliesPurged(t *testing.T, r *recovery) {
	t.Helper()
	losing(t, r, func() {
		r.decide(t)
		r.exec(t, "rabbitmq", "rabbitmqctl", "purge_queue", "payments_queue")
	})
}

// decide lets payments handle all requests while orders is stopped, and stops it.
func (r *recovery) decide(t *testing.T) {
	t.Helper()
	r.compose(t, "stop", "orders")
	r.compose(t, "start", "payments")
	r.until(t, fmt.Sprintf("(SELECT count(*) FROM payments.payments p WHERE user_id = %d) = (SELECT count(*) FROM orders.orders WHERE user_id = %[1]d)", r.user))
	r.until(t, fmt.Sprintf(`NOT EXISTS (SELECT FROM orders.orders o JOIN payments.payments p ON p.order_id = o.id
		WHERE o.user_id = %d AND o.status = 'CANCELLING' AND p.status NOT IN ('voided', 'refunded'))`, r.user))
	r.published(t, "payments")
	r.compose(t, "stop", "payments")
}

// diskLost deletes the volume of the broker, with the queues and the requests in them.
func diskLost(t *testing.T, r *recovery) {
	t.Helper()
	losing(t, r, func() {
		r.compose(t, "rm", "--stop", "--force", "rabbitmq")
		r.docker(t, "volume", "rm", r.Project+"_rabbitmq-data")
	})
}

// brokerRestored restores the volume of the broker: messages that were handled return, and
// newer ones are lost.
func brokerRestored(t *testing.T, r *recovery) {
	t.Helper()
	volume, backup := r.Project+"_rabbitmq-data", r.Project+"_backup"
	copyVolume := func(from, to string) {
		r.compose(t, "stop", "rabbitmq")
		image := inspectImage(t, container(t, r.Stack, "postgres"))
		r.docker(t, "run", "--rm", "--user", "0", "--entrypoint", "sh", "-v", from+":/from", "-v", to+":/to", image,
			"-c", "find /to -mindepth 1 -delete && cp -a /from/. /to/")
		r.compose(t, "start", "rabbitmq")
	}
	t.Cleanup(func() { _ = exec.CommandContext(context.Background(), "docker", "volume", "rm", backup).Run() })
	r.compose(t, "stop", "payments")
	before := r.place(t, 10)
	copyVolume(volume, backup)
	r.start(t)
	r.audit(t)
	r.compose(t, "stop", "payments")
	after := r.place(t, 10)
	copyVolume(backup, volume)
	r.start(t)
	r.audit(t)
	require.Equal(t, map[string]int{"PAID": 20}, r.statusOf(t, append(before, after...)...))
}

func inspectImage(t *testing.T, id string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "docker", "inspect", "-f", "{{.Image}}", id).Output()
	require.NoError(t, err)
	return string(bytes.TrimSpace(out))
}

// restoring dumps the database while orders wait, changes the shop, and restores the dump. It
// returns the orders from before the dump, one of which was paid before, and those from after.
func restoring(t *testing.T, r *recovery, change func()) (paid string, kept, lost []string) {
	t.Helper()
	paid = r.place(t, 1)[0]
	require.Equal(t, "PAID", settled(t, r.API, paid).Status)
	r.compose(t, "stop", "payments")
	kept = r.place(t, 10)
	r.exec(t, "postgres", "pg_dump", "-U", "gozon", "-Fc", "-f", "/tmp/dump", "gozon")
	lost = r.place(t, 10)
	r.cancel(t, paid)
	change()
	r.compose(t, "stop", "orders", "payments")
	r.exec(t, "postgres", "pg_restore", "-U", "gozon", "-d", "gozon", "--clean", "--if-exists", "--single-transaction", "/tmp/dump")
	r.until(t, "now() - swept_at > interval '31 s' FROM orders.watchdog") // nobody restores a younger dump
	r.start(t)
	r.audit(t)
	require.Equal(t, map[string]int{"PAID": 10}, r.statusOf(t, kept...))
	require.Equal(t, map[string]int{"none": 10}, r.statusOf(t, lost...))
	return paid, kept, lost
}

// restoredBeforeRequests restores the database to a time before requests that are still in
// orders_queue. Payments charges orders that do not exist, and undoes that. The cancellation
// of an order that is paid again takes effect.
func restoredBeforeRequests(t *testing.T, r *recovery) {
	t.Helper()
	paid, _, lost := restoring(t, r, func() {})
	require.Equal(t, map[string]int{"CANCELLED": 1}, r.statusOf(t, paid))
	r.until(t, fmt.Sprintf("(SELECT count(*) FROM payments.payments WHERE user_id = %d AND status = 'refunded') = %d", r.user, len(lost)+1))
}

// restoredBeforeReplies restores the database to a time before decisions that are still in
// payments_queue. The charges are undone by the restore, so the decisions are not believed.
func restoredBeforeReplies(t *testing.T, r *recovery) {
	t.Helper()
	paid, _, _ := restoring(t, r, func() { r.decide(t) })
	require.Equal(t, map[string]int{"PAID": 1}, r.statusOf(t, paid))
}
