package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"

	"gozon/shared/events"
)

// ErrNacked says that the broker refused the message, or its channel was closed before the confirm.
var ErrNacked = errors.New("not confirmed by the broker")

// Publisher sends events to [Exchange], persistent, mandatory and confirmed. It
// is for one caller of Publish at a time.
type Publisher struct {
	*link
	current atomic.Pointer[publishing]
}

type publishing struct {
	session *session
	pub     *rabbitmq.Publisher
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
		// With the alternate exchange in place nothing is ever returned; should it be
		// gone, the session ends and with it every confirm of the batch.
		pub.NotifyReturn(func(r rabbitmq.Return) {
			p.log.ErrorContext(ctx, "a message was returned: is the alternate exchange gone?",
				"message_id", r.MessageId, "routing_key", r.RoutingKey, "reply", r.ReplyText)
			s.fail()
		})
		p.current.Store(&publishing{s, pub})
		p.connected()
		select {
		case <-s.down:
			err = errors.New("the session ended")
		case <-ctx.Done():
		}
		p.current.Store(nil)
		closing(pub.Close)
		return err
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
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	cur.session.socket.cork()
	for i, m := range messages {
		confirms[i], errs[i] = cur.send(ctx, m)
	}
	if err := cur.session.socket.uncork(); err != nil {
		cur.session.fail() // and with it every confirm of the batch
	}
	for i, c := range confirms {
		if errs[i] != nil {
			continue
		}
		// A closed channel resolves its confirms at once, as not acked.
		acked, err := c.WaitContext(ctx)
		switch {
		case err != nil:
			errs[i] = fmt.Errorf("confirm: %w", err)
		case !acked:
			errs[i] = ErrNacked
		}
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, rabbitmq.ErrPublishBlocked) && !errors.Is(err, rabbitmq.ErrPublishFlowPaused) {
			cur.session.fail()
			break
		}
	}
	return errs
}

func (p *publishing) send(ctx context.Context, e events.Envelope) (*amqp.DeferredConfirmation, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	confirms, err := p.pub.PublishWithDeferredConfirmWithContext(ctx, body, []string{e.Type},
		rabbitmq.WithPublishOptionsExchange(Exchange),
		rabbitmq.WithPublishOptionsMandatory,
		rabbitmq.WithPublishOptionsPersistentDelivery,
		rabbitmq.WithPublishOptionsContentType(events.ContentType),
		rabbitmq.WithPublishOptionsMessageID(e.ID),
		rabbitmq.WithPublishOptionsType(e.Type),
		rabbitmq.WithPublishOptionsAppID(e.Source),
		rabbitmq.WithPublishOptionsTimestamp(e.Time))
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if len(confirms) != 1 || confirms[0] == nil {
		return nil, errors.New("publish: the channel does not confirm")
	}
	return confirms[0], nil
}
