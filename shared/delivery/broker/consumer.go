package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"

	"gozon/shared/delivery/batch"
)

const (
	maxBatch      = 256 // events
	prefetch      = 128 // messages; a message holds one event or hundreds
	handleTimeout = 30 * time.Second
	minRetryDelay = 100 * time.Millisecond
	maxRetryDelay = 5 * time.Second
)

// Values of the label outcome.
const (
	outcomeDone         = "done"
	outcomeDeadLettered = "dead_lettered"
	outcomeRetried      = "retried"
)

// Consumer handles the events of one queue in batches. A batch consists of the events of the
// messages that arrived while the previous batch was handled. A message is acked after all
// of its events were handled. An event that fails is held and retried with backoff while
// other events are handled.
type Consumer struct {
	*reconnector
	handle          Handler
	deadLetterAfter time.Duration
	sizes           prometheus.Observer
	outcomes        *prometheus.CounterVec
	heldCount       atomic.Int64
	requeued        requeued
	topology        *reconciler
}

// NewConsumer returns a consumer and registers its metrics. It does not connect until Run
// is called.
func NewConsumer(cfg Config, name, queue string, handle Handler, log *slog.Logger, reg prometheus.Registerer) *Consumer {
	c := &Consumer{
		reconnector: newReconnector(cfg, name, queue, log), handle: handle, deadLetterAfter: cfg.DeadLetterAfter,
		sizes: batch.NewSizes(reg, "consumer"),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consumer_messages_total", Help: "Attempts to handle an event, by outcome.",
		}, []string{"outcome"}),
		topology: newReconciler(cfg, name+" topology", queue, log, reg),
	}
	for _, outcome := range []string{outcomeDone, outcomeDeadLettered, outcomeRetried} {
		c.outcomes.WithLabelValues(outcome)
	}
	reg.MustRegister(c.outcomes, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "consumer_held_messages", Help: "Events that failed and are held for a retry.",
	}, func() float64 { return float64(c.heldCount.Load()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "consumer_up", Help: "1 while the consumer has a session with the broker.",
	}, func() float64 {
		if c.reconnector.Ready(context.Background()) != nil {
			return 0
		}
		return 1
	}))
	return c
}

// Run consumes until ctx is done. It then finishes and acks the batch in progress and
// returns. Messages that were only prefetched go back to the queue.
func (c *Consumer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.topology.run(ctx) })
	c.runSessions(ctx, c.consume)
	return nil
}

// Ready returns nil while the consumer is connected and the topology is complete, and
// otherwise an error with the reason.
func (c *Consumer) Ready(ctx context.Context) error {
	if err := c.reconnector.Ready(ctx); err != nil {
		return err
	}
	return c.topology.Ready(ctx)
}

// take returns the events of first and of the messages in queue, until there are at least
// maxBatch. It does not block.
func take(first []*event, queue <-chan []*event) []*event {
	for all := first; ; {
		if len(all) >= maxBatch {
			return all
		}
		select {
		case next := <-queue:
			all = append(all, next...)
		default:
			return all
		}
	}
}

func (c *Consumer) consume(ctx context.Context, s *session) error {
	consumer, err := rabbitmq.NewConsumer(s.conn, c.queue,
		rabbitmq.WithConsumerOptionsLogger(s.log),
		rabbitmq.WithConsumerOptionsQueueNoDeclare, // newSession has declared it
		rabbitmq.WithConsumerOptionsConcurrency(1), // a multiple ack needs deliveries in order
		rabbitmq.WithConsumerOptionsQOSPrefetch(prefetch),
		rabbitmq.WithConsumerOptionsForceShutdown) // Run finishes the batch itself
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	// The buffer holds the whole prefetch. The library's own channel is unbuffered, so a
	// batch taken from it would hold a message or two at most.
	deliveries := make(chan []*event, prefetch)
	stopped := make(chan struct{})
	consumerErr := make(chan error, 1)
	var channel amqp.Acknowledger
	go func() {
		consumerErr <- consumer.Run(func(d rabbitmq.Delivery) rabbitmq.Action {
			// The library replaces a lost channel, and delivery tags restart on the new one.
			// A batch with tags of both channels would ack the wrong messages.
			if channel == nil {
				channel = d.Acknowledger
			}
			if d.Acknowledger != channel {
				s.end()
				return rabbitmq.Manual
			}
			select {
			case deliveries <- c.requeued.left(newMessage(d)):
			case <-stopped: // left unacked: the broker requeues it when the channel closes
			}
			return rabbitmq.Manual
		})
	}()
	defer closeWithTimeout(consumer.Close)
	defer close(stopped)
	c.setReady()
	p := &processor{Consumer: c, session: s, holding: map[*message]bool{}}
	defer c.heldCount.Store(0) // the broker requeues held messages when the channel closes
	for {
		var retry <-chan time.Time
		if at, ok := p.nextRetry(); ok {
			delay := time.Until(at)
			if delay <= 0 { // retry here: in the select, a full queue could win every time
				if err := p.retryDue(ctx); err != nil {
					return err
				}
			}
			retry = time.After(delay) // other due messages take turns with new ones
		}
		select {
		case first := <-deliveries:
			if err := p.processNew(ctx, take(first, deliveries)); err != nil {
				return err
			}
		case <-retry:
		case err := <-consumerErr:
			return fmt.Errorf("consumer ended: %w", errors.Join(err, errors.New("the channel closed")))
		case <-s.ended:
			return errSessionEnded
		case <-ctx.Done():
			return nil
		}
	}
}
