package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/service/participant"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/databasetest"
	"gozon/shared/test/servicetest"
)

const deadQueue = broker.OrdersQueue + broker.DeadSuffix

// command runs dead-letters and requires that it succeeds.
func (f *fixture) command(t *testing.T, stdin string, args ...string) (stdout string) {
	t.Helper()
	exit, stdout, stderr := f.run(t, stdin, args...)
	require.Zero(t, exit, stderr)
	return stdout
}

// refused runs dead-letters and requires that it fails with an exit code and a message.
func (f *fixture) refused(t *testing.T, want int, message, stdin string, args ...string) {
	t.Helper()
	exit, stdout, stderr := f.run(t, stdin, args...)
	require.Equal(t, want, exit, stderr)
	require.Contains(t, stderr, message)
	require.Empty(t, stdout)
}

func (f *fixture) run(t *testing.T, stdin string, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	return servicetest.Command(t, program(&participant.Config{}), f.database.URL("payments"), f.broker.URL(broker.OperatorUser), stdin, append([]string{"dead-letters"}, args...)...)
}

type listed struct {
	ID, State, Reason string
	Retries           int
}

func (f *fixture) list(t *testing.T, args ...string) (all []listed) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(f.command(t, "", append(args, "list", "--json")...)), &all))
	return all
}

// dead waits until there are n messages in the dead-letter queue.
func (f *fixture) dead(t *testing.T, n int) {
	t.Helper()
	servicetest.Eventually(t, func() bool { return f.broker.Depth(t, deadQueue) == n }, "want %d dead letters", n)
}

// handled waits until the consumer has handled n events, without an error.
func (f *fixture) handled(t *testing.T, n float64) {
	t.Helper()
	servicetest.Eventually(t, func() bool { return f.Metric(t, `consumer_messages_total{outcome="done"}`) == n })
}

// poison publishes an order without an amount. It returns the id of the event and the data
// that it should have had.
func (f *fixture) poison(t *testing.T, user int64) (event uuid.UUID, corrected string) {
	t.Helper()
	o := events.OrderCreated{OrderID: id(t).String(), UserID: user}
	event = id(t)
	f.broker.PublishEvent(t, event, o)
	return event, fmt.Sprintf(`{"order_id": %q, "user_id": %d, "amount_minor": 100, "note": "corrected"}`, o.OrderID, user)
}

// actions returns what was done with a dead letter, and by whom.
func (f *fixture) actions(t *testing.T, letter uuid.UUID) (actions string) {
	t.Helper()
	require.NoError(t, f.pool.QueryRowContext(t.Context(), `SELECT string_agg(action || ' by ' || operator, ', ' ORDER BY id)
		FROM payments.dead_letter_actions WHERE letter_id = $1 AND at > now() - interval '1 hour'`, letter).Scan(&actions))
	return actions
}

func TestLifeOfADeadLetter(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	event, corrected := f.poison(t, 1)
	f.dead(t, 1)
	table := f.command(t, "", "list")
	for _, column := range []string{"ID", event.String(), "open", deadQueue, "order.created.v1", "amount 0"} {
		require.Contains(t, table, column)
	}
	require.Zero(t, f.broker.Depth(t, deadQueue))
	require.InDelta(t, 1, f.Metric(t, "dead_letters_open"), 0)

	shown := f.command(t, "", "show", event.String())
	for _, part := range []string{"poison message", "no: malformed event", broker.HeaderFailedAt, "collect by tester", "\n  \"data\": {\n    \"order_id\""} {
		require.Contains(t, shown, part)
	}

	require.Contains(t, f.command(t, "", "retry", event.String()), "retried "+event.String())
	f.dead(t, 1) // again
	require.Equal(t, []listed{{event.String(), "open", f.list(t)[0].Reason, 1}}, f.list(t))

	f.refused(t, 1, "order_id: invalid UUID", `{"user_id":1}`, "edit", event.String())
	f.refused(t, 1, "invalid", `{"user_id":`, "edit", event.String())
	require.Contains(t, f.command(t, corrected, "edit", event.String(), "--by", "somebody else"), "edited")
	require.Contains(t, f.command(t, "", "show", event.String()), `"note": "corrected"`)
	f.command(t, "", "retry", event.String())
	f.count(t, 1, succeededOf, 1)
	f.handled(t, 1)
	f.command(t, "", "retry", event.String()) // has no effect
	f.handled(t, 2)
	require.Equal(t, "999", f.balance(t, 1))
	f.verify(t)

	require.Empty(t, f.list(t))
	require.Equal(t, "retried", f.list(t, "--all")[0].State)
	require.Contains(t, f.command(t, "", "show", event.String()), "another retry has no effect")
	require.Equal(t, "collect by tester, retry by tester, collect by tester, edit by somebody else, retry by tester, retry by tester", f.actions(t, event))
	_, err := f.database.As(t, "payments").ExecContext(t.Context(), "DELETE FROM payments.dead_letter_actions")
	require.ErrorContains(t, err, "permission denied")
	require.Zero(t, f.Metric(t, "dead_letters_open"))
	f.dead(t, 0)
}

// A part of a batch that cannot be decoded has no id. Its correction takes effect once too.
func TestDeadLettersOfABatch(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.topUp(t, 1, "1000")
	good, bad := events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 100}, events.OrderCreated{OrderID: id(t).String(), UserID: 1}
	ids := f.broker.PublishBatch(t, id(t), good, bad)
	f.broker.Publish(t, events.TypeOrderCreated, []byte(`[{"garbage": 1}, {"garbage": 2}, nonsense]`))
	f.dead(t, 4)
	f.count(t, 1, succeededOf, 1)
	all := f.list(t)
	require.Len(t, all, 4)
	require.Contains(t, f.command(t, "", "list"), ids[1])
	f.command(t, fmt.Sprintf(`{"order_id": %q, "user_id": 1, "amount_minor": 100}`, bad.OrderID), "edit", "--retry", ids[1])
	f.count(t, 2, succeededOf, 1)

	var garbage, nonsense string
	for _, l := range all {
		switch shown := f.command(t, "", "show", l.ID); {
		case strings.Contains(shown, `"garbage": 1`):
			garbage = l.ID
		case strings.Contains(shown, `"nonsense"`):
			nonsense = l.ID
		}
	}
	f.refused(t, 1, "replaced as a whole", `{}`, "edit", nonsense)
	for _, letter := range []string{garbage, nonsense} {
		data, err := json.Marshal(events.OrderCreated{OrderID: id(t).String(), UserID: 1, Amount: 100})
		require.NoError(t, err)
		event := fmt.Sprintf(`{"specversion": "1.0", "id": %q, "type": "order.created.v1", "data": %s}`, uuid.New(), data)
		f.refused(t, 1, "the event is invalid", event, "edit", letter)
		f.command(t, event, "edit", "--event", "--retry", letter)
		require.Contains(t, f.command(t, "", "show", letter), `"id": "`+letter+`"`)
		f.command(t, "", "retry", letter)
		f.refused(t, 1, "only an open letter can be edited", event, "edit", "--event", letter)
	}
	f.count(t, 4, succeededOf, 1)
	f.handled(t, 6) // two of them twice
	require.Equal(t, "996", f.balance(t, 1))
	f.verify(t)
}

func TestDiscardedDeadLetter(t *testing.T) {
	t.Parallel()
	f := start(t)
	event, _ := f.poison(t, 1)
	f.dead(t, 1)
	f.refused(t, 2, "needs a --reason", "", "discard", event.String())
	require.Contains(t, f.command(t, "", "discard", event.String(), "--reason", "a test order"), "discarded")
	require.Empty(t, f.list(t))
	require.Contains(t, f.command(t, "", "show", event.String()), "discard by tester a test order")
	f.refused(t, 1, "it is discarded", "", "discard", event.String(), "--reason", "again")
	f.command(t, "", "retry", event.String()) // after all
	f.dead(t, 1)
	require.Equal(t, "open", f.list(t)[0].State)
	require.Equal(t, "collect by tester, discard by tester, retry by tester, collect by tester", f.actions(t, event))
}

func TestRetryAll(t *testing.T) {
	t.Parallel()
	f := start(t, "DEAD_LETTER_AFTER", "100ms")
	f.topUp(t, 1, "1000")
	f.database.Do(t, "UPDATE payments.accounts SET seq = seq - 1 WHERE user_id = 1")
	const n = 6
	for range n {
		f.order(t, 1, 100)
	}
	other, _ := f.poison(t, 1)
	f.dead(t, n+1)
	f.database.Do(t, "UPDATE payments.accounts SET seq = seq + 1 WHERE user_id = 1")
	require.Len(t, f.list(t), n+1)
	require.Contains(t, f.command(t, "", "list", "--max", "2"), "There are more")
	require.Equal(t, []listed{{other.String(), "open", f.list(t, "--reason", "amount 0")[0].Reason, 0}}, f.list(t, "--reason", "amount 0"))
	require.Empty(t, f.list(t, "--queue", "another"))

	started := time.Now()
	require.Equal(t, 4, strings.Count(f.command(t, "", "retry-all", "--max", "4", "--rate", "20", "--reason", "23505"), "retried"))
	require.GreaterOrEqual(t, time.Since(started), 3*time.Second/20, "at most 20 per second")
	f.count(t, 4, succeededOf, 1)
	f.command(t, "", "retry-all", "--rate", "1000") // all others, and the poison comes back
	f.count(t, n, succeededOf, 1)
	f.dead(t, 1)
	require.Equal(t, []listed{{other.String(), "open", f.list(t)[0].Reason, 1}}, f.list(t))
	f.verify(t)
}

func TestDeadLettersCommandReportsErrors(t *testing.T) {
	t.Parallel()
	f := &fixture{database: databasetest.New(t), broker: brokertest.New(t)}
	f.refused(t, 1, "table payments.dead_letters is missing; the command migrate creates it", "", "list")
	f.pool, _ = f.database.Open(t, postgres.Schema, migrations.FS)
	require.Equal(t, "no dead letters\n", f.command(t, "", "list"))
	require.Equal(t, "[]\n", f.command(t, "", "list", "--json"))
	for _, action := range []string{"show", "retry", "edit", "discard"} {
		f.refused(t, 1, "no such dead letter", "{}", action, id(t).String(), "--reason", "x")
		f.refused(t, 2, "takes the id of a dead letter", "", action, "--reason", "x")
		f.refused(t, 2, "invalid UUID", "", action, "1", "--reason", "x")
	}
	f.refused(t, 2, "Usage:", "")
	f.refused(t, 2, `unknown command "dance"`, "", "dance")
	f.refused(t, 2, "takes no arguments", "", "list", "1")
	f.refused(t, 2, "must be positive", "", "retry-all", "--rate", "0")
	f.refused(t, 2, "not defined: -nonsense", "", "list", "--nonsense")
	f.refused(t, 2, "Set --by", "", "retry", id(t).String(), "--by", "")
	exit, _, stderr := f.run(t, "", "--help")
	require.Zero(t, exit)
	require.Contains(t, stderr, "retry-all")

	exit, _, stderr = servicetest.Command(t, program(&participant.Config{}), f.database.URL("payments"), "amqp://127.0.0.1:1/", "", "dead-letters", "list")
	require.Equal(t, 1, exit)
	require.Contains(t, stderr, "connect")
}
