package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	rabbitmq "github.com/wagslane/go-rabbitmq"

	"gozon/shared/delivery/batch"
)

const (
	// maxHeld bounds the held messages. It leaves room in the prefetch for other messages.
	maxHeld = prefetch / 2
	// maxRetryBatch bounds how many held messages are retried at once, because new messages
	// wait for the retry.
	maxRetryBatch = 16
	// heldLogInterval is how often messages that stay held are logged.
	heldLogInterval = 30 * time.Second
)

// message is a delivery with the state of its retries.
type message struct {
	rabbitmq.Delivery
	failedSince time.Time     // its first failure; zero if none
	nextAttempt time.Time     // zero before the first retry is scheduled
	retryDelay  time.Duration // of the next retry to be scheduled
}

// processor handles the messages of one session and settles each of them once. It acks
// handled messages, dead-letters those that cannot be handled, and holds the others, unacked,
// for a retry.
type processor struct {
	*Consumer
	session    *session
	held       []*message
	heldLogged time.Time // when held messages were last logged
}

// nextRetry returns the time of the earliest retry, and false if no message is held.
func (p *processor) nextRetry() (at time.Time, ok bool) {
	for _, m := range p.held {
		if !ok || m.nextAttempt.Before(at) {
			at, ok = m.nextAttempt, true
		}
	}
	return at, ok
}

// retryDue retries held messages that are due, without waiting for locks.
func (p *processor) retryDue(ctx context.Context) error {
	var due []*message
	p.held = slices.DeleteFunc(p.held, func(m *message) bool {
		if len(due) == maxRetryBatch || time.Now().Before(m.nextAttempt) {
			return false
		}
		due = append(due, m)
		return true
	})
	return p.process(batch.WithoutWaiting(ctx), due)
}

// processNew handles messages that were just delivered.
func (p *processor) processNew(ctx context.Context, deliveries []rabbitmq.Delivery) error {
	p.sizes.Observe(float64(len(deliveries)))
	messages := make([]*message, len(deliveries))
	for i, d := range deliveries {
		messages[i] = &message{Delivery: d, retryDelay: minRetryDelay}
	}
	return p.process(ctx, messages)
}

// process handles messages and settles or holds each of them. While the handler is
// unavailable, it retries and blocks. An error means that the session is unusable.
func (p *processor) process(ctx context.Context, messages []*message) error {
	delay := minRetryDelay
	for {
		unavailable, err := p.attempt(ctx, messages)
		if err != nil || len(unavailable) == 0 {
			return err
		}
		if err := p.pause(ctx, delay); err != nil {
			return err
		}
		messages, delay = unavailable, min(2*delay, maxRetryDelay)
	}
}

// attempt handles messages once. It returns those for which the handler is unavailable.
func (p *processor) attempt(ctx context.Context, messages []*message) (unavailable []*message, err error) {
	var done, dead, failed []*message
	var deadErrs, failedErrs []error
	var unavailableErr error
	for i, err := range p.callHandler(ctx, messages) {
		m := messages[i]
		switch {
		case err == nil:
			done = append(done, m)
		case errors.Is(err, ErrUnavailable):
			unavailable, unavailableErr = append(unavailable, m), err
		case errors.Is(err, ErrPoison), !errors.Is(err, ErrBusy) && m.failingFor() >= p.deadLetterAfter:
			dead, deadErrs = append(dead, m), append(deadErrs, err)
		default:
			failed, failedErrs = append(failed, m), append(failedErrs, err)
		}
	}
	p.outcomes.WithLabelValues(outcomeDone).Add(float64(len(done)))
	settled := done
	if len(dead) > 0 {
		if err := p.deadLetter(ctx, dead, deadErrs); err != nil {
			p.log.ErrorContext(ctx, "consumer: dead-lettering failed, retrying", "messages", len(dead), "error", err)
			failed, failedErrs = append(failed, dead...), append(failedErrs, deadErrs...)
		} else {
			p.outcomes.WithLabelValues(outcomeDeadLettered).Add(float64(len(dead)))
			settled = append(settled, dead...)
		}
	}
	if len(unavailable) > 0 {
		p.outcomes.WithLabelValues(outcomeRetried).Add(float64(len(unavailable)))
		p.log.WarnContext(ctx, "consumer: handler unavailable, retrying", "messages", len(unavailable), "error", unavailableErr)
	}
	requeued, err := p.hold(ctx, failed, failedErrs)
	if err != nil {
		return nil, err
	}
	if err := p.ack(settled, unavailable); err != nil {
		return nil, err
	}
	if requeued && len(settled) == 0 { // do not redeliver the same messages in a busy loop
		return unavailable, p.pause(ctx, minRetryDelay)
	}
	return unavailable, nil
}

// failingFor returns the time since the first failure. The first call records that failure.
func (m *message) failingFor() time.Duration {
	if m.failedSince.IsZero() {
		m.failedSince = time.Now()
	}
	return time.Since(m.failedSince)
}

// hold keeps failed messages for a retry. Beyond maxHeld it requeues them at the end of the
// queue, so that they do not block the messages behind them.
func (p *processor) hold(ctx context.Context, failed []*message, errs []error) (requeued bool, err error) {
	if len(failed) == 0 {
		return false, nil
	}
	p.outcomes.WithLabelValues(outcomeRetried).Add(float64(len(failed)))
	if m := failed[0]; m.nextAttempt.IsZero() || time.Since(p.heldLogged) > heldLogInterval {
		p.heldLogged = time.Now()
		p.log.WarnContext(ctx, "consumer: messages failed, retrying each with backoff",
			"messages", len(failed), "held", len(p.held)+len(failed), "message_id", m.MessageId, "error", errs[0])
	}
	for _, m := range failed {
		if len(p.held) >= maxHeld {
			if err := m.Reject(true); err != nil {
				return requeued, fmt.Errorf("requeue: %w", err)
			}
			requeued = true
			continue
		}
		m.nextAttempt, m.retryDelay = time.Now().Add(m.retryDelay), min(2*m.retryDelay, maxRetryDelay)
		p.held = append(p.held, m)
	}
	return requeued, nil
}

// ack acks settled messages. One multiple ack covers those before the first message that is
// held or unavailable; the others are acked one by one.
func (p *processor) ack(settled, unavailable []*message) error {
	p.heldCount.Store(int64(len(p.held)))
	firstUnsettled := ^uint64(0) // delivery tag
	for _, unsettled := range [][]*message{p.held, unavailable} {
		for _, m := range unsettled {
			firstUnsettled = min(firstUnsettled, m.DeliveryTag)
		}
	}
	var last *message // before firstUnsettled
	p.session.socket.cork()
	for _, m := range settled {
		if m.DeliveryTag < firstUnsettled {
			if last == nil || m.DeliveryTag > last.DeliveryTag {
				last = m
			}
			continue
		}
		if err := m.Ack(false); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
	}
	if last != nil {
		if err := last.Ack(true); err != nil {
			return fmt.Errorf("ack: %w", err)
		}
	}
	return p.session.socket.uncork()
}

// pause waits for delay. It returns an error if the session ends or ctx is done first.
func (p *processor) pause(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.session.ended:
		return errors.New("the session ended before messages could be retried")
	case <-ctx.Done():
		return errors.New("stopped before messages could be retried")
	}
}

func (p *processor) callHandler(ctx context.Context, messages []*message) []error {
	bodies := make([][]byte, len(messages))
	for i, m := range messages {
		bodies[i] = m.Body
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleTimeout)
	defer cancel()
	return p.handle(ctx, bodies)
}
