package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"gozon/shared/contract/events"
	"gozon/shared/delivery/broker"
)

// Client acts on the dead letters of one service, in the broker and in the table. It is not
// safe for concurrent use.
type Client struct {
	Store    *Store
	Broker   *broker.DeadLetters
	Queues   []string                // to collect
	Validate func(body []byte) error // reports why the service's consumer cannot decode an event
	Operator string                  // is recorded with each action
}

// Collect moves the messages that are in the queues now to the table.
func (c *Client) Collect(ctx context.Context) error {
	// Without the table, each message that was taken would count as a failed delivery.
	if err := c.Store.Check(ctx); err != nil {
		return err
	}
	for _, queue := range c.Queues {
		if err := c.Broker.Collect(ctx, queue, func(ctx context.Context, messages []broker.DeadLetter) error {
			return c.Store.Collect(ctx, messages, c.Operator)
		}); err != nil {
			return err
		}
	}
	return nil
}

// Retry publishes a letter again. It can be repeated at any time: the consumer handles the
// event at most once. The consumer believes it, whoever has published it first.
func (c *Client) Retry(ctx context.Context, id uuid.UUID) error {
	if err := c.Broker.CanRetry(); err != nil {
		return err
	}
	l, err := c.Store.StartRetry(ctx, id, c.Operator)
	if err != nil {
		return err
	}
	if err := c.Broker.Retry(ctx, l.DeadLetter); err != nil {
		return fmt.Errorf("dead letter %s stays %q, retry it again: %w", id, Retrying, err)
	}
	return c.Store.FinishRetry(ctx, l)
}

// RetryAll retries the letters that are open now and that the filter selects, one every
// interval. It calls done with each. At the first error it stops. It skips letters that are
// not proven, because the consumer would believe their retry, and calls done with them, too.
func (c *Client) RetryAll(ctx context.Context, f Filter, interval time.Duration, done func(l Letter, skipped bool)) error {
	f.Closed = false
	letters, err := c.Store.List(ctx, f)
	if err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	retried := false
	for _, l := range letters {
		if !l.Proven() {
			done(l, true)
			continue
		}
		if retried {
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return errors.New("interrupted") // not context.Canceled, which means success
		}
		retried = true
		if err := c.Retry(ctx, l.ID); err != nil {
			return err
		}
		done(l, false)
	}
	return nil
}

// EditData replaces the data of the event of an open letter. The consumer must be able to
// decode the result.
func (c *Client) EditData(ctx context.Context, id uuid.UUID, data []byte) error {
	return c.edit(ctx, id, func(l *Letter) ([]byte, error) { return l.withData(data) })
}

// EditEvent replaces the event of an open letter, except for its id.
func (c *Client) EditEvent(ctx context.Context, id uuid.UUID, event []byte) error {
	return c.edit(ctx, id, func(l *Letter) ([]byte, error) { return l.withEvent(event) })
}

func (c *Client) edit(ctx context.Context, id uuid.UUID, replace func(*Letter) ([]byte, error)) error {
	return c.Store.Edit(ctx, id, c.Operator, func(l *Letter) ([]byte, error) {
		if _, err := events.Split(l.Body); err == nil && events.IsBatch(l.Body) {
			return nil, fmt.Errorf("%w: a message with several events cannot be edited", ErrInvalid)
		}
		body, err := replace(l)
		if err != nil {
			return nil, err
		}
		if err := c.Check(l.Queue, body); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		e, err := events.Parse(body)
		if err != nil {
			return nil, err
		}
		l.Properties.ContentType, l.Properties.MessageID, l.Properties.Type = events.ContentType, e.ID, e.Type
		if l.Queue == broker.Unrouted {
			l.RoutingKey = e.Type
		}
		return body, nil
	})
}

// Check reports why an event that was found in queue cannot be decoded by its consumer. The
// consumer of an event in [broker.Unrouted] is not known: only its envelope is checked.
func (c *Client) Check(queue string, body []byte) error {
	if queue == broker.Unrouted {
		return broker.Validate(body, func(events.Envelope) (struct{}, error) { return struct{}{}, nil })
	}
	return c.Validate(body)
}
