package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"

	"gozon/shared/batch"
)

// ErrPoison marks a message that can never be handled. Wrap it: the consumer
// sends such a message to the dead-letter queue and logs the error.
var ErrPoison = errors.New("poison message")

// Handler handles the bodies of a batch of messages and returns one error for
// each, in order. nil: done, it is acked. ErrPoison: it is dead-lettered. Any
// other: it cannot be done now and is given again, with backoff, for ever. The
// same message may come many times.
type Handler func(ctx context.Context, bodies [][]byte) []error

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
// while the last one was handled. Messages are acked after they were handled.
type Consumer struct {
	*link
	queue    string
	handle   Handler
	sizes    prometheus.Observer
	outcomes *prometheus.CounterVec
}

// NewConsumer makes a consumer and registers its metrics; it connects when it is Run.
func NewConsumer(url, name, queue string, handle Handler, log *slog.Logger, reg prometheus.Registerer) *Consumer {
	c := &Consumer{
		link: newLink(url, name, log), queue: queue, handle: handle,
		sizes: batch.NewSizes(reg, "consumer"),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "consumer_messages_total", Help: "Messages by what became of them.",
		}, []string{"outcome"}),
	}
	for _, o := range []string{outcomeDone, outcomeDead, outcomeHeld} {
		c.outcomes.WithLabelValues(o)
	}
	reg.MustRegister(c.outcomes, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "consumer_up", Help: "1 while the consumer has a session with the broker.",
	}, func() float64 {
		if c.Ready(context.Background()) != nil {
			return 0
		}
		return 1
	}))
	return c
}

// Run consumes until ctx is done; then it finishes the batch in hand, acks it and
// returns. What was only prefetched goes back to the queue.
func (c *Consumer) Run(ctx context.Context) error {
	c.run(ctx, c.consume)
	return nil
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
	for {
		select {
		case first := <-deliveries:
			if err := c.settle(ctx, s, batch.Take(first, deliveries, batchMax)); err != nil {
				return err
			}
		case err := <-running:
			return fmt.Errorf("consumer ended: %w", errors.Join(err, errors.New("the channel closed")))
		case <-s.down:
			return errors.New("the session ended")
		case <-ctx.Done():
			return nil
		}
	}
}

// settle handles a batch until nothing of it is left to try again, then acks it
// with one frame. An error means that the session is of no more use.
func (c *Consumer) settle(ctx context.Context, s *session, deliveries []rabbitmq.Delivery) error {
	c.sizes.Observe(float64(len(deliveries)))
	left, wait := deliveries, retryFirst
	dead := map[uint64]bool{}
	for {
		var held []rabbitmq.Delivery
		var heldErr error
		for i, err := range c.handled(ctx, left) {
			switch {
			case err == nil:
				c.outcomes.WithLabelValues(outcomeDone).Inc()
			case errors.Is(err, ErrPoison):
				c.outcomes.WithLabelValues(outcomeDead).Inc()
				c.log.ErrorContext(ctx, "message goes to the dead-letter queue", "message_id", left[i].MessageId, "error", err)
				if err := left[i].Reject(false); err != nil {
					return fmt.Errorf("reject: %w", err)
				}
				dead[left[i].DeliveryTag] = true
			default:
				held, heldErr = append(held, left[i]), err
			}
		}
		if len(held) == 0 {
			break
		}
		c.outcomes.WithLabelValues(outcomeHeld).Add(float64(len(held)))
		c.log.WarnContext(ctx, "messages held, will try again", "messages", len(held), "error", heldErr, "after", wait.String())
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.down:
			timer.Stop()
			return errors.New("the session ended while messages were held")
		case <-ctx.Done():
			timer.Stop()
			return errors.New("stopped while messages were held")
		}
		left, wait = held, min(2*wait, retryMax)
	}
	// What was rejected is settled already, and to ack it again would be an error;
	// one frame settles all the others.
	for _, deliverie := range slices.Backward(deliveries) {
		if dead[deliverie.DeliveryTag] {
			continue
		}
		if err := deliverie.Ack(true); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
		break
	}
	return nil
}

func (c *Consumer) handled(ctx context.Context, deliveries []rabbitmq.Delivery) []error {
	bodies := make([][]byte, len(deliveries))
	for i, d := range deliveries {
		bodies[i] = d.Body
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleFor)
	defer cancel()
	return c.handle(ctx, bodies)
}
