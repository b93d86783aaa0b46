package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
	rabbitmq "github.com/wagslane/go-rabbitmq"

	"gozon/shared/contract/events"
)

// Publisher publishes messages to [Exchange] as persistent, mandatory, confirmed messages.
// Publish must not be called concurrently.
type Publisher struct {
	*reconnector
	user    string
	current atomic.Pointer[publisherSession] // nil while not connected
}

type publisherSession struct {
	*session
	pub     *rabbitmq.Publisher
	user    string // of the connection; the broker refuses another user id
	returns *returnTracker
	blocked atomic.Bool // the last message was not published, because of a resource alarm
}

// NewPublisher returns a publisher. It does not connect until Run is called.
func NewPublisher(c Config, name string, log *slog.Logger) *Publisher {
	return &Publisher{reconnector: newReconnector(c, name, "", log), user: c.user()}
}

// Run keeps the publisher connected until ctx is done.
func (p *Publisher) Run(ctx context.Context) error {
	p.runSessions(ctx, func(ctx context.Context, s *session) error {
		pub, err := rabbitmq.NewPublisher(s.conn,
			rabbitmq.WithPublisherOptionsLogger(s.log),
			rabbitmq.WithPublisherOptionsConfirm,
			rabbitmq.WithPublisherOptionsExchangeName(Exchange))
		if err != nil {
			return fmt.Errorf("publisher: %w", err)
		}
		defer closeWithTimeout(pub.Close)
		cur := &publisherSession{session: s, pub: pub, user: p.user, returns: newReturnTracker()}
		pub.NotifyReturn(cur.returns.handle)
		if err := cur.awaitReturns(ctx); err != nil {
			return err
		}
		p.current.Store(cur)
		defer p.current.Store(nil)
		p.setReady()
		select {
		case <-s.ended:
			return errSessionEnded
		case <-ctx.Done():
			return nil
		}
	})
	return nil
}

var errBlocked = errors.New("the broker has raised a resource alarm and blocks publishing")

// Ready returns nil while messages can be published, and otherwise an error with the reason.
func (p *Publisher) Ready(ctx context.Context) error {
	if cur := p.current.Load(); cur != nil && cur.blocked.Load() {
		return errBlocked
	}
	return p.reconnector.Ready(ctx)
}

// Publish publishes all messages, then waits for their confirms until ctx is done. It
// returns one error for each message, in order. Nil means that the broker has stored the
// message in a quorum queue. After an error the broker may or may not have stored it.
func (p *Publisher) Publish(ctx context.Context, messages []events.Message) []error {
	errs := make([]error, len(messages))
	cur := p.current.Load()
	if cur == nil {
		for i := range errs {
			errs[i] = ErrNotConnected
		}
		return errs
	}
	cur.returns.reset()
	firstFence := cur.returns.nextFence()
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	cur.socket.corkUntil(ctx)
	for i := range messages {
		confirms[i], errs[i] = cur.publish(ctx, messages[i])
		if (i+1)%fenceEvery == 0 || i == len(messages)-1 {
			cur.publishFence(ctx)
		}
	}
	if err := cur.socket.uncork(); err != nil {
		cur.end() // this also fails every confirm of the batch
	}
	cur.awaitConfirms(ctx, confirms, errs)

	lastFence, returned := cur.returns.wait(ctx, cur.ended)
	for i := range messages {
		switch {
		case errs[i] != nil:
		case returned[messages[i].ID]:
			errs[i] = ErrReturned
		case firstFence+i/fenceEvery > lastFence:
			errs[i] = errors.New("confirmed, but it may have been returned")
		}
	}
	if len(returned) > 0 {
		p.log.ErrorContext(ctx, "publisher: messages returned, alternate exchange or its queue is missing, reconnecting", "messages", len(returned))
		cur.end()
	}
	return errs
}

// awaitConfirms waits for the confirms of messages that have no error yet, and sets errs
// for those that are not confirmed.
func (p *publisherSession) awaitConfirms(ctx context.Context, confirms []*amqp.DeferredConfirmation, errs []error) {
	anyConfirmed, anyLate := false, false
	for i, c := range confirms {
		if errs[i] != nil {
			continue
		}
		errs[i] = awaitConfirm(ctx, c)
		anyConfirmed = anyConfirmed || errs[i] == nil
		anyLate = anyLate || errs[i] != nil && !errors.Is(errs[i], ErrNacked)
	}
	// A broker that confirms some messages is slow, not stuck. A new session would only
	// add load, so keep this one and ignore the late confirms.
	if anyLate && !anyConfirmed {
		p.end()
	}
}

// publish publishes one message. A failed write ends the session.
func (p *publisherSession) publish(ctx context.Context, m events.Message) (*amqp.DeferredConfirmation, error) {
	return p.write(ctx, m.Body, m.Type,
		rabbitmq.WithPublishOptionsExchange(Exchange),
		rabbitmq.WithPublishOptionsPersistentDelivery,
		rabbitmq.WithPublishOptionsContentType(m.ContentType),
		rabbitmq.WithPublishOptionsMessageID(m.ID),
		rabbitmq.WithPublishOptionsType(m.Type),
		rabbitmq.WithPublishOptionsAppID(m.Source),
		rabbitmq.WithPublishOptionsUserID(p.user),
		rabbitmq.WithPublishOptionsTimestamp(m.Time))
}

// publishFence publishes a fence. If that fails, the messages before it count as unconfirmed.
func (p *publisherSession) publishFence(ctx context.Context) {
	_, err := p.write(ctx, nil, fenceKey,
		rabbitmq.WithPublishOptionsExchange(DeadExchange),
		rabbitmq.WithPublishOptionsMessageID(strconv.Itoa(p.returns.nextFence())))
	if err == nil {
		p.returns.fencePublished()
	}
}

func (p *publisherSession) write(ctx context.Context, body []byte, key string, options ...func(*rabbitmq.PublishOptions)) (*amqp.DeferredConfirmation, error) {
	confirms, err := p.pub.PublishWithDeferredConfirmWithContext(ctx, body, []string{key}, append(options, rabbitmq.WithPublishOptionsMandatory)...)
	switch {
	case errors.Is(err, rabbitmq.ErrPublishBlocked), errors.Is(err, rabbitmq.ErrPublishFlowPaused):
		p.blocked.Store(true)
		return nil, fmt.Errorf("publish: %w", err)
	case err != nil:
		p.end()
		return nil, fmt.Errorf("publish: %w", err)
	case len(confirms) != 1 || confirms[0] == nil:
		p.end()
		return nil, errors.New("publish: the channel is not in confirm mode")
	}
	p.blocked.Store(false)
	return confirms[0], nil
}

// awaitReturns publishes fences until one is returned. The library attaches its listener
// for returns late, and returns before that are lost.
func (p *publisherSession) awaitReturns(ctx context.Context) error {
	for range maxProbes {
		p.publishFence(ctx)
		probeCtx, cancel := context.WithTimeout(ctx, probeTimeout)
		lastFence, _ := p.returns.wait(probeCtx, p.ended)
		cancel()
		if lastFence > 0 {
			return nil
		}
	}
	return errors.New("the broker does not return unroutable messages")
}
