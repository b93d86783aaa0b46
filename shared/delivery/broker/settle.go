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
	// heldMax bounds the messages that are held. It leaves room in the prefetch for others.
	heldMax = prefetch / 2
	// retryBatch bounds how many held messages are retried at once: others wait meanwhile.
	retryBatch = 16
	// holdLogEvery is how often messages that are still held are logged.
	holdLogEvery = 30 * time.Second
)

// held is a message that could not be handled, and that others have passed since.
type held struct {
	rabbitmq.Delivery
	since time.Time     // of its first failure
	next  time.Time     // of its next attempt
	wait  time.Duration // after that
}

// settler handles the messages of one session and settles each of them once: it acks what
// was handled, dead-letters what cannot be, and holds the rest for a retry.
type settler struct {
	*Consumer
	session *session
	held    []*held
	logged  time.Time // when held messages were last logged
}

// due is when the next held message is to be retried.
func (s *settler) due() (at time.Time, some bool) {
	for _, h := range s.held {
		if !some || h.next.Before(at) {
			at, some = h.next, true
		}
	}
	return at, some
}

// retry makes another attempt at the held messages that are due, without waiting for locks.
func (s *settler) retry(ctx context.Context) error {
	var again []*held
	s.held = slices.DeleteFunc(s.held, func(h *held) bool {
		if len(again) == retryBatch || time.Now().Before(h.next) {
			return false
		}
		again = append(again, h)
		return true
	})
	return s.settle(batch.WithoutWaiting(ctx), again)
}

// fresh handles messages that were delivered just now.
func (s *settler) fresh(ctx context.Context, deliveries []rabbitmq.Delivery) error {
	s.sizes.Observe(float64(len(deliveries)))
	messages := make([]*held, len(deliveries))
	for i, d := range deliveries {
		messages[i] = &held{Delivery: d, wait: retryFirst}
	}
	return s.settle(ctx, messages)
}

// settle handles messages and settles or holds each of them. While none can be handled, it
// waits, and nothing else is consumed. An error means that the session is unusable.
func (s *settler) settle(ctx context.Context, messages []*held) error {
	wait := retryFirst
	for {
		unavailable, err := s.attempt(ctx, messages)
		if err != nil || len(unavailable) == 0 {
			return err
		}
		if err := s.pause(ctx, wait); err != nil {
			return err
		}
		messages, wait = unavailable, min(2*wait, retryMax)
	}
}

// attempt handles messages once. It returns those that cannot be handled now.
func (s *settler) attempt(ctx context.Context, messages []*held) (unavailable []*held, err error) {
	var done, dead, hold []*held
	var reasons, holdErrs []error
	var unavailableErr error
	for i, err := range s.handled(ctx, messages) {
		m := messages[i]
		switch {
		case err == nil:
			done = append(done, m)
		case errors.Is(err, ErrUnavailable):
			unavailable, unavailableErr = append(unavailable, m), err
		case errors.Is(err, ErrPoison), !errors.Is(err, ErrBusy) && m.failedFor() >= s.deadLetterAfter:
			dead, reasons = append(dead, m), append(reasons, err)
		default:
			hold, holdErrs = append(hold, m), append(holdErrs, err)
		}
	}
	s.outcomes.WithLabelValues(outcomeDone).Add(float64(len(done)))
	settled := done
	if len(dead) > 0 {
		if err := s.deadLetter(ctx, dead, reasons); err != nil {
			s.log.ErrorContext(ctx, "consumer: messages not dead-lettered, retrying", "messages", len(dead), "error", err)
			hold, holdErrs = append(hold, dead...), append(holdErrs, reasons...)
		} else {
			s.outcomes.WithLabelValues(outcomeDead).Add(float64(len(dead)))
			settled = append(settled, dead...)
		}
	}
	if len(unavailable) > 0 {
		s.outcomes.WithLabelValues(outcomeHeld).Add(float64(len(unavailable)))
		s.log.WarnContext(ctx, "consumer: messages cannot be handled now, retrying", "messages", len(unavailable), "error", unavailableErr)
	}
	requeued, err := s.hold(ctx, hold, holdErrs)
	if err != nil {
		return nil, err
	}
	if err := s.ack(settled, unavailable); err != nil {
		return nil, err
	}
	if requeued && len(settled) == 0 { // or the same messages would go round without a rest
		return unavailable, s.pause(ctx, retryFirst)
	}
	return unavailable, nil
}

// failedFor is for how long the message has failed. The first call is its first failure.
func (h *held) failedFor() time.Duration {
	if h.since.IsZero() {
		h.since = time.Now()
	}
	return time.Since(h.since)
}

// hold keeps messages for a retry. Those that are too many go back to the end of the queue,
// so that whoever is behind them is not stopped by them.
func (s *settler) hold(ctx context.Context, messages []*held, errs []error) (requeued bool, err error) {
	if len(messages) == 0 {
		return false, nil
	}
	s.outcomes.WithLabelValues(outcomeHeld).Add(float64(len(messages)))
	if m := messages[0]; m.next.IsZero() || time.Since(s.logged) > holdLogEvery {
		s.logged = time.Now()
		s.log.WarnContext(ctx, "consumer: messages held, retrying each with backoff",
			"messages", len(messages), "held", len(s.held)+len(messages), "message_id", m.MessageId, "error", errs[0])
	}
	for _, m := range messages {
		if len(s.held) >= heldMax {
			if err := m.Reject(true); err != nil {
				return requeued, fmt.Errorf("requeue: %w", err)
			}
			requeued = true
			continue
		}
		m.next, m.wait = time.Now().Add(m.wait), min(2*m.wait, retryMax)
		s.held = append(s.held, m)
	}
	return requeued, nil
}

// ack acks messages: with one frame, except those that have an unsettled one before them.
func (s *settler) ack(settled, unavailable []*held) error {
	s.heldNow.Store(int64(len(s.held)))
	floor := ^uint64(0)
	for _, unsettled := range [][]*held{s.held, unavailable} {
		for _, m := range unsettled {
			floor = min(floor, m.DeliveryTag)
		}
	}
	var last *held // below the floor
	s.session.socket.cork()
	for _, m := range settled {
		if m.DeliveryTag < floor {
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
	return s.session.socket.uncork()
}

// pause waits, unless the session ends.
func (s *settler) pause(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-s.session.down:
		return errors.New("the session ended while messages were held")
	case <-ctx.Done():
		return errors.New("stopped while messages were held")
	}
}

func (s *settler) handled(ctx context.Context, messages []*held) []error {
	bodies := make([][]byte, len(messages))
	for i, m := range messages {
		bodies[i] = m.Body
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleFor)
	defer cancel()
	return s.handle(ctx, bodies)
}
