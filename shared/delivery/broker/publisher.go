package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"

	"gozon/shared/contract/events"
)

// What became of a message that is not confirmed.
var (
	ErrNacked   = errors.New("not confirmed by the broker")               // refused, or the channel was closed before
	ErrReturned = errors.New("returned by the broker: no queue is bound") // and yet acked
)

// Publisher sends events to [Exchange], persistent, mandatory and confirmed. It
// is for one caller of Publish at a time.
type Publisher struct {
	*link
	current atomic.Pointer[publishing]
}

type publishing struct {
	*session
	pub     *rabbitmq.Publisher
	returns *returns
}

// NewPublisher makes a publisher; it connects when it is Run.
func NewPublisher(url, name string, log *slog.Logger) *Publisher {
	return &Publisher{link: newLink(url, name, log)}
}

// Run keeps a session until ctx is done.
func (p *Publisher) Run(ctx context.Context) error {
	p.run(ctx, func(ctx context.Context, s *session) error {
		pub, err := rabbitmq.NewPublisher(s.conn,
			rabbitmq.WithPublisherOptionsLogger(s.log),
			rabbitmq.WithPublisherOptionsConfirm,
			rabbitmq.WithPublisherOptionsExchangeName(Exchange))
		if err != nil {
			return fmt.Errorf("publisher: %w", err)
		}
		defer closing(pub.Close)
		cur := &publishing{session: s, pub: pub, returns: newReturns()}
		pub.NotifyReturn(cur.returns.handle)
		if err := cur.listening(ctx); err != nil {
			return err
		}
		p.current.Store(cur)
		defer p.current.Store(nil)
		p.connected()
		select {
		case <-s.down:
			return errors.New("the session ended")
		case <-ctx.Done():
			return nil
		}
	})
	return nil
}

// Publish sends all messages, then waits for all confirms, until ctx ends. It
// returns one error for each message, in order: nil means that the broker has it
// in a quorum queue, anything else that it may or may not have it.
func (p *Publisher) Publish(ctx context.Context, messages []events.Envelope) []error {
	errs := make([]error, len(messages))
	cur := p.current.Load()
	if cur == nil {
		for i := range errs {
			errs[i] = ErrNotConnected
		}
		return errs
	}
	cur.returns.begin()
	first := cur.returns.next()
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	cur.socket.corkUntil(ctx)
	for i := range messages {
		confirms[i], errs[i] = cur.send(ctx, messages[i])
		if (i+1)%fenceEvery == 0 || i == len(messages)-1 {
			cur.fence(ctx)
		}
	}
	if err := cur.socket.uncork(); err != nil {
		cur.fail() // and with it every confirm of the batch
	}
	cur.confirmed(ctx, confirms, errs)

	seen, returned := cur.returns.wait(ctx, cur.down)
	for i := range messages {
		switch {
		case errs[i] != nil:
		case returned[messages[i].ID]:
			errs[i] = ErrReturned
		case first+i/fenceEvery > seen:
			errs[i] = errors.New("confirmed, but it may have been returned")
		}
	}
	if len(returned) > 0 {
		p.log.ErrorContext(ctx, "messages returned, the alternate exchange or its queue is missing", "messages", len(returned))
		cur.fail() // the next session declares the topology
	}
	return errs
}

// confirmed waits for confirms and notes which messages lack theirs.
func (p *publishing) confirmed(ctx context.Context, confirms []*amqp.DeferredConfirmation, errs []error) {
	some, late := false, false
	for i, c := range confirms {
		if errs[i] != nil {
			continue
		}
		errs[i] = confirm(ctx, c)
		some = some || errs[i] == nil
		late = late || errs[i] != nil && !errors.Is(errs[i], ErrNacked)
	}
	// A broker that confirms some messages is slow, not stuck: a new session would only
	// cost it more. Nothing waits for the late confirms any longer.
	if late && !some {
		p.fail()
	}
}

// confirm waits for a confirm until ctx ends. One that has arrived counts even then.
func confirm(ctx context.Context, c *amqp.DeferredConfirmation) error {
	// A closed channel resolves its confirms at once, as not acked.
	acked, err := c.WaitContext(ctx)
	switch {
	case acked || c.Acked():
		return nil
	case err != nil:
		return fmt.Errorf("confirm: %w", err)
	}
	return ErrNacked
}

// send publishes one message. A failed write ends the session.
func (p *publishing) send(ctx context.Context, e events.Envelope) (*amqp.DeferredConfirmation, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return p.write(ctx, body, e.Type,
		rabbitmq.WithPublishOptionsExchange(Exchange),
		rabbitmq.WithPublishOptionsPersistentDelivery,
		rabbitmq.WithPublishOptionsContentType(events.ContentType),
		rabbitmq.WithPublishOptionsMessageID(e.ID),
		rabbitmq.WithPublishOptionsType(e.Type),
		rabbitmq.WithPublishOptionsAppID(e.Source),
		rabbitmq.WithPublishOptionsTimestamp(e.Time))
}

// fence publishes a fence. If that fails, the messages before it are not confirmed.
func (p *publishing) fence(ctx context.Context) {
	_, err := p.write(ctx, nil, fenceKey,
		rabbitmq.WithPublishOptionsExchange(DeadExchange),
		rabbitmq.WithPublishOptionsMessageID(strconv.Itoa(p.returns.next())))
	if err == nil {
		p.returns.published()
	}
}

func (p *publishing) write(ctx context.Context, body []byte, key string, options ...func(*rabbitmq.PublishOptions)) (*amqp.DeferredConfirmation, error) {
	confirms, err := p.pub.PublishWithDeferredConfirmWithContext(ctx, body, []string{key}, append(options, rabbitmq.WithPublishOptionsMandatory)...)
	switch {
	case errors.Is(err, rabbitmq.ErrPublishBlocked), errors.Is(err, rabbitmq.ErrPublishFlowPaused):
		return nil, fmt.Errorf("publish: %w", err)
	case err != nil:
		p.fail()
		return nil, fmt.Errorf("publish: %w", err)
	case len(confirms) != 1 || confirms[0] == nil:
		p.fail()
		return nil, errors.New("publish: the channel does not confirm")
	}
	return confirms[0], nil
}

// listening waits until returns are handled: the library attaches its listener late,
// and until then returns are lost.
func (p *publishing) listening(ctx context.Context) error {
	for range listenTries {
		p.fence(ctx)
		try, cancel := context.WithTimeout(ctx, listenEvery)
		seen, _ := p.returns.wait(try, p.down)
		cancel()
		if seen > 0 {
			return nil
		}
	}
	return errors.New("the broker does not return what it cannot route")
}
