package broker_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
	"gozon/shared/test/brokertest"
	"gozon/shared/test/servicetest"
)

// publisher is a running publisher with its log.
type publisher struct {
	*broker.Publisher

	mu  sync.Mutex
	log bytes.Buffer
}

// startPublisher runs a publisher that may publish the events of both services.
func startPublisher(t *testing.T, b *brokertest.Broker) *publisher {
	t.Helper()
	return startPublisherWith(t, broker.Config{AMQPURL: b.URL("admin")})
}

func startPublisherWith(t *testing.T, c broker.Config) *publisher {
	t.Helper()
	p := &publisher{}
	p.Publisher = broker.NewPublisher(c, "publisher", slog.New(slog.NewTextHandler(p, nil)))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		if t.Failed() {
			t.Log(p.logged())
		}
	})
	p.ready(t)
	return p
}

func (p *publisher) ready(t *testing.T) {
	t.Helper()
	servicetest.Eventually(t, func() bool { return p.Ready(t.Context()) == nil }, "the publisher is not ready")
}

func (p *publisher) Write(line []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(line)
}

func (p *publisher) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// publish publishes with a timeout.
func (p *publisher) publish(t *testing.T, timeout time.Duration, messages ...events.Message) []error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return p.Publish(ctx, messages)
}

func outgoing(id, eventType string) events.Message {
	return events.Message{ID: id, Source: "/test", Type: eventType, Time: time.Now(), ContentType: events.ContentType, Body: []byte("{}")}
}

// The broker acks a returned message. It must still not count as confirmed.
func TestReturnedMessageIsNotConfirmed(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	p := startPublisher(t, b)
	require.Equal(t, []error{nil}, p.publish(t, servicetest.Patience, outgoing("0", "order.created.v1")))
	ch := b.Channel(t)
	for _, queue := range []string{broker.OrdersQueue, broker.Unrouted} {
		_, err := ch.QueueDelete(queue, false, false, false)
		require.NoError(t, err)
	}
	var batch []events.Message
	for range 150 {
		batch = append(batch, outgoing("order", "order.created.v1"), outgoing("payment", "payment.failed.v1"))
	}
	for i, err := range p.publish(t, servicetest.Patience, batch...) {
		if i%2 == 0 {
			require.ErrorIs(t, err, broker.ErrReturned)
		} else {
			require.NoError(t, err, "a routable message is not confirmed")
		}
	}
	b.Import(t)
	servicetest.Eventually(t, func() bool { return p.publish(t, servicetest.Patience, outgoing("1", "order.created.v1"))[0] == nil }, "the session does not recover")
	require.Equal(t, "1", b.Get(t, broker.OrdersQueue).MessageId)
}

// Messages for a slow queue are not confirmed by the deadline. The others in the batch are
// confirmed, whatever their position, and the session continues.
func TestSlowQueueDoesNotSpoilTheBatchNorTheSession(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	p := startPublisher(t, b)
	require.Equal(t, []error{nil}, p.publish(t, servicetest.Patience, outgoing("first", "payment.failed.v1"))) // so that the channel has used the queue
	resume := b.Suspend(t, broker.PaymentsQueue)
	batch := []events.Message{outgoing("slow", "payment.failed.v1")}
	for range 50 {
		batch = append(batch, outgoing("order", "order.created.v1"))
	}
	errs := p.publish(t, 10*time.Second, batch...)
	require.ErrorIs(t, errs[0], context.DeadlineExceeded)
	require.Equal(t, make([]error, len(batch)-1), errs[1:])
	resume()
	require.Equal(t, []error{nil}, p.publish(t, servicetest.Patience, outgoing("slow", "payment.failed.v1")))
	require.Empty(t, p.logged(), "the session ended")
}

func TestSessionWithoutAnyConfirmIsReplaced(t *testing.T) {
	t.Parallel()
	b := brokertest.New(t)
	p := startPublisher(t, b)
	resume := b.Suspend(t, broker.PaymentsQueue)
	errs := p.publish(t, time.Second, outgoing("slow", "payment.failed.v1"))
	require.ErrorIs(t, errs[0], context.DeadlineExceeded)
	servicetest.Eventually(t, func() bool { return strings.Contains(p.logged(), "reconnecting") }, "the session does not end")
	resume()
	p.ready(t)
	require.Equal(t, []error{nil}, p.publish(t, servicetest.Patience, outgoing("slow", "payment.failed.v1")))
}
