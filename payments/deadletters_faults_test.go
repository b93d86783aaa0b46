package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"gozon/payments/internal/messaging"
	"gozon/payments/internal/postgres"
	"gozon/payments/migrations"
	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/delivery/deadletters"
)

// client returns a client whose steps a test runs one by one.
func (f *fixture) client(t *testing.T) *deadletters.Client {
	t.Helper()
	_, db := f.database.Open(t, postgres.Schema, migrations.FS)
	return &deadletters.Client{
		Store: deadletters.NewStore(db, postgres.Schema), Broker: f.connect(t), Queues: []string{deadQueue}, Validate: messaging.Validate, Operator: "client",
	}
}

func (f *fixture) connect(t *testing.T) *broker.DeadLetters {
	t.Helper()
	conn, err := broker.ConnectDeadLetters(broker.Config{AMQPURL: f.broker.URL(broker.OperatorUser)}, "dead letters")
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn
}

// The command dies at each of its steps. The next call completes the work.
func TestDeadLettersCommandDiesAtEachStep(t *testing.T) {
	t.Parallel()
	errDies := errors.New("dies")
	f := start(t)
	f.topUp(t, 1, "1000")
	event, corrected := f.poison(t, 1)
	f.dead(t, 1)

	// Before the letter is stored, more often than the delivery limit of the queue.
	for range 25 {
		conn := f.connect(t)
		require.ErrorIs(t, conn.Collect(t.Context(), deadQueue, func(context.Context, []broker.DeadLetter) error { return errDies }), errDies)
		conn.Close()
		f.dead(t, 1)
	}
	// Before it is acked.
	c := f.client(t)
	require.ErrorIs(t, c.Broker.Collect(t.Context(), deadQueue, func(ctx context.Context, all []broker.DeadLetter) error {
		require.NoError(t, c.Store.Collect(ctx, all, "client"))
		return errDies
	}), errDies)
	c.Broker.Close()
	f.dead(t, 1)
	require.Len(t, f.list(t), 1)
	f.dead(t, 0)
	require.Equal(t, "collect by client", f.actions(t, event))

	// After the intent was recorded.
	f.command(t, corrected, "edit", event.String())
	c.Broker = f.connect(t)
	_, err := c.Store.StartRetry(t.Context(), event, "client")
	require.NoError(t, err)
	require.Equal(t, "retrying", f.list(t)[0].State)
	require.InDelta(t, 1, f.Metric(t, "dead_letters_open"), 0)
	f.refused(t, 1, "retry it again first", "", "discard", event.String(), "--reason", "x")
	f.refused(t, 1, "only an open letter can be edited", corrected, "edit", event.String())

	// After it was published.
	l, err := c.Store.StartRetry(t.Context(), event, "client")
	require.NoError(t, err)
	require.NoError(t, c.Broker.Retry(t.Context(), l.DeadLetter))
	f.handled(t, 1)
	require.Equal(t, []listed{{event.String(), "retrying", f.list(t)[0].Reason, 1}}, f.list(t))
	f.command(t, "", "retry", event.String())
	f.handled(t, 2)
	require.Empty(t, f.list(t))
	f.count(t, 1, succeededOf, 1)
	require.Equal(t, "999", f.balance(t, 1))
	f.verify(t)
}

// Both copies of a retry that was published twice fail. They are one dead letter.
func TestRetryThatWasPublishedTwiceFails(t *testing.T) {
	t.Parallel()
	f := start(t)
	event, _ := f.poison(t, 1)
	f.dead(t, 1)
	c := f.client(t)
	require.NoError(t, c.Collect(t.Context()))
	l, err := c.Store.StartRetry(t.Context(), event, "client")
	require.NoError(t, err)
	require.NoError(t, c.Broker.Retry(t.Context(), l.DeadLetter))
	require.NoError(t, c.Broker.Retry(t.Context(), l.DeadLetter))
	f.dead(t, 2)
	require.Equal(t, []listed{{event.String(), "open", f.list(t)[0].Reason, 1}}, f.list(t))
	require.NoError(t, c.Store.FinishRetry(t.Context(), l), "of the process that has published it")
	require.Equal(t, "open", f.list(t)[0].State)
	require.Equal(t, "collect by client, retry by client, collect by tester", f.actions(t, event))
}

// Several commands collect at the same time. One that retries all is interrupted.
func TestManyDeadLetters(t *testing.T) {
	t.Parallel()
	f := start(t)
	const n = 250
	var all []events.Event
	for range n {
		all = append(all, events.OrderCreated{OrderID: id(t).String(), UserID: 1})
	}
	f.broker.PublishBatch(t, id(t), all...)
	f.dead(t, n)
	var commands errgroup.Group
	for range 3 {
		c := f.client(t)
		commands.Go(func() error { return c.Collect(t.Context()) })
	}
	require.NoError(t, commands.Wait())
	require.Len(t, f.list(t, "--max", "1000"), n)
	f.count(t, n, "SELECT count(*) FROM payments.dead_letter_actions")

	ctx, cancel := context.WithCancel(t.Context())
	retried := 0
	require.ErrorContains(t, f.client(t).RetryAll(ctx, deadletters.Filter{Max: n}, time.Millisecond, func(deadletters.Letter, bool) {
		if retried++; retried == 2 {
			cancel()
		}
	}), "interrupted")
	require.Equal(t, 2, retried)
	f.dead(t, 2)
	require.Len(t, f.list(t, "--max", "1000"), n)
}
