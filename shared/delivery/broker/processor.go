package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gozon/shared/delivery/batch"
)

const (
	// maxHeld bounds the messages with held events. It leaves room in the prefetch for others.
	maxHeld = prefetch / 2
	// maxRetryBatch bounds how many held events are retried at once, because new messages
	// wait for the retry.
	maxRetryBatch = 16
	// heldLogInterval is how often events that stay held are logged.
	heldLogInterval = 30 * time.Second
)

// processor handles the messages of one session and settles each of their events once:
// it is handled, or dead-lettered because it cannot be handled. An event that is neither is
// held for a retry, and its message stays unacked.
type processor struct {
	*Consumer
	session    *session
	held       []*event
	holding    map[*message]bool // the messages of held events
	heldLogged time.Time         // when held events were last logged
}

// nextRetry returns the time of the earliest retry, and false if no event is held.
func (p *processor) nextRetry() (at time.Time, ok bool) {
	for _, e := range p.held {
		if !ok || e.nextAttempt.Before(at) {
			at, ok = e.nextAttempt, true
		}
	}
	return at, ok
}

// retryDue retries held events that are due, without waiting for locks.
func (p *processor) retryDue(ctx context.Context) error {
	var due []*event
	p.held = slices.DeleteFunc(p.held, func(e *event) bool {
		if len(due) == maxRetryBatch || time.Now().Before(e.nextAttempt) {
			return false
		}
		due = append(due, e)
		return true
	})
	return p.process(batch.WithoutWaiting(ctx), due)
}

// processNew handles events that were just delivered.
func (p *processor) processNew(ctx context.Context, all []*event) error {
	p.sizes.Observe(float64(len(all)))
	return p.process(ctx, all)
}

// process handles events and settles or holds each of them. While the handler is
// unavailable, it retries and blocks. An error means that the session is unusable.
func (p *processor) process(ctx context.Context, all []*event) error {
	delay := minRetryDelay
	for {
		unavailable, err := p.attempt(ctx, all)
		if err != nil || len(unavailable) == 0 {
			return err
		}
		if err := p.pause(ctx, delay); err != nil {
			return err
		}
		all, delay = unavailable, min(2*delay, maxRetryDelay)
	}
}

// attempt handles events once. It returns those for which the handler is unavailable.
func (p *processor) attempt(ctx context.Context, all []*event) (unavailable []*event, err error) {
	var done, dead, failed []*event
	var deadErrs, failedErrs []error
	var unavailableErr error
	for i, err := range p.callHandler(ctx, all) {
		e := all[i]
		if errors.Is(err, ErrUnavailable) {
			unavailable, unavailableErr = append(unavailable, e), err
			continue
		}
		e.split = true // if other events of its message are left, they claim their own ids
		switch {
		case err == nil:
			done = append(done, e)
		case errors.Is(err, ErrPoison), !errors.Is(err, ErrBusy) && e.failingFor() >= p.deadLetterAfter:
			dead, deadErrs = append(dead, e), append(deadErrs, err)
		default:
			failed, failedErrs = append(failed, e), append(failedErrs, err)
		}
	}
	p.outcomes.WithLabelValues(outcomeDone).Add(float64(len(done)))
	settled := done
	if len(dead) > 0 {
		if err := p.deadLetter(ctx, dead, deadErrs); err != nil {
			p.log.ErrorContext(ctx, "consumer: dead-lettering failed, retrying", "events", len(dead), "error", err)
			failed, failedErrs = append(failed, dead...), append(failedErrs, deadErrs...)
		} else {
			p.outcomes.WithLabelValues(outcomeDeadLettered).Add(float64(len(dead)))
			settled = append(settled, dead...)
		}
	}
	if len(unavailable) > 0 {
		p.outcomes.WithLabelValues(outcomeRetried).Add(float64(len(unavailable)))
		p.log.WarnContext(ctx, "consumer: handler unavailable, retrying", "events", len(unavailable), "error", unavailableErr)
	}
	excess := p.hold(ctx, failed, failedErrs, unavailable)
	if err := p.requeue(excess); err != nil {
		return nil, err
	}
	if err := p.ack(settled, unavailable); err != nil {
		return nil, err
	}
	if len(excess) > 0 && len(settled) == 0 { // do not redeliver the same messages in a busy loop
		return unavailable, p.pause(ctx, minRetryDelay)
	}
	return unavailable, nil
}

// hold keeps failed events for a retry. It returns those for which there is no room, unless
// other events of their message are unavailable, and retried at once.
func (p *processor) hold(ctx context.Context, failed []*event, errs []error, unavailable []*event) (excess []*event) {
	if len(failed) == 0 {
		return nil
	}
	p.outcomes.WithLabelValues(outcomeRetried).Add(float64(len(failed)))
	if e := failed[0]; e.nextAttempt.IsZero() || time.Since(p.heldLogged) > heldLogInterval {
		p.heldLogged = time.Now()
		p.log.WarnContext(ctx, "consumer: events failed, retrying each with backoff",
			"events", len(failed), "held", len(p.held)+len(failed), "message_id", e.MessageId, "error", errs[0])
	}
	for _, e := range failed {
		if !p.holding[e.message] && len(p.holding) >= maxHeld && !slices.ContainsFunc(unavailable, e.sameMessage) {
			excess = append(excess, e)
		} else {
			p.scheduleRetry(e)
		}
	}
	return excess
}

func (p *processor) scheduleRetry(e *event) {
	e.nextAttempt, e.retryDelay = time.Now().Add(e.retryDelay), min(2*e.retryDelay, maxRetryDelay)
	p.holding[e.message] = true
	p.held = append(p.held, e)
}

// ack acks the messages whose events are all settled. One multiple ack covers those before
// the first message with events that are held or unavailable; the others are acked one by
// one.
func (p *processor) ack(settled, unavailable []*event) error {
	p.heldCount.Store(int64(len(p.held)))
	var messages []*message
	for _, e := range settled {
		if e.unsettled--; e.unsettled == 0 {
			messages = append(messages, e.message)
			delete(p.holding, e.message)
			p.requeued.forget(e.id)
		}
	}
	firstUnsettled := ^uint64(0) // delivery tag
	for m := range p.holding {
		firstUnsettled = min(firstUnsettled, m.DeliveryTag)
	}
	for _, e := range unavailable {
		firstUnsettled = min(firstUnsettled, e.DeliveryTag)
	}
	var last *message // before firstUnsettled
	p.session.socket.cork()
	for _, m := range messages {
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

func (p *processor) callHandler(ctx context.Context, all []*event) []error {
	errs := make([]error, len(all))
	received, indexes := make([]Received, 0, len(all)), make([]int, 0, len(all))
	for i, e := range all {
		if errs[i] = p.believe(e); errs[i] == nil {
			received, indexes = append(received, e.received()), append(indexes, i)
		}
	}
	if len(received) == 0 {
		return errs
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), handleTimeout)
	defer cancel()
	for i, err := range p.handle(ctx, received) {
		errs[indexes[i]] = err
	}
	return errs
}

// believe returns an error if an event does not come from the user that may publish it. The
// broker has verified the user id.
func (p *processor) believe(e *event) error {
	f := flows[p.queue]
	if f.believes(e.UserId) {
		return nil
	}
	return fmt.Errorf("%w: published by %q, and only events of %s are believed", ErrPoison, e.UserId, f.producer)
}
