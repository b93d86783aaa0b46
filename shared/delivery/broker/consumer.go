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
	batchMax    = 256
	prefetch    = 2 * batchMax // one batch being written, one waiting
	handleFor   = 30 * time.Second
	retryFirst  = 100 * time.Millisecond
	retryMax    = 5 * time.Second
	outcomeDone = "done"
	outcomeDead = "dead_lettered"
	outcomeHeld = "retried"
)

// Consumer takes messages from one queue in batches: a batch is whatever arrived
// while the last one was handled. Messages are acked after they were handled. One that
// fails by itself is set aside and retried; others pass it.
type Consumer struct {
	*link
	queue           string
	handle          Handler
	deadLetterAfter time.Duration
	sizes           prometheus.Observer
	outcomes        *prometheus.CounterVec
	heldNow         atomic.Int64
	topology        *reconciler
}

// NewConsumer makes a consumer and registers its metrics; it connects when it is Run.
func NewConsumer(cfg Config, name, queue string, handle Handler, log *slog.Logger, reg prometheus.Registerer) *Consumer {
	c := &Consumer{
		link: newLink(cfg.AMQPURL, name, log), queue: queue, handle: handle, deadLetterAfter: cfg.DeadLetterAfter,
		sizes: batch.NewSizes(reg, "consumer"),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consumer_messages_total", Help: "Messages by what became of them.",
		}, []string{"outcome"}),
		topology: newReconciler(cfg.AMQPURL, name+" topology", queue, log, reg),
	}
	for _, o := range []string{outcomeDone, outcomeDead, outcomeHeld} {
		c.outcomes.WithLabelValues(o)
	}
	reg.MustRegister(c.outcomes, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "consumer_held_messages", Help: "Messages that failed by themselves and are being retried.",
	}, func() float64 { return float64(c.heldNow.Load()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "consumer_up", Help: "1 while the consumer has a session with the broker.",
	}, func() float64 {
		if c.link.Ready(context.Background()) != nil {
			return 0
		}
		return 1
	}))
	return c
}

// Run consumes until ctx is done; then it finishes the batch in hand, acks it and
// returns. What was only prefetched goes back to the queue.
func (c *Consumer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { c.topology.run(ctx) })
	c.run(ctx, c.consume)
	return nil
}

// Ready is nil while there is a session and the topology is complete, and says what
// is wrong otherwise.
func (c *Consumer) Ready(ctx context.Context) error {
	if err := c.link.Ready(ctx); err != nil {
		return err
	}
	return c.topology.Ready(ctx)
}

func (c *Consumer) consume(ctx context.Context, s *session) error {
	consumer, err := rabbitmq.NewConsumer(s.conn, c.queue,
		rabbitmq.WithConsumerOptionsLogger(s.log),
		rabbitmq.WithConsumerOptionsQueueNoDeclare, // the whole topology is declared already
		rabbitmq.WithConsumerOptionsConcurrency(1), // one feeder keeps the order that a multiple ack needs
		rabbitmq.WithConsumerOptionsQOSPrefetch(prefetch),
		rabbitmq.WithConsumerOptionsForceShutdown) // the drain is here, not in the library
	if err != nil {
		return fmt.Errorf("consumer: %w", err)
	}
	// As large as the prefetch: the library's own channel has no buffer, so a batch
	// taken from there would never hold more than a message or two.
	deliveries := make(chan rabbitmq.Delivery, prefetch)
	ended := make(chan struct{})
	running := make(chan error, 1)
	var channel amqp.Acknowledger
	go func() {
		running <- consumer.Run(func(d rabbitmq.Delivery) rabbitmq.Action {
			// The library replaces a lost channel on its own, and delivery tags start
			// anew on it: a batch with tags of both would ack the wrong messages.
			if channel == nil {
				channel = d.Acknowledger
			}
			if d.Acknowledger != channel {
				s.fail()
				return rabbitmq.Manual
			}
			select {
			case deliveries <- d:
			case <-ended: // left unacked: closing the channel gives it back
			}
			return rabbitmq.Manual
		})
	}()
	defer closing(consumer.Close)
	defer close(ended)
	c.connected()
	settle := &settler{Consumer: c, session: s}
	defer c.heldNow.Store(0) // closing the channel gives them back to the queue
	for {
		var retry <-chan time.Time
		if at, some := settle.due(); some {
			wait := time.Until(at)
			if wait <= 0 { // not left to the select, which a full queue could win forever
				if err := settle.retry(ctx); err != nil {
					return err
				}
			}
			retry = time.After(wait) // what else is due takes turns with fresh messages
		}
		select {
		case first := <-deliveries:
			if err := settle.fresh(ctx, batch.Take(first, deliveries, batchMax)); err != nil {
				return err
			}
		case <-retry:
		case err := <-running:
			return fmt.Errorf("consumer ended: %w", errors.Join(err, errors.New("the channel closed")))
		case <-s.down:
			return errors.New("the session ended")
		case <-ctx.Done():
			return nil
		}
	}
}
